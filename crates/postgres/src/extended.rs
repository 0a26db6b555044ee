//! The extended query protocol.

use std::pin::pin;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use forebay_server::{Error, Executed, Prepared};
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
        let declared = declared_types(&parse.type_oids);
        let arrow: Vec<Option<DataType>> = declared
            .iter()
            .map(|t| t.as_ref().and_then(arrow_type))
            .collect();
        let statement = statements.pop().map(Arc::new);
        let work = self
            .session
            .prepare(&name, statement, arrow, parse.type_oids);
        Self::unless_gone(&mut self.wire, &self.notices, pin!(work)).await?;
        let complete = PgWireBackendMessage::ParseComplete(ParseComplete::new());
        Ok(self.wire.feed(complete).await?)
    }

    async fn on_bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let statement = bind.statement_name.as_deref().unwrap_or_default();
        let prepared = Arc::clone(self.session.prepared(statement)?);
        let wanted = prepared.parameters().len();
        let columns = self.session.columns(&prepared);
        check_formats(&bind, columns.map_or(0, |c| c.fields().len()))?;
        if bind.parameters.len() != wanted {
            return Err(Error::new(
                "08P01",
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {wanted}",
                    bind.parameters.len(),
                ),
            )
            .into());
        }
        let declared = declared_types(prepared.client_types());
        let zone = self.session.show("timezone").unwrap_or("UTC");
        let values = bound_values(&bind, prepared.parameters(), &declared, zone)?;
        let bytes = bind.parameters.iter().flatten().map(|p| p.len() as u64);
        let bytes = bytes.sum::<u64>() + (values.len() * size_of::<ScalarValue>()) as u64;
        let portal = bind.portal_name.as_deref().unwrap_or_default();
        let formats = bind.result_column_format_codes;
        self.session
            .bind(portal, prepared, values, bytes, formats)?;
        let complete = PgWireBackendMessage::BindComplete(BindComplete::new());
        Ok(self.wire.feed(complete).await?)
    }

    async fn on_describe(&mut self, describe: &Describe) -> Result<(), Failure> {
        let name = describe.name.as_deref().unwrap_or_default();
        let described = match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let prepared = Arc::clone(self.session.prepared(name)?);
                let description = self.session.describe_prepared(&prepared)?;
                self.describe_parameters(&prepared).await?;
                description
            }
            TARGET_TYPE_BYTE_PORTAL => self.session.describe_portal(name)?,
            other => {
                return Err(Error::new("08P01", format!("invalid DESCRIBE target {other}")).into());
            }
        };
        let message = match &described.schema {
            Some(schema) => {
                let encoder = RowEncoder::new(schema, &described.formats, &self.session)?;
                PgWireBackendMessage::RowDescription(encoder.description())
            }
            None => PgWireBackendMessage::NoData(NoData::new()),
        };
        Ok(self.wire.feed(message).await?)
    }

    async fn describe_parameters(&mut self, prepared: &Prepared) -> Result<(), Failure> {
        let inferred = prepared.parameters();
        let declared = declared_types(prepared.client_types());
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

    async fn on_execute(&mut self, execute: &Execute) -> Result<(), Failure> {
        let name = execute.name.as_deref().unwrap_or_default();
        let limit = usize::try_from(execute.max_rows).ok().filter(|n| *n > 0);
        let work = self.session.execute_portal(name);
        let executed = Self::unless_gone(&mut self.wire, &self.notices, pin!(work)).await?;
        match executed {
            Executed::Empty => {
                let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                Ok(self.wire.feed(empty).await?)
            }
            Executed::Done(tag) => Ok(self.complete(tag).await?),
            Executed::CopyOut(copy) => {
                let tag = self.copy_out(*copy).await?;
                Ok(self.complete(tag).await?)
            }
            Executed::Rows { mut rows, formats } => {
                let encoder = RowEncoder::new(rows.schema(), &formats, &self.session)?;
                let sent = self.send_rows(&mut rows, &encoder, limit).await?;
                if !sent.limit_reached {
                    return Ok(self.complete(rows.tag(sent.rows)).await?);
                }
                rows.suspend();
                let suspended = PgWireBackendMessage::PortalSuspended(PortalSuspended::new());
                Ok(self.wire.feed(suspended).await?)
            }
        }
    }

    async fn on_close(&mut self, close: &Close) -> Result<(), Failure> {
        let name = close.name.as_deref().unwrap_or_default();
        if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.session.forget_prepared(name);
        } else {
            self.session.close_portal(name);
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
fn check_formats(bind: &Bind, columns: usize) -> Result<(), Error> {
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
