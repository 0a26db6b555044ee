//! `GetResultSetMetadata` and `FetchResults`.

use std::sync::Arc;

use forebay_server::QueryId;
use tokio::time::Instant;

use super::Replied;
use crate::error::{self, Error};
use crate::front::{Caller, Front};
use crate::operation::{Operation, Progress, Receipt};
use crate::rows::columns::{Fetched, RowSet};
use crate::rows::types::table_schema;
use crate::session::options;
use crate::wire::call::Call;
use crate::wire::idl::{TFetchResultsReq, TGetResultSetMetadataResp, TOperationReq, TTableSchema};

/// Rows of one reply, whatever the client asks for: what is encoded is in memory whole.
const MAX_ROWS: usize = 65_536;

/// Kinds of fetching.
const FETCH_NEXT: i32 = 0;
const FETCH_FIRST: i32 = 4;

impl Front {
    pub(super) async fn result_set_metadata(
        &self,
        caller: &Caller,
        request: &TOperationReq,
    ) -> TGetResultSetMetadataResp {
        match self.operation(caller, &request.operation_handle) {
            Ok((operation, _in_use)) => TGetResultSetMetadataResp {
                status: error::success(),
                schema: Some(match &operation.schema {
                    Some(schema) => table_schema(schema),
                    None => TTableSchema {
                        columns: Vec::new(),
                    },
                }),
            },
            Err(error) => TGetResultSetMetadataResp {
                status: error.status(),
                schema: None,
            },
        }
    }

    pub(super) async fn fetch(
        &self,
        call: &Call,
        caller: &Caller,
        request: TFetchResultsReq,
    ) -> Replied {
        let fetched = self.fetched(caller, &request).await;
        let (response, given) = fetched.unwrap_or_else(|error| {
            let response = Fetched {
                status: error.status(),
                has_more_rows: false,
                rows: None,
            };
            (response, None)
        });
        let reply = call.reply(&response)?;
        if let Some(given) = given {
            self.book(given).await;
        }
        Ok(reply)
    }

    /// Book-keeps rows whose reply is made. With the last ones the query ends, before its client can
    /// know that they were the last.
    async fn book(&self, given: Given) {
        if let Some(query) = self.server.query(&given.id) {
            query.deliver(given.offset, given.rows, given.taken.elapsed());
        }
        if let Some(receipt) = given.receipt {
            receipt.give().await;
        }
    }

    async fn fetched(
        &self,
        caller: &Caller,
        request: &TFetchResultsReq,
    ) -> Result<(Fetched, Option<Given>), Error> {
        let (operation, _in_use) = self.operation(caller, &request.operation_handle)?;
        let from_start = match request.orientation {
            FETCH_NEXT => false,
            FETCH_FIRST => true,
            _ => return Err(Error::not_supported("Unsupported operation")),
        };
        // 1 asks for the log in the form of rows.
        if request.fetch_type.unwrap_or(0) != 0 {
            return Err(Error::not_supported("Unsupported operation"));
        }
        let patience = operation.options.milliseconds(options::FETCH_ROWS_TIMEOUT);
        let until = patience.map(|patience| Instant::now() + patience);
        match operation.settled(until).await {
            Progress::Running => {
                let response = Fetched {
                    status: error::still_executing(),
                    has_more_rows: true,
                    rows: None,
                };
                return Ok((response, None));
            }
            Progress::Failed(error) => return Err(error),
            Progress::Finished { .. } => {}
        }
        let max_rows = usize::try_from(request.max_rows)
            .ok()
            .filter(|rows| (1..MAX_ROWS).contains(rows))
            .unwrap_or(MAX_ROWS);
        rows_of(&operation, max_rows, from_start, until).await
    }
}

async fn rows_of(
    operation: &Operation,
    max_rows: usize,
    from_start: bool,
    until: Option<Instant>,
) -> Result<(Fetched, Option<Given>), Error> {
    let Some(schema) = &operation.schema else {
        let response = Fetched {
            status: error::success(),
            has_more_rows: false,
            rows: None,
        };
        return Ok((response, None));
    };
    let delivery = operation.fetch(max_rows, from_start, until).await?;
    let given = Given {
        id: operation.id,
        offset: delivery.offset,
        rows: delivery.batches.iter().map(|b| b.num_rows() as u64).sum(),
        taken: std::time::Instant::now(),
        receipt: delivery.receipt,
    };
    let time_zone = time_zone(operation);
    let rows = RowSet::new(schema, &delivery.batches, delivery.offset, &time_zone);
    let rows = rows.map_err(|error| Error::of_query(operation.id, &error.to_string()))?;
    let response = Fetched {
        status: error::success(),
        has_more_rows: delivery.has_more,
        rows: Some(rows),
    };
    Ok((response, Some(given)))
}

/// Rows on their way to the client.
struct Given {
    id: QueryId,
    /// Rows before them.
    offset: u64,
    rows: u64,
    /// When they were there as the plan has given them.
    taken: std::time::Instant,
    receipt: Option<Receipt>,
}

/// The zone in which moments are shown.
fn time_zone(operation: &Operation) -> String {
    match operation.options.get("TIMEZONE") {
        "" => {
            let of_session = |base: &mut forebay_server::Session| {
                Ok(base.show("timezone").unwrap_or("UTC").to_owned())
            };
            let zone = Arc::clone(&operation.session).with_base(of_session);
            zone.unwrap_or_else(|_| "UTC".to_owned())
        }
        zone => zone.to_owned(),
    }
}
