//! `ExecuteStatement`, and what begins, follows and closes operations.

use std::sync::Arc;
use std::time::Duration;

use forebay_server::{QueryId, QueryState, ScanProgress};
use forebay_sql::ImpalaStatement;
use pilota::AHashMap;
use tokio::time::Instant;

use super::{Replied, pairs, text};
use crate::error::{self, Error};
use crate::front::{Caller, Front};
use crate::operation::driver::{self, Beginning};
use crate::operation::{Operation, Progress};
use crate::session::options::{self, QueryOptions};
use crate::session::{ClientSession, PUBLIC};
use crate::wire::call::Call;
use crate::wire::idl::{
    TDmlResult, TExecuteStatementReq, TGetLogResp, TGetOperationStatusResp, TGetQueryIdResp,
    TOperationReq, TOperationResp, TOperationState, TOperationType,
};

/// The schema that Impala's users mean by a database's name.
pub(super) fn schema_of(database: &str) -> String {
    let name = database.to_lowercase();
    match name.as_str() {
        "default" => PUBLIC.to_owned(),
        _ => name,
    }
}

/// The line by which clients tell how far a statement is; nothing for one that scans nothing. They take
/// it out of what they print as warnings.
fn progress_line(id: QueryId, scanned: ScanProgress) -> String {
    let ScanProgress { done, total } = scanned;
    match (100 * done).checked_div(total) {
        Some(percent) => format!("Query {id}: {percent}% Complete ({done} out of {total})\n"),
        None => String::new(),
    }
}

impl Front {
    /// Answers a call that begins an operation.
    pub(super) async fn begin(
        &self,
        call: &Call,
        begun: impl Future<Output = Result<Arc<Operation>, Error>>,
    ) -> Replied {
        let response = match begun.await {
            Ok(operation) => TOperationResp {
                status: error::success(),
                operation_handle: Some(operation.handle()),
            },
            Err(error) => TOperationResp {
                status: error.status(),
                operation_handle: None,
            },
        };
        Ok(call.reply(&response)?)
    }

    pub(super) async fn execute(
        &self,
        caller: &Caller,
        request: TExecuteStatementReq,
    ) -> Result<Arc<Operation>, Error> {
        let client = self.session(caller, &request.session_handle)?;
        let statement = text(Some(&request.statement))?.unwrap_or_default();
        let overlay = pairs(request.conf_overlay.as_ref())?;
        let options = client.options_with(overlay.iter().copied())?;
        check_length(statement, &options)?;
        check_pool(&client, &options)?;
        self.check_room(&client)?;
        let cached_rows = overlay
            .iter()
            .find(|(name, _)| *name == options::RESULT_CACHE)
            .and_then(|(_, rows)| rows.parse().ok())
            .unwrap_or(0);
        let (text, statement) = forebay_sql::parse_impala(statement, &client.id.to_string())
            .map_err(|error| Error::new(error::parse_text(statement, &error)))?;
        let operation_type = TOperationType::EXECUTE_STATEMENT;
        self.start(
            &client,
            options,
            operation_type,
            cached_rows,
            text,
            statement,
        )
        .await
    }

    /// Begins an operation that does what a statement says.
    pub(super) async fn start(
        &self,
        client: &Arc<ClientSession>,
        options: QueryOptions,
        operation_type: TOperationType,
        cached_rows: usize,
        text: Arc<str>,
        statement: ImpalaStatement,
    ) -> Result<Arc<Operation>, Error> {
        let id = QueryId::random();
        let mut session = client.begin_statement(&options)?;
        let statement = options.settle(statement);
        let (work, schema) = self
            .prepare(client, &mut session, id, text, statement)
            .await?;
        let beginning = Beginning {
            id,
            client: Arc::clone(client),
            session,
            work,
            operation_type,
            schema,
            options,
            cached_rows,
        };
        let (operation, registered) = driver::begin(self.server.clone(), beginning);
        self.add_operation(&operation);
        // The sender is dropped, then.
        let _ = registered.await;
        Ok(operation)
    }

    pub(super) async fn status(
        &self,
        caller: &Caller,
        request: TOperationReq,
    ) -> TGetOperationStatusResp {
        let (operation, _in_use) = match self.operation(caller, &request.operation_handle) {
            Ok(found) => found,
            Err(error) => return status(&error, None),
        };
        // LONG_POLLING_TIME_MS: the answer waits for news.
        let wait = operation.options.milliseconds(options::LONG_POLLING_TIME);
        let progress = operation
            .settled(Some(Instant::now() + wait.unwrap_or(Duration::ZERO)))
            .await;
        let state = operation.state(&progress, self.is_pending(operation.id));
        match &progress {
            Progress::Failed(failure) => TGetOperationStatusResp {
                status: error::success(),
                operation_state: Some(state),
                sql_state: Some(failure.state.into()),
                error_message: Some(failure.message.clone().into()),
            },
            _ => TGetOperationStatusResp {
                status: error::success(),
                operation_state: Some(state),
                sql_state: None,
                error_message: None,
            },
        }
    }

    fn is_pending(&self, id: QueryId) -> bool {
        let query = self.server.query(&id);
        query.is_some_and(|query| query.state() == QueryState::Pending)
    }

    pub(super) fn log(&self, caller: &Caller, request: &TOperationReq) -> TGetLogResp {
        match self.operation(caller, &request.operation_handle) {
            Ok((operation, _in_use)) => TGetLogResp {
                status: error::success(),
                log: self.messages(&operation).into(),
            },
            Err(error) => TGetLogResp {
                status: error.status(),
                log: "".into(),
            },
        }
    }

    /// How far the statement is, why it waits, what has come up, what it has failed with.
    fn messages(&self, operation: &Operation) -> String {
        let query = self.server.query(&operation.id);
        let scanned = query.as_ref().and_then(|query| query.progress());
        let mut messages =
            scanned.map_or_else(String::new, |scanned| progress_line(operation.id, scanned));
        messages.push_str(&operation.log());
        let progress = operation.progress.borrow().clone();
        match progress {
            Progress::Running => {
                if let Some(why) = query.and_then(|query| self.server.why_pending(&query)) {
                    messages.push_str(&format!("Waits: {why}\n"));
                }
            }
            Progress::Failed(error) => messages.push_str(&error.message),
            Progress::Finished { .. } => {}
        }
        messages
    }

    pub(super) fn query_id(&self, caller: &Caller, request: &TOperationReq) -> TGetQueryIdResp {
        // The answer has no place for an error.
        let found = self.operation(caller, &request.operation_handle);
        let id = found.map_or_else(|_| String::new(), |(operation, _)| operation.id.to_string());
        TGetQueryIdResp {
            query_id: id.into(),
        }
    }

    /// Closes an operation: its statement has ended, and is on its way to the query log, when this
    /// returns.
    pub(super) async fn closed(
        &self,
        caller: &Caller,
        request: TOperationReq,
    ) -> Result<Option<TDmlResult>, Error> {
        let (operation, _in_use) = self.operation(caller, &request.operation_handle)?;
        let operation = self.take_operation(operation.id)?;
        Ok(match operation.close().await {
            Progress::Finished {
                written: Some(rows),
            } => Some(TDmlResult {
                // All together, whatever partitions they are in.
                rows_modified: AHashMap::from_iter([("".into(), rows)]),
                num_row_errors: None,
            }),
            _ => None,
        })
    }
}

fn status(error: &Error, state: Option<TOperationState>) -> TGetOperationStatusResp {
    TGetOperationStatusResp {
        status: error.status(),
        operation_state: state,
        sql_state: None,
        error_message: None,
    }
}

fn check_length(statement: &str, options: &QueryOptions) -> Result<(), Error> {
    let limit = options.number(options::STATEMENT_LENGTH);
    if limit > 0 && statement.len() as u64 > limit {
        return Err(Error::new(format!(
            "Statement length of {} bytes exceeds the maximum statement length ({limit} bytes)",
            statement.len()
        )));
    }
    Ok(())
}

/// `REQUEST_POOL` must be the queue that governs the role.
fn check_pool(client: &ClientSession, options: &QueryOptions) -> Result<(), Error> {
    let wanted = options.get(options::REQUEST_POOL);
    if wanted.is_empty() {
        return Ok(());
    }
    let queue = client.with_base(|base| Ok(base.resource_queue()))?;
    match queue {
        Some(queue) if *queue == *wanted => Ok(()),
        Some(queue) => Err(Error::new(format!(
            "Request in pool '{wanted}' is denied to user '{}', whose resource queue is '{queue}'.",
            client.user
        ))),
        None => Err(Error::new(format!(
            "Request in pool '{wanted}' is denied to user '{}', whom no resource queue governs.",
            client.user
        ))),
    }
}
