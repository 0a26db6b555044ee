//! Portals as the protocol uses them: `Bind`, `Describe`, `Execute`, `Close`.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use forebay_sql::Statement;
use tokio::sync::OwnedMutexGuard;

use crate::copy::CopyOut;
use crate::limits::Kept;
use crate::portals::{Begin, Binding, PortalRows};
use crate::{Error, Prepared, Response, Result, Rows, Session, limits};

/// What an `Execute` answers.
#[derive(Debug)]
pub enum Executed {
    /// The statement is empty.
    Empty,
    /// A command tag.
    Done(String),
    /// Rows in the form of `COPY … TO STDOUT`, to be pulled.
    CopyOut(Box<CopyOut>),
    /// Rows, to be pulled. If rows may be left when the client has got enough for now, call
    /// [`Rows::suspend`].
    Rows {
        /// The portal's rows, from where the last reader left them.
        rows: OwnedMutexGuard<Rows>,
        /// Result formats as they were bound.
        formats: Arc<[i16]>,
    },
}

/// What a portal will return.
#[derive(Debug, Clone)]
pub struct PortalDescription {
    /// Its columns; `None` when it returns no rows.
    pub schema: Option<SchemaRef>,
    /// Result formats as they were bound.
    pub formats: Arc<[i16]>,
}

impl Session {
    /// Makes the portal `name` of a prepared statement and its values. The unnamed one replaces
    /// its predecessor; other names must be free, also of SQL's cursors. `bytes` is what the values
    /// weigh, `formats` are kept for the front end.
    ///
    /// # Errors
    /// A used name (42P03), a limit (53400), or a failed transaction that this does not end.
    pub fn bind(
        &mut self,
        name: &str,
        prepared: Arc<Prepared>,
        values: Vec<ScalarValue>,
        bytes: u64,
        formats: Vec<i16>,
    ) -> Result<()> {
        self.check_may_follow(prepared.parsed().map(|p| &**p))?;
        self.portals
            .check_free(name, self.settings.count(limits::PORTALS))?;
        let kept = if name.is_empty() {
            self.portals.forget(name);
            Kept::default()
        } else {
            let bytes = bytes + prepared.unaccounted_bytes();
            self.kept.keep(bytes, &self.settings)?
        };
        self.portals.bind(Binding {
            name: name.to_owned(),
            schema: self.columns(&prepared),
            prepared,
            values,
            formats,
            depth: self.savepoint_depth(),
            kept,
        });
        Ok(())
    }

    /// What the portal `name` will return, be it bound or a cursor of SQL.
    ///
    /// # Errors
    /// When there is none.
    pub fn describe_portal(&self, name: &str) -> Result<PortalDescription> {
        let found = self.portals.describe(name);
        let (schema, formats) = found.ok_or_else(|| unknown(name))?;
        if schema.is_some() {
            self.check_may_follow(None)?;
        }
        Ok(PortalDescription { schema, formats })
    }

    /// What a prepared statement will return.
    ///
    /// # Errors
    /// When it returns rows in a failed transaction.
    pub fn describe_prepared(&self, prepared: &Prepared) -> Result<PortalDescription> {
        let schema = self.columns(prepared);
        if schema.is_some() {
            self.check_may_follow(None)?;
        }
        Ok(PortalDescription {
            schema,
            formats: Arc::default(),
        })
    }

    /// Executes the portal `name`, or goes on with it.
    ///
    /// # Errors
    /// No such portal, a portal that cannot be run again, or whatever its statement fails with.
    pub async fn execute_portal(&mut self, name: &str) -> Result<Executed> {
        let (prepared, values) = match self.portals.begin(name).ok_or_else(|| unknown(name))?? {
            Begin::Run(prepared, values) => (prepared, values),
            Begin::Read(rows) => {
                self.check_may_follow(None)?;
                let mut executed = self.reading(name, &rows).await?;
                if let Executed::Rows { rows, .. } = &mut executed {
                    rows.go_on(self).await?;
                }
                return Ok(executed);
            }
        };
        let Some(parsed) = prepared.parsed() else {
            return Ok(Executed::Empty);
        };
        // Until it is known how it went, it cannot be run: that is how it stays after an error.
        let response = self.execute_prepared(&prepared, parsed, values).await;
        let executed = match response {
            Ok(Response::Rows(rows)) => {
                let rows = PortalRows::new(rows);
                self.portals.begun(name, Some(Arc::clone(&rows)));
                return self.reading(name, &rows).await;
            }
            Ok(Response::CopyOut(copy)) => Ok(Executed::CopyOut(Box::new(copy))),
            Ok(Response::Done(tag)) => Ok(Executed::Done(tag)),
            Err(error) => Err(error),
        };
        self.portals.begun(name, None);
        executed
    }

    async fn reading(&self, name: &str, rows: &PortalRows) -> Result<Executed> {
        let described = self.portals.describe(name);
        Ok(Executed::Rows {
            rows: rows.read().await,
            formats: described.map(|(_, formats)| formats).unwrap_or_default(),
        })
    }

    /// Forgets the portal or cursor `name`, if there is one.
    pub fn close_portal(&mut self, name: &str) {
        self.portals.forget(name);
    }

    /// `FETCH` from a portal that was bound and never executed: its statement begins now.
    pub(crate) async fn begin_fetched(&mut self, statement: &Statement) -> Result<()> {
        let Statement::Fetch(fetch) = statement else {
            return Ok(());
        };
        let Some(prepared) = self.portals.not_begun(&fetch.cursor) else {
            return Ok(());
        };
        let nested = prepared
            .parsed()
            .is_some_and(|p| matches!(p.statement, Statement::Fetch(_)));
        if nested {
            return Err(Error::new(
                "0A000",
                format!(
                    "cannot fetch from portal \"{}\", which is a FETCH itself, before it is executed",
                    fetch.cursor
                ),
            ));
        }
        // Boxed: what begins may be any statement.
        match Box::pin(self.execute_portal(&fetch.cursor)).await? {
            Executed::Rows { mut rows, .. } => rows.suspend(),
            Executed::Empty | Executed::Done(_) | Executed::CopyOut(_) => {}
        }
        Ok(())
    }
}

fn unknown(name: &str) -> Error {
    Error::new("34000", format!("portal \"{name}\" does not exist"))
}
