//! The extended query protocol.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use forebay_server::{Error, Prepared, Response};
use pgwire::api::Type;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use crate::connection::{Connection, Failure};
use crate::encode::RowEncoder;
use crate::portal::{Portal, PortalState};
use crate::types::{arrow_type, bound_values, parameter_type};
use crate::wire::Gone;

impl Connection {
    /// Handles a message other than `Sync` and `Flush`.
    pub(crate) async fn extended(&mut self, message: PgWireFrontendMessage) -> Result<(), Gone> {
        let result = match message {
            PgWireFrontendMessage::Parse(parse) => self.on_parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.on_bind(bind).await,
            PgWireFrontendMessage::Describe(describe) => self.on_describe(&describe).await,
            PgWireFrontendMessage::Execute(execute) => self.on_execute(&execute).await,
            PgWireFrontendMessage::Close(close) => self.on_close(&close).await,
            _ => Ok(()),
        };
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Gone) => Err(Gone),
            Err(Failure::Statement(error)) => {
                self.skip_to_sync = true;
                self.report(&error).await?;
                self.wire.flush().await
            }
        }
    }

    /// `Sync`: the end of a unit of work, which commits unless something in it failed.
    pub(crate) async fn sync(&mut self) -> Result<(), Gone> {
        let succeeded = !std::mem::take(&mut self.skip_to_sync);
        if let Err(error) = self.session.end_implicit_transaction(succeeded).await {
            self.report(&error).await?;
        }
        self.ready_for_query().await
    }

    async fn on_parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let name = parse.name.unwrap_or_default();
        let mut statements = self.parse(&parse.query).await?;
        if statements.len() > 1 {
            return Err(Error::new(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        self.empty.remove(&name);
        if let Some(statement) = statements.pop() {
            let declared = declared_types(&parse.type_oids);
            let arrow: Vec<Option<DataType>> = declared
                .iter()
                .map(|t| t.as_ref().and_then(arrow_type))
                .collect();
            let work = self
                .session
                .prepare(&name, Arc::new(statement), arrow, parse.type_oids);
            Self::unless_gone(&self.wire, work).await?;
        } else {
            self.session.forget_prepared(&name);
            self.empty.insert(name);
        }
        let complete = PgWireBackendMessage::ParseComplete(ParseComplete::new());
        Ok(self.wire.feed(complete).await?)
    }

    /// The statement `name`, whether it was prepared over the protocol or with `PREPARE`; `None`
    /// when it is an empty one.
    fn named_statement(&self, name: &str) -> Result<Option<Arc<Prepared>>, Error> {
        if self.empty.contains(name) {
            return Ok(None);
        }
        self.session.prepared(name).cloned().map(Some)
    }

    async fn on_bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.named_statement(bind.statement_name.as_deref().unwrap_or_default())?;
        let wanted = prepared.as_ref().map_or(0, |p| p.parameters().len());
        check_formats(&bind, prepared.as_deref())?;
        if bind.parameters.len() != wanted {
            return Err(Error::new(
                "08P01",
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires {wanted}",
                    bind.parameters.len(),
                    bind.statement_name.as_deref().unwrap_or_default(),
                ),
            )
            .into());
        }
        let values = match &prepared {
            Some(prepared) => {
                let declared = declared_types(prepared.client_types());
                bound_values(&bind, prepared.parameters(), &declared)?
            }
            None => Vec::new(),
        };
        let portal = Portal {
            prepared,
            transaction: self.session.transaction_serial(),
            values,
            formats: bind.result_column_format_codes,
            state: PortalState::New,
        };
        self.portals
            .open(bind.portal_name.unwrap_or_default(), portal)?;
        let complete = PgWireBackendMessage::BindComplete(BindComplete::new());
        Ok(self.wire.feed(complete).await?)
    }

    async fn on_describe(&mut self, describe: &Describe) -> Result<(), Failure> {
        let name = describe.name.as_deref().unwrap_or_default();
        let (prepared, formats) = match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let prepared = self.named_statement(name)?;
                self.describe_parameters(prepared.as_deref()).await?;
                (prepared, Vec::new())
            }
            TARGET_TYPE_BYTE_PORTAL => {
                if let Some(schema) = self.session.cursor_schema(name) {
                    // Portals and SQL's cursors share their names.
                    let encoder = RowEncoder::new(schema, &[], &self.session)?;
                    let message = PgWireBackendMessage::RowDescription(encoder.description());
                    return Ok(self.wire.feed(message).await?);
                }
                let portal = self.portal(name)?;
                (portal.prepared.clone(), portal.formats.clone())
            }
            other => {
                return Err(Error::new("08P01", format!("invalid DESCRIBE target {other}")).into());
            }
        };
        let schema = prepared.as_ref().and_then(|p| p.schema());
        let message = match schema {
            Some(schema) => {
                let encoder = RowEncoder::new(schema, &formats, &self.session)?;
                PgWireBackendMessage::RowDescription(encoder.description())
            }
            None => PgWireBackendMessage::NoData(NoData::new()),
        };
        Ok(self.wire.feed(message).await?)
    }

    async fn describe_parameters(&mut self, prepared: Option<&Prepared>) -> Result<(), Failure> {
        let inferred = prepared.map_or(&[][..], Prepared::parameters);
        let declared = declared_types(prepared.map_or(&[][..], Prepared::client_types));
        let mut oids = Vec::with_capacity(inferred.len());
        for (i, inferred) in inferred.iter().enumerate() {
            oids.push(match declared.get(i) {
                Some(Some(declared)) => declared.oid(),
                _ => parameter_type(inferred.as_ref())?.oid(),
            });
        }
        let message = PgWireBackendMessage::ParameterDescription(ParameterDescription::new(oids));
        Ok(self.wire.feed(message).await?)
    }

    /// The portal `name`, if its transaction is still the current one.
    fn portal(&mut self, name: &str) -> Result<&mut Portal, Error> {
        self.portals.get(name, self.session.transaction_serial())
    }

    async fn on_execute(&mut self, execute: &Execute) -> Result<(), Failure> {
        let name = execute.name.as_deref().unwrap_or_default();
        let limit = usize::try_from(execute.max_rows).ok().filter(|n| *n > 0);
        let portal = self.portal(name)?;
        match std::mem::replace(&mut portal.state, PortalState::Finished) {
            PortalState::Finished => self.execute_finished(name).await,
            PortalState::Open(mut rows, encoder) => {
                let sent = self.send_rows(&mut rows, &encoder, limit).await?;
                self.after_rows(name, rows, encoder, sent).await
            }
            PortalState::New => self.execute_new(name, limit).await,
        }
    }

    async fn execute_new(&mut self, name: &str, limit: Option<usize>) -> Result<(), Failure> {
        let portal = self.portal(name)?;
        let Some(prepared) = portal.prepared.clone() else {
            let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
            return Ok(self.wire.feed(empty).await?);
        };
        let (values, formats) = (portal.values.clone(), portal.formats.clone());
        let work = self.session.execute_prepared(&prepared, values);
        match Self::unless_gone(&self.wire, work).await? {
            Response::Done(tag) => Ok(self.complete(tag).await?),
            Response::CopyOut(copy) => {
                let tag = self.copy_out(copy).await?;
                Ok(self.complete(tag).await?)
            }
            Response::Rows(mut rows) => {
                let encoder = RowEncoder::new(rows.schema(), &formats, &self.session)?;
                let sent = self.send_rows(&mut rows, &encoder, limit).await?;
                self.after_rows(name, Box::new(rows), encoder, sent).await
            }
        }
    }

    /// The client has got what it asked for: either all rows, or as many as it wanted now.
    async fn after_rows(
        &mut self,
        name: &str,
        mut rows: Box<forebay_server::Rows>,
        encoder: RowEncoder,
        sent: crate::encode::Sent,
    ) -> Result<(), Failure> {
        if !sent.limit_reached {
            return Ok(self.complete(rows.tag(sent.rows)).await?);
        }
        rows.suspend();
        self.portal(name)?.state = PortalState::Open(rows, encoder);
        let suspended = PgWireBackendMessage::PortalSuspended(PortalSuspended::new());
        Ok(self.wire.feed(suspended).await?)
    }

    /// Executing a portal again after its end: a query has no more rows, a command may not run
    /// twice.
    async fn execute_finished(&mut self, name: &str) -> Result<(), Failure> {
        let portal = self.portal(name)?;
        match &portal.prepared {
            None => {
                let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                Ok(self.wire.feed(empty).await?)
            }
            Some(prepared) if prepared.schema().is_some() => {
                Ok(self.complete("SELECT 0".to_owned()).await?)
            }
            Some(_) => Err(Error::new("55000", format!("portal \"{name}\" cannot be run")).into()),
        }
    }

    async fn on_close(&mut self, close: &Close) -> Result<(), Failure> {
        let name = close.name.as_deref().unwrap_or_default();
        if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.empty.remove(name);
            self.session.forget_prepared(name);
        } else {
            self.portals.close(name);
        }
        let complete = PgWireBackendMessage::CloseComplete(CloseComplete::new());
        Ok(self.wire.feed(complete).await?)
    }
}

/// The types that a client declared; `None` where it left the choice to the server.
fn declared_types(oids: &[u32]) -> Vec<Option<Type>> {
    oids.iter()
        .map(|oid| Type::from_oid(*oid).filter(|t| *t != Type::UNKNOWN))
        .collect()
}

/// Formats are given for none, all, or each of the values; text is 0 and binary 1.
fn check_formats(bind: &Bind, prepared: Option<&Prepared>) -> Result<(), Error> {
    let parameters = bind.parameter_format_codes.len();
    if parameters > 1 && parameters != bind.parameters.len() {
        return Err(Error::new(
            "08P01",
            format!(
                "bind message has {parameters} parameter formats but {} parameters",
                bind.parameters.len()
            ),
        ));
    }
    let columns = prepared
        .and_then(Prepared::schema)
        .map_or(0, |s| s.fields().len());
    let results = bind.result_column_format_codes.len();
    if results > 1 && results != columns {
        return Err(Error::new(
            "08P01",
            format!("bind message has {results} result formats but query has {columns} columns"),
        ));
    }
    let codes = bind
        .parameter_format_codes
        .iter()
        .chain(&bind.result_column_format_codes);
    match codes.copied().find(|code| !matches!(code, 0 | 1)) {
        Some(code) => Err(Error::new(
            "22023",
            format!("unsupported format code: {code}"),
        )),
        None => Ok(()),
    }
}
