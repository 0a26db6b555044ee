//! The words that Impala's tools look for in a profile, and what they stand for here.

use crate::{AdmissionState, ClauseColumns, Facts, Outcome, Query, QueryState};

/// The name of the version of a protocol that has several, of which there is one.
pub(super) const PROTOCOL_VERSION: &str = "HiveServer2 Protocol Version";

/// The front end of Impala's clients.
const HIVESERVER2: &str = "HIVESERVER2";

/// The front end as Impala's profiles name it.
pub(super) fn session_type(protocol: &str) -> String {
    protocol.to_uppercase()
}

/// The two states of Impala's profiles: that of the client's request, and that of the execution.
/// A cancelled query is one with an error there; its status says which. One whose rows can be fetched is
/// finished, though its client may not have taken them yet.
pub(super) fn states(query: &Query, facts: &Facts) -> (&'static str, &'static str) {
    match query.state() {
        QueryState::Running if can_be_fetched(query, facts) => ("FINISHED", "FINISHED"),
        QueryState::Created => ("CREATED", "INITIALIZED"),
        QueryState::Pending => ("COMPILED", "PENDING"),
        QueryState::Running => ("RUNNING", "RUNNING"),
        QueryState::Finished => ("FINISHED", "FINISHED"),
        QueryState::Exception | QueryState::Cancelled => ("EXCEPTION", "ERROR"),
    }
}

fn can_be_fetched(query: &Query, facts: &Facts) -> bool {
    let has_rows = || query.timeline().iter().any(|e| e.label == ROWS_AVAILABLE);
    facts.fetches.is_some() && (facts.released || has_rows())
}

/// What became of the request for admission; `None` where none was needed, or there is no answer to
/// one that never waited.
pub(super) fn admission_result(query: &Query, facts: &Facts) -> Option<&'static str> {
    match (facts.admission, facts.queue_reasons.is_some()) {
        (AdmissionState::NotAsked, _) | (AdmissionState::Asked, false) => None,
        (AdmissionState::Asked, true) if query.state().is_final() => Some("Cancelled (queued)"),
        (AdmissionState::Asked, true) => Some("Queued"),
        (AdmissionState::Admitted, false) => Some("Admitted immediately"),
        (AdmissionState::Admitted, true) => Some("Admitted (queued)"),
        (AdmissionState::Rejected, _) => Some("Rejected"),
        (AdmissionState::TimedOut, _) => Some("Timed out (queued)"),
    }
}

/// The clauses of a statement with the columns that each reads.
pub(super) fn clauses(columns: &ClauseColumns) -> [(&'static str, &[String]); 5] {
    [
        ("Select Columns", &columns.select),
        ("Where Columns", &columns.filter),
        ("Join Columns", &columns.join),
        ("Aggregate Columns", &columns.aggregate),
        ("OrderBy Columns", &columns.order_by),
    ]
}

/// Columns as clients of `protocol` name them: Impala's know the schema `public` as `default`.
pub(super) fn columns(columns: &[String], protocol: &str) -> String {
    if session_type(protocol) != HIVESERVER2 {
        return columns.join(",");
    }
    let named = columns
        .iter()
        .map(|column| match column.strip_prefix("public.") {
            Some(rest) => format!("default.{rest}"),
            None => column.clone(),
        });
    named.collect::<Vec<_>>().join(",")
}

/// The event with which a plan has given its first rows.
pub(crate) const ROWS_AVAILABLE: &str = "Rows available";

/// The event with which a statement gives back what admission has granted it.
pub(crate) const RELEASED: &str = "Released admission control resources";

/// The last events of a timeline.
pub(crate) fn end_labels(
    outcome: &Outcome,
    facts: &Facts,
) -> impl Iterator<Item = &'static str> + use<> {
    let closed_early = facts.fetches.is_some_and(|fetches| fetches.closed_early);
    let last = match outcome {
        Outcome::Finished if facts.rows_returned > 0 && !closed_early => "Last row fetched",
        Outcome::Finished => "Request finished",
        Outcome::Exception { .. } => "Failed",
        Outcome::Cancelled { .. } => "Cancelled",
    };
    let holds = facts.admission == AdmissionState::Admitted && !facts.released;
    let released = holds.then_some(RELEASED);
    [Some(last), released, Some("Unregister query")]
        .into_iter()
        .flatten()
}
