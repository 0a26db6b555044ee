//! Prepared statements, of SQL's `PREPARE` and of the extended protocol alike.

use std::pin::pin;
use std::sync::Arc;

use chrono::Utc;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use forebay_engine::{LogicalStatement, PreparedRow, Vantage};
use forebay_sql::{Expr, Parsed, Statement};
use parking_lot::Mutex;

use crate::limits::{self, Kept};
use crate::way::{Answer, Request};
use crate::{Error, Result, Session};

/// A statement that is parsed and, where it has a plan, resolved.
#[derive(Debug)]
pub struct Prepared {
    /// `None` for an empty statement.
    parsed: Option<Arc<Parsed>>,
    declared: Vec<Option<DataType>>,
    client_types: Vec<u32>,
    /// Resolved anew when the catalog or the settings have changed.
    logical: Mutex<Option<LogicalStatement>>,
    schema: Option<SchemaRef>,
    parameters: Vec<Option<DataType>>,
    /// What it keeps of what the client has sent.
    bytes: u64,
    kept: Kept,
}

impl Prepared {
    /// A statement without parameters that nobody has resolved yet.
    pub(crate) fn unresolved(parsed: Arc<Parsed>) -> Self {
        Self {
            parsed: Some(parsed),
            declared: Vec::new(),
            client_types: Vec::new(),
            logical: Mutex::default(),
            schema: None,
            parameters: Vec::new(),
            bytes: 0,
            kept: Kept::default(),
        }
    }

    /// The statement itself; `None` when it is empty.
    #[must_use]
    pub fn parsed(&self) -> Option<&Arc<Parsed>> {
        self.parsed.as_ref()
    }

    /// Its text.
    pub(crate) fn text(&self) -> Arc<str> {
        let text = self.parsed.as_ref().map(|p| Arc::clone(&p.text));
        text.unwrap_or_default()
    }

    /// The columns that it returns; `None` when it returns no rows.
    #[must_use]
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// The types of its parameters; `None` where nothing tells, which means text.
    #[must_use]
    pub fn parameters(&self) -> &[Option<DataType>] {
        &self.parameters
    }

    /// The type ids that the client declared, kept for the front end that knows them.
    #[must_use]
    pub fn client_types(&self) -> &[u32] {
        &self.client_types
    }

    /// The bytes that it keeps and that are on nobody's account: those of an unnamed statement.
    pub(crate) fn unaccounted_bytes(&self) -> u64 {
        self.bytes - self.kept.bytes()
    }

    pub(crate) fn declared(&self) -> &[Option<DataType>] {
        &self.declared
    }

    /// The resolved statement, if the catalog and the settings are still those that it was
    /// resolved with.
    pub(crate) fn usable(&self, vantage: &Vantage) -> Option<LogicalStatement> {
        let parsed = self.parsed.as_ref();
        let plain = parsed.is_some_and(|p| matches!(p.statement, Statement::Plan(_)));
        let logical = self.logical.lock();
        let usable = logical.as_ref().filter(|l| plain && l.is_of(vantage));
        usable.cloned()
    }

    pub(crate) fn renew(&self, logical: LogicalStatement) {
        *self.logical.lock() = Some(logical);
    }

    /// A client has been told the columns; they must not change behind its back.
    pub(crate) fn check_schema(&self, found: &SchemaRef) -> Result<()> {
        let Some(told) = &self.schema else {
            return Ok(());
        };
        let shape = |schema: &Schema| -> Vec<(String, DataType)> {
            let fields = schema.fields().iter();
            fields
                .map(|f| (f.name().clone(), plain_type(f.data_type())))
                .collect()
        };
        if shape(told) == shape(found) {
            return Ok(());
        }
        Err(Error::new(
            "0A000",
            "cached plan must not change result type",
        ))
    }
}

/// Types that look the same to a client are the same here.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        other => other.clone(),
    }
}

impl Session {
    /// Prepares `parsed` (`None`: an empty statement) under `name`; the empty name is replaced,
    /// others must be free. `declared` are the parameter types that the client gave,
    /// `client_types` their ids.
    ///
    /// # Errors
    /// A used name, a limit (53400), or whatever resolving the statement reports.
    pub async fn prepare(
        &mut self,
        name: &str,
        parsed: Option<Arc<Parsed>>,
        declared: Vec<Option<DataType>>,
        client_types: Vec<u32>,
    ) -> Result<Arc<Prepared>> {
        self.make_room_for(name)?;
        let text_bytes = parsed.as_ref().map_or(0, |p| p.text.len());
        let bytes = (text_bytes + size_of_val(client_types.as_slice())) as u64;
        let kept = match name.is_empty() {
            true => Kept::default(),
            false => self.kept.keep(bytes, &self.settings)?,
        };
        let (logical, schema) = match &parsed {
            Some(parsed) => self.resolve(parsed, &declared).await?,
            None => (None, None),
        };
        let parameters = match &logical {
            Some(logical) => logical.parameters().types().to_vec(),
            None => declared.clone(),
        };
        let prepared = Arc::new(Prepared {
            parsed,
            declared,
            client_types,
            logical: Mutex::new(logical),
            schema,
            parameters,
            bytes,
            kept,
        });
        self.prepared.insert(name.to_owned(), Arc::clone(&prepared));
        self.show_prepared(name, &prepared);
        Ok(prepared)
    }

    /// Sees to it that `name` is free and one more prepared statement is allowed.
    fn make_room_for(&mut self, name: &str) -> Result<()> {
        if name.is_empty() {
            self.prepared.remove(name);
            return Ok(());
        }
        if self.prepared.contains_key(name) {
            return Err(Error::new(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let limit = self.settings.count(limits::PREPARED_STATEMENTS);
        let unnamed = usize::from(self.prepared.contains_key(""));
        if self.prepared.len() - unnamed >= limit {
            return Err(limits::too_many(
                "prepared statements",
                limits::PREPARED_STATEMENTS,
                limit,
            ));
        }
        Ok(())
    }

    async fn resolve(
        &mut self,
        parsed: &Arc<Parsed>,
        declared: &[Option<DataType>],
    ) -> Result<(Option<LogicalStatement>, Option<SchemaRef>)> {
        self.check_may_follow(Some(parsed))?;
        let watch = self.watch_preparation(parsed);
        let logical = watch.over(pin!(self.analyze(parsed, declared))).await?;
        drop(watch);
        let schema = self.schema_of(&parsed.statement, logical.as_ref()).await?;
        Ok((logical, schema))
    }

    /// In a failed block only its end may be prepared and bound.
    pub(crate) fn check_may_follow(&self, parsed: Option<&Parsed>) -> Result<()> {
        let ends = parsed.is_some_and(|p| p.statement.classify().ends_failed_transaction);
        if self.transaction_status() == crate::TransactionStatus::Failed && !ends {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// The prepared statement `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn prepared(&self, name: &str) -> Result<&Arc<Prepared>> {
        let found = self.prepared.get(name);
        found.ok_or_else(|| {
            Error::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    /// The columns that a prepared statement returns now; `None` when it returns no rows. Those of
    /// a `FETCH` are its cursor's.
    #[must_use]
    pub fn columns(&self, prepared: &Prepared) -> Option<SchemaRef> {
        match prepared.parsed().map(|p| &p.statement) {
            Some(Statement::Fetch(fetch)) if !fetch.mv => self.portals.schema(&fetch.cursor),
            _ => prepared.schema().cloned(),
        }
    }

    /// Forgets the prepared statement `name`, if there is one.
    pub fn forget_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
        self.handle.prepared.lock().remove(name);
    }

    /// Forgets all prepared statements.
    pub(crate) fn forget_all_prepared(&mut self) {
        self.prepared.clear();
        self.handle.prepared.lock().clear();
    }

    /// Puts a statement into `pg_prepared_statements`, unless it has no name.
    fn show_prepared(&self, name: &str, prepared: &Prepared) {
        if name.is_empty() {
            return;
        }
        let row = PreparedRow {
            name: name.to_owned(),
            statement: prepared.text(),
            prepared: Utc::now(),
            parameters: prepared.parameters.clone(),
            from_sql: false,
        };
        self.handle.prepared.lock().insert(name.to_owned(), row);
    }

    /// The columns that a statement returns.
    async fn schema_of(
        &mut self,
        statement: &Statement,
        logical: Option<&LogicalStatement>,
    ) -> Result<Option<SchemaRef>> {
        Ok(match statement {
            Statement::Explain(_) => Some(text_columns(&["QUERY PLAN"])),
            Statement::Copy(_) | Statement::DeclareCursor { .. } => None,
            Statement::Show(Some(name)) => {
                let (name, _) = self.settings.show(name)?;
                Some(text_columns(&[name.as_str()]))
            }
            Statement::Show(None) => Some(text_columns(&["name", "setting", "description"])),
            // Its cursor may not be there yet: see `Session::columns`.
            Statement::Fetch(_) => None,
            Statement::Execute { name, .. } => self.prepared(name)?.schema().cloned(),
            _ => logical
                .map(|l| l.schema().clone())
                .filter(|schema| !schema.fields().is_empty()),
        })
    }

    /// `PREPARE name (types) AS statement`.
    pub(crate) async fn prepare_statement(
        &mut self,
        name: &str,
        types: &[forebay_sql::DataType],
        parsed: Parsed,
    ) -> Result<Answer> {
        let declared = if types.is_empty() {
            Vec::new()
        } else {
            let names: Vec<String> = types.iter().map(ToString::to_string).collect();
            let vantage = self.vantage()?;
            let engine = self.server.inner.engine.clone();
            let work = async move { engine.types_of(&vantage, &names).await };
            let account = self.role_account();
            let engine = &self.server.inner.engine;
            let types = engine.on_query_runtime(account, work).await?;
            types.into_iter().map(Some).collect()
        };
        self.prepare(name, Some(Arc::new(parsed)), declared, Vec::new())
            .await?;
        if let Some(row) = self.handle.prepared.lock().get_mut(name) {
            row.from_sql = true;
        }
        Ok(Answer::Done("PREPARE".to_owned()))
    }

    /// The request that `EXECUTE name (arguments)` stands for.
    pub(crate) fn executed(&self, name: &str, arguments: &[Expr]) -> Result<Request> {
        let prepared = Arc::clone(self.prepared(name)?);
        let expected = prepared.parameters().len();
        if arguments.len() != expected {
            return Err(Error::new(
                "42601",
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!(
                "Expected {expected} parameters but got {}.",
                arguments.len()
            )));
        }
        if let Some(argument) = arguments.iter().find(|a| contains_query(a)) {
            return Err(
                Error::new("0A000", "cannot use subquery in EXECUTE parameter")
                    .with_detail(format!("The parameter is: {argument}")),
            );
        }
        let parsed = prepared.parsed().cloned();
        let parsed =
            parsed.ok_or_else(|| Error::new("0A000", "cannot EXECUTE an empty statement"))?;
        Ok(Request {
            arguments: arguments.to_vec(),
            prepared: Some(prepared),
            ..Request::plain(parsed)
        })
    }

    /// Works out the arguments of an `EXECUTE`.
    pub(crate) async fn evaluate_arguments(&mut self, request: &mut Request) -> Result<()> {
        let arguments = std::mem::take(&mut request.arguments);
        if let Some(prepared) = &request.prepared
            && !arguments.is_empty()
        {
            let prepared = Arc::clone(prepared);
            request.values = self.argument_values(&prepared, &arguments).await?;
        }
        Ok(())
    }

    async fn argument_values(
        &mut self,
        prepared: &Prepared,
        arguments: &[Expr],
    ) -> Result<Vec<ScalarValue>> {
        let texts: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let vantage = self.vantage()?;
        let engine = self.server.inner.engine.clone();
        let work = async move { engine.evaluate(&vantage, &texts).await };
        let account = self.role_account();
        let engine = &self.server.inner.engine;
        let values = engine.on_query_runtime(account, work).await?;
        let typed = values.into_iter().zip(prepared.parameters());
        typed
            .map(|(value, wanted)| match wanted {
                Some(wanted) => Ok(value
                    .cast_to(wanted)
                    .map_err(forebay_engine::EngineError::from)?),
                None => Ok(value),
            })
            .collect()
    }
}

/// Whether an expression contains a query.
fn contains_query(expr: &Expr) -> bool {
    use datafusion::sql::sqlparser::ast::{Query, Visit, Visitor};
    use std::ops::ControlFlow;
    struct FindQuery;
    impl Visitor for FindQuery {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    expr.visit(&mut FindQuery).is_break()
}

/// A schema of text columns.
pub(crate) fn text_columns(names: &[&str]) -> SchemaRef {
    let fields: Vec<Field> = names
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, true))
        .collect();
    Arc::new(Schema::new(fields))
}
