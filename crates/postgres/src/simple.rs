//! The simple query protocol.

use std::pin::pin;
use std::sync::Arc;

use forebay_server::{Parsed, Response, Rows};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;

use crate::connection::{Connection, Failure};
use crate::encode::RowEncoder;
use crate::wire::Gone;

impl Connection {
    /// Runs the statements of a `Query` message, one after the other, as one transaction.
    pub(crate) async fn query(&mut self, text: &str) -> Result<(), Gone> {
        match self.run_script(text).await {
            Ok(()) => {}
            Err(Failure::Gone) => return Err(Gone),
            Err(Failure::Statement(error)) => {
                self.report(&error).await?;
                // Undoing cannot fail.
                let _ = self.session.end_implicit_transaction(false).await;
            }
        }
        self.ready_for_query().await
    }

    async fn run_script(&mut self, text: &str) -> Result<(), Failure> {
        let script = self.session.script(text);
        let statements = Self::unless_gone(&mut self.wire, &self.notices, pin!(script)).await?;
        // As PostgreSQL, which runs each statement in the unnamed portal.
        self.session.close_portal("");
        if statements.is_empty() {
            let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
            self.wire.feed(empty).await?;
        }
        let last = statements.len().saturating_sub(1);
        if last > 0 {
            self.session.begin_script();
        }
        for (i, statement) in statements.into_iter().enumerate() {
            let tag = self.run_statement(&statement).await?;
            if i == last {
                // A commit that fails must be reported instead of the success.
                self.session.end_implicit_transaction(true).await?;
            }
            self.complete(tag).await?;
        }
        Ok(())
    }

    /// Runs one statement and sends its rows; gives its command tag.
    async fn run_statement(&mut self, statement: &Arc<Parsed>) -> Result<String, Failure> {
        let work = self.session.execute(statement);
        let response = Self::unless_gone(&mut self.wire, &self.notices, pin!(work)).await?;
        match response {
            Response::Done(tag) => Ok(tag),
            Response::Rows(rows) => self.send_all_rows(rows).await,
            Response::CopyOut(copy) => self.copy_out(copy).await,
        }
    }

    async fn send_all_rows(&mut self, mut rows: Rows) -> Result<String, Failure> {
        let encoder = RowEncoder::new(rows.schema(), &[], &self.session)?;
        let description = PgWireBackendMessage::RowDescription(encoder.description());
        self.wire.feed(description).await?;
        let sent = self.send_rows(&mut rows, &encoder, None).await?;
        Ok(rows.tag(sent.rows))
    }
}
