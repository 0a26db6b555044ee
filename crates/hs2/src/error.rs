//! Errors as HiveServer2's clients are told of them.

use forebay_server::QueryId;
use forebay_sql::ParseError;

use crate::wire::idl::{TStatus, TStatusCode};

/// A call that fails. Clients look at the message; the state is one of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// `HY000`, or `HYC00` for what is not served.
    pub(crate) state: &'static str,
    pub(crate) message: String,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            state: "HY000",
            message: message.into(),
        }
    }

    /// For what a client may ask for and is not served.
    pub(crate) fn not_supported(message: impl Into<String>) -> Self {
        Self {
            state: "HYC00",
            ..Self::new(message)
        }
    }

    pub(crate) fn invalid_session(id: impl std::fmt::Display) -> Self {
        Self::new(format!("Invalid session id: {id}"))
    }

    /// As of a query that nobody knows, or that somebody else has just closed.
    pub(crate) fn unknown_operation(id: QueryId) -> Self {
        Self::of_query(id, &format!("Invalid or unknown query handle: {id}."))
    }

    /// For a handle of a query whose secret is wrong.
    pub(crate) fn foreign_operation(id: QueryId) -> Self {
        Self::of_query(id, &format!("Query id {id} not found."))
    }

    /// What a query has failed with.
    pub(crate) fn of_query(id: QueryId, detail: &str) -> Self {
        Self::new(format!("Query {id} failed:\n{detail}\n"))
    }

    pub(crate) fn status(&self) -> TStatus {
        TStatus {
            status_code: TStatusCode::ERROR,
            info_messages: None,
            sql_state: Some(self.state.into()),
            error_code: None,
            error_message: Some(self.message.clone().into()),
        }
    }
}

impl From<forebay_server::Error> for Error {
    fn from(error: forebay_server::Error) -> Self {
        Self::new(text(&error))
    }
}

/// All that an error of the server says, in lines, in words that Impala's users know.
pub(crate) fn text(error: &forebay_server::Error) -> String {
    let kind = match error.sqlstate {
        "42601" => "ParseException: ",
        // A cancelled query says so in one word first, which clients look for.
        "57014" => "Cancelled: ",
        state if state.starts_with("42") || state.starts_with("3F") => "AnalysisException: ",
        state if state.starts_with("0A") => "AnalysisException: ",
        _ => "",
    };
    let message = known(error).unwrap_or_else(|| error.message.clone());
    let mut text = format!("{kind}{message}");
    for more in [&error.detail, &error.hint].into_iter().flatten() {
        text.push('\n');
        text.push_str(more);
    }
    text
}

/// The same of the query `id`, which Impala names where a limit has ended it.
pub(crate) fn text_of(id: QueryId, error: &forebay_server::Error) -> String {
    let Some(limit) = error.message.strip_prefix("statement terminated due to ") else {
        return text(error);
    };
    let option = match limit.starts_with("CPU") {
        true => "CPU_LIMIT_S",
        false => "SCAN_BYTES_LIMIT",
    };
    let mut worded = error.clone();
    worded.message = format!("Query {id} terminated due to {limit}.");
    text(&worded.with_hint(format!("Unset or increase {option} query option.")))
}

/// What is wrong with a text that a client has sent, with the line and a mark below the place.
pub(crate) fn parse_text(written: &str, error: &ParseError) -> String {
    let message = text(&forebay_server::Error::from(error.clone()));
    let Some(place) = error.position.filter(|_| error.sqlstate == "42601") else {
        return message;
    };
    let before: String = written.chars().take(place.saturating_sub(1)).collect();
    let number = before.matches('\n').count();
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let line = written.split('\n').nth(number).unwrap_or_default();
    let detail = message.trim_start_matches("ParseException: ");
    format!(
        "ParseException: Syntax error in line {}:\n{line}\n{:column$}^\n{detail}",
        number + 1,
        ""
    )
}

/// Impala's words for what its users get wrong most; `None` where there are none.
fn known(error: &forebay_server::Error) -> Option<String> {
    let quoted = |before: &str, behind: &str| {
        let name = error.message.strip_prefix(before)?.strip_suffix(behind)?;
        Some(name.trim_matches('"').replace("public.", "default."))
    };
    let missing = " does not exist";
    Some(match error.sqlstate {
        "42P01" => format!(
            "Could not resolve table reference: '{}'",
            quoted("relation ", missing)
                .or_else(|| quoted("table ", missing))
                .or_else(|| quoted("view ", missing))?
        ),
        "42703" => format!(
            "Could not resolve column/field reference: '{}'",
            quoted("column ", missing)?
        ),
        "42883" => format!("{}() unknown", quoted("function ", missing)?),
        "3F000" => format!("Database does not exist: {}", quoted("schema ", missing)?),
        "42P06" => format!(
            "Database already exists: {}",
            quoted("schema ", " already exists")?
        ),
        "42P07" => format!(
            "Table already exists: {}",
            quoted("relation ", " already exists")?
        ),
        _ => return None,
    })
}

/// The status of a call that has gone well.
pub(crate) fn success() -> TStatus {
    TStatus {
        status_code: TStatusCode::SUCCESS,
        info_messages: None,
        sql_state: None,
        error_code: None,
        error_message: None,
    }
}

/// The status of a call whose answer is not there yet.
pub(crate) fn still_executing() -> TStatus {
    TStatus {
        status_code: TStatusCode::STILL_EXECUTING,
        ..success()
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_text, text};

    #[test]
    fn the_place_of_a_syntax_error_is_shown() {
        let written = "select a,\n  'ä' b c\nfrom t";
        let error = forebay_sql::parse_impala(written, "").unwrap_err();
        let shown = parse_text(written, &error);
        let expected = "ParseException: Syntax error in line 2:\n  'ä' b c\n        ^\n";
        assert!(shown.starts_with(expected), "{shown}");
    }

    #[test]
    fn messages_are_in_words_that_impalas_users_know() {
        for (sqlstate, message, expected) in [
            (
                "42P01",
                "relation \"public.t\" does not exist",
                "AnalysisException: Could not resolve table reference: 'default.t'",
            ),
            (
                "42703",
                "column \"a\" does not exist",
                "AnalysisException: Could not resolve column/field reference: 'a'",
            ),
            (
                "42P01",
                "something else is missing",
                "AnalysisException: something else is missing",
            ),
            ("42601", "no", "ParseException: no"),
            ("22012", "division by zero", "division by zero"),
            ("57014", "stopped", "Cancelled: stopped"),
        ] {
            let error = forebay_server::Error::new(sqlstate, message);
            assert_eq!(text(&error), expected);
        }
    }
}
