//! `GetRuntimeProfile` and `GetExecSummary`: of queries that run, and of those that have ended.

use std::sync::Arc;

use forebay_server::{Profile, Query, QueryState};
use pilota::thrift::{
    TOutputProtocol, TOutputProtocolExt, TStructIdentifier, TType, ThriftException,
};

use crate::error::{self, Error};
use crate::front::{Caller, Front};
use crate::session::handle;
use crate::wire::call::{Output, Response};
use crate::wire::idl::{
    TExecProgress, TExecStats, TExecSummary, TGetExecSummaryReq, TGetExecSummaryResp,
    TGetRuntimeProfileReq, TOperationHandle, TPlanNodeExecSummary, TSessionHandle, TStatus,
};

/// Forms of a profile.
const STRING: i32 = 0;
const BASE64: i32 = 1;
const THRIFT: i32 = 2;
const JSON: i32 = 3;

/// `TGetRuntimeProfileResp`, in which a tree is a field of its own.
pub(super) struct ProfileReply {
    status: TStatus,
    profile: Option<Form>,
}

enum Form {
    Text(String),
    Tree(Profile),
}

impl ProfileReply {
    fn of(profile: Result<Form, Error>) -> Self {
        match profile {
            Ok(profile) => Self {
                status: error::success(),
                profile: Some(profile),
            },
            Err(error) => Self {
                status: error.status(),
                profile: None,
            },
        }
    }
}

impl Response for ProfileReply {
    fn write(&self, output: &mut Output<'_>) -> Result<(), ThriftException> {
        output.write_struct_begin(&TStructIdentifier {
            name: "TGetRuntimeProfileResp",
        })?;
        output.write_struct_field(1, &self.status, TType::Struct)?;
        match &self.profile {
            Some(Form::Text(text)) => output.write_string_field(2, text)?,
            Some(Form::Tree(profile)) => {
                output.write_struct_field(3, &profile.thrift_tree(), TType::Struct)?;
            }
            None => {}
        }
        output.write_field_stop()?;
        output.write_struct_end()
    }
}

/// States of an execution, as the summary names them.
const REGISTERED: i32 = 0;
const QUEUED: i32 = 2;
const RUNNING: i32 = 3;
const FINISHED: i32 = 4;
const CANCELLED: i32 = 5;
const FAILED: i32 = 6;

impl Front {
    pub(super) fn runtime_profile(
        &self,
        caller: &Caller,
        request: &TGetRuntimeProfileReq,
    ) -> ProfileReply {
        let query = self.query_of(
            caller,
            request.session_handle.as_ref(),
            request.operation_handle.as_ref(),
        );
        let form = match request.format.unwrap_or(STRING) {
            STRING => |profile: Profile| Form::Text(profile.to_text()),
            BASE64 => |profile: Profile| Form::Text(profile.to_base64()),
            THRIFT => |profile: Profile| Form::Tree(profile),
            JSON => |profile: Profile| Form::Text(profile.to_json()),
            other => {
                return ProfileReply::of(Err(Error::not_supported(format!(
                    "Profiles are not served in form {other}; ask for STRING, BASE64, THRIFT or JSON."
                ))));
            }
        };
        ProfileReply::of(query.map(|query| form(query.profile())))
    }

    pub(super) fn exec_summary(
        &self,
        caller: &Caller,
        request: &TGetExecSummaryReq,
    ) -> TGetExecSummaryResp {
        let query = self.query_of(
            caller,
            request.session_handle.as_ref(),
            request.operation_handle.as_ref(),
        );
        match query {
            Ok(query) => TGetExecSummaryResp {
                status: error::success(),
                summary: Some(summary(&query, self.server.why_pending(&query))),
            },
            Err(error) => TGetExecSummaryResp {
                status: error.status(),
                summary: None,
            },
        }
    }

    /// The query of an operation, be it open, closed, or archived.
    fn query_of(
        &self,
        caller: &Caller,
        session: Option<&TSessionHandle>,
        operation: Option<&TOperationHandle>,
    ) -> Result<Arc<Query>, Error> {
        let session = session.ok_or_else(|| Error::new("The call names no session."))?;
        let session = self.session(caller, session)?;
        let operation = operation.ok_or_else(|| Error::new("The call names no operation."))?;
        let (id, _) = handle::read_operation(operation)?;
        let query = self.server.query(&id);
        let query = query.ok_or_else(|| Error::new(format!("Query id {id} not found.")))?;
        if *query.info().role != *session.user && !Front::is_superuser(&session) {
            return Err(Error::new(format!(
                "User {} is not authorized to access the runtime profile or execution summary.",
                session.user
            )));
        }
        Ok(query)
    }
}

/// The summary of a query, which may wait for a reason; blank where there is no plan.
fn summary(query: &Query, why_pending: Option<String>) -> TExecSummary {
    let state = query.state();
    let blank = TExecSummary {
        state: exec_state(state),
        nodes: None,
        exch_to_sender_map: None,
        progress: None,
        is_queued: None,
        queued_reason: None,
    };
    if let Some(why) = why_pending {
        return TExecSummary {
            is_queued: Some(true),
            queued_reason: Some(why.into()),
            ..blank
        };
    }
    let profile = query.profile();
    let Some(execution) = profile.execution() else {
        return blank;
    };
    let mut nodes = Vec::new();
    for root in &execution.children {
        add_nodes(root, &mut nodes);
    }
    let ranges = |number| i64::try_from(number).unwrap_or(i64::MAX);
    TExecSummary {
        nodes: Some(nodes),
        progress: query.progress().map(|scans| TExecProgress {
            total_scan_ranges: Some(ranges(scans.total)),
            num_completed_scan_ranges: Some(ranges(scans.done)),
        }),
        ..blank
    }
}

fn exec_state(state: QueryState) -> i32 {
    match state {
        QueryState::Created => REGISTERED,
        QueryState::Pending => QUEUED,
        QueryState::Running => RUNNING,
        QueryState::Finished => FINISHED,
        QueryState::Cancelled => CANCELLED,
        QueryState::Exception => FAILED,
    }
}

/// An operator, and behind it its inputs. Plans are limited in depth before they run.
fn add_nodes(node: &Profile, nodes: &mut Vec<TPlanNodeExecSummary>) {
    let number = i32::try_from(nodes.len()).unwrap_or(i32::MAX);
    let (name, detail) = node.name.split_once(": ").unwrap_or((&node.name, ""));
    let instances = node.counter("Instances").unwrap_or(1).max(1);
    let one = TExecStats {
        latency_ns: Some(node.counter("elapsed_compute").unwrap_or(0) / instances),
        cpu_time_ns: Some(node.counter("elapsed_compute").unwrap_or(0) / instances),
        cardinality: node.counter("output_rows").map(|rows| rows / instances),
        memory_used: Some(node.counter("PeakMemory").unwrap_or(0) / instances),
    };
    // What does not divide is the first one's.
    let mut first = one.clone();
    first.cardinality = node
        .counter("output_rows")
        .map(|rows| rows - rows / instances * (instances - 1));
    let rest = usize::try_from(instances - 1).unwrap_or(0);
    nodes.push(TPlanNodeExecSummary {
        node_id: number,
        fragment_idx: 0,
        label: format!("{number:02}:{}", label(name)).into(),
        label_detail: Some(short(detail).into()),
        num_children: i32::try_from(node.children.len()).unwrap_or(i32::MAX),
        estimated_stats: Some(TExecStats {
            latency_ns: None,
            cpu_time_ns: None,
            cardinality: Some(node.counter("EstimatedRows").unwrap_or(-1)),
            // Only the plan as a whole has an estimate.
            memory_used: Some(0),
        }),
        exec_stats: Some(std::iter::once(first).chain(vec![one; rest]).collect()),
        num_hosts: Some(1),
    });
    for child in &node.children {
        add_nodes(child, nodes);
    }
}

/// Characters of an operator's detail that a table has room for.
const MAX_DETAIL: usize = 60;

fn short(detail: &str) -> String {
    match detail.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.to_owned(),
    }
}

/// An operator's name as Impala writes it: `HASH JOIN` for `HashJoin`, and its own words for reading
/// files and for handing rows from some threads to others.
fn label(name: &str) -> String {
    match name {
        "DataSource" => return "SCAN".to_owned(),
        "Repartition" | "CoalescePartitions" => return "EXCHANGE".to_owned(),
        "SortPreservingMerge" => return "MERGING-EXCHANGE".to_owned(),
        _ => {}
    }
    let mut spaced = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && spaced.chars().last().is_some_and(char::is_alphanumeric) {
            spaced.push(' ');
        }
        spaced.extend(letter.to_uppercase());
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_operators_are_written_as_impala_writes_them() {
        for (name, expected) in [
            ("HashJoin", "HASH JOIN"),
            ("DataSource", "SCAN"),
            ("Sort", "SORT"),
        ] {
            assert_eq!(label(name), expected);
        }
    }

    #[test]
    fn details_are_cut_between_characters() {
        assert_eq!(short("ä"), "ä");
        let long = "ä".repeat(MAX_DETAIL + 1);
        assert_eq!(short(&long), format!("{}…", "ä".repeat(MAX_DETAIL)));
    }
}
