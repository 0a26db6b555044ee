//! How a statement with a plan is planned and answered.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use forebay_admission::Charge;
use forebay_engine::{Engine, ExplainOptions, LogicalStatement, Plan, Vantage};
use forebay_sql::{CopyDirection, CopyTarget, DfStatement, Parsed, Statement};

use crate::memory::MemoryRule;
use crate::prepared::Prepared;
use crate::{Error, Result};

/// What becomes of a plan's rows.
#[derive(Clone)]
pub(crate) enum Finish {
    Rows(&'static str),
    CopyOut(Box<forebay_sql::CopyOptions>),
    Cursor { name: String, hold: bool },
}

impl Finish {
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Rows(verb) => verb,
            Self::CopyOut(_) | Self::Cursor { .. } => "SELECT",
        }
    }
}

/// How a statement with a plan is planned and answered.
pub(crate) struct Shape {
    /// What is planned, where it is not a part of the statement itself.
    made: Option<DfStatement>,
    explain: Option<ExplainOptions>,
    pub(crate) finish: Finish,
}

impl Shape {
    fn rows(verb: &'static str) -> Self {
        Self {
            made: None,
            explain: None,
            finish: Finish::Rows(verb),
        }
    }

    /// Whether the plan is made to be looked at.
    pub(crate) fn is_only_shown(&self) -> bool {
        self.explain.is_some_and(|options| !options.analyze)
    }

    /// What is planned of `statement`, whose shape this is.
    pub(crate) fn statement<'a>(&'a self, statement: &'a Statement) -> &'a DfStatement {
        match (&self.made, statement) {
            (Some(made), _) => made,
            (None, Statement::Plan(plan)) => plan,
            (None, Statement::Explain(explain)) => &explain.statement,
            (None, Statement::DeclareCursor { query, .. }) => self.statement(&query.statement),
            (None, _) => unreachable!("`shape` makes a statement for all others"),
        }
    }
}

/// The shape of a statement with a plan; `None` for a command.
pub(crate) fn shape(statement: &Statement) -> Result<Option<Shape>> {
    Ok(Some(match statement {
        Statement::Plan(_) => Shape::rows("SELECT"),
        Statement::Explain(explain) => Shape {
            explain: Some(crate::commands::explain_options(explain)?),
            ..Shape::rows("EXPLAIN")
        },
        Statement::Copy(copy) => match &copy.direction {
            CopyDirection::From(_) => {
                return Err(Error::new("0A000", "COPY FROM is not supported").with_hint(
                    "Put the file where a table can be made of it: CREATE EXTERNAL TABLE.",
                ));
            }
            CopyDirection::To(CopyTarget::Stdout) => Shape {
                made: Some(crate::commands::copy_source(&copy.source)?),
                finish: Finish::CopyOut(Box::new(copy.options.clone())),
                ..Shape::rows("SELECT")
            },
            CopyDirection::To(CopyTarget::File(path)) => Shape {
                made: Some(crate::commands::copy_to_file(copy, path)?),
                ..Shape::rows("COPY")
            },
        },
        Statement::DeclareCursor {
            name,
            hold,
            scroll,
            binary,
            query,
        } => {
            if *scroll == Some(true) || *binary {
                let what = if *binary { "BINARY" } else { "SCROLL" };
                return Err(Error::new(
                    "0A000",
                    format!("{what} cursors are not supported"),
                ));
            }
            let Statement::Plan(_) = &query.statement else {
                return Err(Error::new("42601", "DECLARE CURSOR needs a query"));
            };
            Shape {
                finish: Finish::Cursor {
                    name: name.clone(),
                    hold: *hold,
                },
                ..Shape::rows("SELECT")
            }
        }
        Statement::CreateTable(table) => match &table.query {
            Some(query) => Shape {
                made: Some(crate::commands::insert_of(table, query)?),
                ..Shape::rows("SELECT")
            },
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// What step 5 needs, on its way to the query runtime.
pub(crate) struct Planning {
    pub(crate) engine: Engine,
    pub(crate) vantage: Vantage,
    pub(crate) parsed: Arc<Parsed>,
    pub(crate) prepared: Option<Arc<Prepared>>,
    pub(crate) values: Vec<ScalarValue>,
    pub(crate) shape: Shape,
    pub(crate) memory: MemoryRule,
}

impl Planning {
    /// Plans. What an earlier `PREPARE` resolved is used again if the catalog is still the same.
    ///
    /// Beside the plan comes how much of the work was done before: resolving names and types, and
    /// optimizing.
    pub(crate) async fn plan(&self) -> Result<(Plan, u32)> {
        self.plan_from(&self.vantage).await
    }

    /// The plan, of this cost, with what it may use. Where it needs more to run well, another one
    /// is made.
    pub(crate) async fn granted(
        &self,
        plan: Plan,
        charge: Option<&Charge>,
        cost: f64,
    ) -> Result<Plan> {
        let grant = self.memory.grant(charge, cost);
        let plan = match grant.limit_bytes {
            Some(limit) if !plan.suits(limit) => {
                let vantage = self.vantage.within(limit, plan.row_width());
                self.plan_from(&vantage).await?.0
            }
            _ => plan,
        };
        Ok(self.engine.with_memory(plan, &grant))
    }

    async fn plan_from(&self, vantage: &Vantage) -> Result<(Plan, u32)> {
        let Some(prepared) = &self.prepared else {
            let logical = self.analyze(&[]).await?;
            return Ok((self.physical(vantage, &logical).await?, 0));
        };
        if let Some(logical) = prepared.usable(vantage) {
            let plan = self.physical(vantage, &logical).await?;
            let hits = 1 + u32::from(plan.was_optimized());
            return Ok((plan, hits));
        }
        let logical = self.analyze(prepared.declared()).await?;
        let plan = self.physical(vantage, &logical).await?;
        prepared.renew(logical);
        prepared.check_schema(plan.schema())?;
        Ok((plan, 0))
    }

    async fn analyze(&self, declared: &[Option<DataType>]) -> Result<LogicalStatement> {
        let statement = self.shape.statement(&self.parsed.statement);
        let analyzed = self
            .engine
            .analyze(&self.vantage, statement, declared)
            .await;
        analyzed.map_err(|e| Error::located(e, &self.parsed))
    }

    async fn physical(&self, vantage: &Vantage, logical: &LogicalStatement) -> Result<Plan> {
        let values = self.values.clone();
        let planned = self.engine.plan(vantage, logical, values).await;
        let plan = planned.map_err(|e| Error::located(e, &self.parsed))?;
        Ok(match self.shape.explain {
            Some(options) => self.engine.explain(plan, options),
            None => plan,
        })
    }
}
