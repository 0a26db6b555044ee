//! The states of a query and the ways between them.

use std::fmt;

/// Where a query is in its life. The last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryState {
    /// Registered; nothing has been asked of anybody yet.
    Created,
    /// Waiting to be admitted; [`crate::Query::pending_reason`] says for what.
    Pending,
    /// Admitted: being planned, run or fetched.
    Running,
    /// Ended with all that the client asked for.
    Finished,
    /// Ended with an error.
    Exception,
    /// Ended because somebody wanted it to end, or because its client went away.
    Cancelled,
}

impl QueryState {
    /// Every state, in the order of a life.
    pub const ALL: [QueryState; 6] = [
        QueryState::Created,
        QueryState::Pending,
        QueryState::Running,
        QueryState::Finished,
        QueryState::Exception,
        QueryState::Cancelled,
    ];

    /// The name as people see it: upper case, one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            QueryState::Created => "CREATED",
            QueryState::Pending => "PENDING",
            QueryState::Running => "RUNNING",
            QueryState::Finished => "FINISHED",
            QueryState::Exception => "EXCEPTION",
            QueryState::Cancelled => "CANCELLED",
        }
    }

    /// Whether nothing can follow this state.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            QueryState::Finished | QueryState::Exception | QueryState::Cancelled
        )
    }

    /// Whether a query in this state may go to `next`.
    ///
    /// A pending query may wait again for something else, and a running one goes back to waiting when
    /// it steps aside. Every living query may end in any way: book-keeping never refuses an end.
    pub const fn may_become(self, next: QueryState) -> bool {
        match (self, next) {
            (from, _) if from.is_final() => false,
            (_, QueryState::Created) | (QueryState::Running, QueryState::Running) => false,
            _ => true,
        }
    }
}

impl fmt::Display for QueryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_transitions() {
        // One row per state, one column per next state, both in the order of `ALL`.
        let expected = [
            "Created   . x x x x x",
            "Pending   . x x x x x",
            "Running   . x . x x x",
            "Finished  . . . . . .",
            "Exception . . . . . .",
            "Cancelled . . . . . .",
        ];
        let actual = QueryState::ALL.map(|from| {
            let cells = QueryState::ALL.map(|to| if from.may_become(to) { "x" } else { "." });
            format!("{:<9} {}", format!("{from:?}"), cells.join(" "))
        });
        assert_eq!(actual, expected);
    }

    #[test]
    fn is_shown_in_upper_case() {
        for state in QueryState::ALL {
            assert_eq!(state.to_string(), format!("{state:?}").to_uppercase());
        }
    }
}
