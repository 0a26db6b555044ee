//! Prepared statements, of SQL's `PREPARE` and of the extended protocol alike.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use forebay_engine::{LogicalStatement, Vantage};
use forebay_sql::{Expr, Parsed, Statement};
use parking_lot::Mutex;

use crate::way::{Answer, Request};
use crate::{Error, Result, Session};

/// A statement that is parsed and, where it has a plan, resolved.
#[derive(Debug)]
pub struct Prepared {
    parsed: Arc<Parsed>,
    declared: Vec<Option<DataType>>,
    client_types: Vec<u32>,
    /// Resolved anew when the catalog or the settings have changed.
    logical: Mutex<Option<LogicalStatement>>,
    schema: Option<SchemaRef>,
    parameters: Vec<Option<DataType>>,
}

impl Prepared {
    /// The statement itself.
    #[must_use]
    pub fn parsed(&self) -> &Arc<Parsed> {
        &self.parsed
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

    pub(crate) fn declared(&self) -> &[Option<DataType>] {
        &self.declared
    }

    /// The resolved statement, if the catalog and the settings are still those that it was
    /// resolved with.
    pub(crate) fn usable(&self, vantage: &Vantage) -> Option<LogicalStatement> {
        let plain = matches!(self.parsed.statement, Statement::Plan(_));
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
    /// Prepares `parsed` under `name`; the empty name is replaced, others must be free.
    /// `declared` are the parameter types that the client gave, `client_types` their ids.
    ///
    /// # Errors
    /// A used name, or whatever resolving the statement reports.
    pub async fn prepare(
        &mut self,
        name: &str,
        parsed: Arc<Parsed>,
        declared: Vec<Option<DataType>>,
        client_types: Vec<u32>,
    ) -> Result<Arc<Prepared>> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(Error::new(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        self.check_may_prepare(&parsed)?;
        let watch = self.watch_preparation(&parsed);
        let logical = watch.over(self.analyze(&parsed, &declared)).await?;
        drop(watch);
        let schema = self.schema_of(&parsed.statement, logical.as_ref()).await?;
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
        });
        self.prepared.insert(name.to_owned(), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// In a failed block only its end may be prepared.
    fn check_may_prepare(&self, parsed: &Parsed) -> Result<()> {
        let failed = self.transaction_status() == crate::TransactionStatus::Failed;
        if failed && !parsed.statement.classify().ends_failed_transaction {
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

    /// Forgets the prepared statement `name`, if there is one.
    pub fn forget_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
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
            Statement::Fetch(fetch) if !fetch.mv => {
                Some(self.cursors.get(&fetch.cursor)?.schema().clone())
            }
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
            let types = self.server.inner.engine.on_query_runtime(work).await?;
            types.into_iter().map(Some).collect()
        };
        self.prepare(name, Arc::new(parsed), declared, Vec::new())
            .await?;
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
        Ok(Request {
            arguments: arguments.to_vec(),
            prepared: Some(Arc::clone(&prepared)),
            ..Request::plain(Arc::clone(prepared.parsed()))
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
        let values = self.server.inner.engine.on_query_runtime(work).await?;
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
