//! From a parsed statement to a stream of batches.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use forebay_catalog::{Priority, ViewDefinition};
use futures::{StreamExt, poll};
use tokio::sync::{mpsc, oneshot};

use crate::busy::{self, BusyClock};
use crate::clauses::ClauseColumns;
use crate::cost::{self, CostConstants, Estimate};
use crate::explain::{self, ExplainOptions};
use crate::logical::LogicalStatement;
use crate::metrics::PlanMetrics;
use crate::parameters::{self, ParameterTypes};
use crate::runtime::{QueryRuntime, RunningTask, caught};
use crate::states::PlanningState;
use crate::yielding::{Reader, give_way};
use crate::{
    Engine, EngineError, MemoryGrant, Vantage, compression, durable, memory, rewrite, system,
    types, views,
};

/// Batches that may wait between the query runtime and the one who reads them. A reader that
/// stops reading stops the plan after this many.
const BATCHES_IN_FLIGHT: usize = 2;

/// A plan of at most this cost takes less time than waking the thread that reads its rows. In
/// PostgreSQL's unit.
const SMALL_COST: f64 = 1.0;

/// A plan that is ready to run, once.
#[derive(Debug)]
pub struct Plan {
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    reader: Arc<Reader>,
    schema: SchemaRef,
    output: Output,
    writes: bool,
    /// The columns that its scans read.
    columns: Arc<[String]>,
    clauses: Arc<ClauseColumns>,
    /// Times its tasks while it runs.
    clock: Arc<BusyClock>,
    /// Whether the optimizer's work was done before.
    was_optimized: bool,
    /// What is expected of each operator, once somebody has asked.
    estimates: OnceLock<Arc<[Estimate]>>,
}

#[derive(Debug)]
enum Output {
    Rows,
    Count,
    Explain(ExplainOptions),
}

impl Plan {
    /// The columns of the result; empty when only a row count comes back.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether running it writes files, whatever is wrapped around it.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.writes
            && match self.output {
                Output::Explain(options) => options.analyze,
                Output::Rows | Output::Count => true,
            }
    }

    /// The columns that its scans read, as `relation.column`, each once.
    #[must_use]
    pub fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// The columns that the clauses of its statement read.
    #[must_use]
    pub fn clauses(&self) -> &Arc<ClauseColumns> {
        &self.clauses
    }

    /// Whether it was made from an optimized plan that was kept.
    #[must_use]
    pub fn was_optimized(&self) -> bool {
        self.was_optimized
    }

    /// What running it is expected to cost, in PostgreSQL's unit: 1.0 is reading one sequential
    /// page of 8 KiB. Finite and not negative. The first call takes time linear in the plan's size.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.estimate().first().map_or(0.0, |root| root.total)
    }

    /// What is expected of each operator, in the order in which `EXPLAIN` shows them.
    #[must_use]
    pub fn estimate(&self) -> &Arc<[Estimate]> {
        self.estimates
            .get_or_init(|| self.work_out_estimate().into())
    }

    /// The operators, to be looked at while they run and afterwards.
    #[must_use]
    pub fn metrics(&self) -> PlanMetrics {
        let (plan, estimate) = (Arc::clone(&self.physical), Arc::clone(self.estimate()));
        PlanMetrics::new(plan, estimate, Arc::clone(&self.clock))
    }

    fn work_out_estimate(&self) -> Vec<Estimate> {
        let config = self.context.session_config();
        let facts = crate::vantage::facts(config.options());
        let constants = facts.map(|f| CostConstants::of_settings(&f.settings));
        let environment = self.context.runtime_env();
        let footers = environment.cache_manager.get_file_metadata_cache();
        cost::estimate(
            self.physical.as_ref(),
            &constants.unwrap_or_default(),
            config.batch_size(),
            footers.as_ref(),
        )
    }

    /// Whether it can run well with `limit_bytes` of memory. Else [`Vantage::within`] should make
    /// another: with fewer partitions, with smaller batches, or with joins that spill.
    #[must_use]
    pub fn suits(&self, limit_bytes: u64) -> bool {
        let config = self.context.session_config();
        memory::suits(&self.physical, config, self.estimate(), limit_bytes)
    }

    /// The bytes of the widest rows that are expected of an operator.
    #[must_use]
    pub fn row_width(&self) -> f64 {
        memory::row_width(self.estimate())
    }

    /// Whether the result is the number of rows written.
    #[must_use]
    pub fn returns_count(&self) -> bool {
        matches!(self.output, Output::Count)
    }
}

/// What the preparation of a launch ends with.
#[derive(Debug)]
pub enum Next<T, U> {
    /// Run the plan.
    Run(T, Plan),
    /// Run nothing.
    Stop(U),
}

/// What a launch has come to.
#[derive(Debug)]
pub enum Launch<T, U, R = ResultStream> {
    /// The plan runs.
    Running(T, R),
    /// Nothing runs.
    Stopped(U),
}

/// A running plan. Dropping it stops the plan.
#[derive(Debug)]
pub struct ResultStream {
    schema: SchemaRef,
    /// Ends with `None`: a channel that closes without it belongs to a plan that was cut off.
    batches: mpsc::Receiver<Delivery>,
    ended: bool,
    task: RunningTask<()>,
}

impl ResultStream {
    /// The columns of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The priority of the threads that it runs on.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.task.runtime().priority()
    }

    /// The next batch; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// What the plan failed with; nothing follows an error.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        if self.ended {
            return Ok(None);
        }
        let received = self.batches.recv().await;
        let received = received
            .unwrap_or_else(|| Err(EngineError::internal("the plan was cut off before its end")));
        self.ended = !matches!(received, Ok(Some(_)));
        received
    }
}

impl Engine {
    pub(crate) fn borrow_state(&self, vantage: &Vantage) -> PlanningState<'_> {
        self.inner
            .states
            .borrow(vantage, &self.inner.providers, self)
    }

    /// Resolves names and types of `statement`; `declared` are the parameter types that the
    /// client gave.
    ///
    /// # Errors
    /// Unknown names, type errors, statements that DataFusion cannot plan.
    pub async fn analyze(
        &self,
        vantage: &Vantage,
        statement: &Statement,
        declared: &[Option<DataType>],
    ) -> Result<LogicalStatement, EngineError> {
        let statement = parameters::with_declared_types(statement, declared);
        let names = rewrite::column_names(&statement);
        let statement = rewrite::for_datafusion(statement, vantage.time_zone())?;
        let state = self.borrow_state(vantage);
        let plan = state.statement_to_plan(statement).await?;
        views::check_size(&plan)?;
        let plan = system::printed(plan, &*state)?;
        refuse_ddl(&plan)?;
        let plan = types::in_session_zone(types::resolved(plan)?, vantage.time_zone())?;
        let parameters = ParameterTypes::of(&plan, declared)?;
        let schema = match &plan {
            LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => Arc::new(Schema::empty()),
            plan => client_schema(plan.schema().as_arrow(), &names),
        };
        Ok(LogicalStatement::new(plan, schema, parameters, vantage))
    }

    /// The plan of a view's query, unanalysed, as DataFusion keeps it in a view.
    pub(crate) async fn view_plan(
        &self,
        vantage: &Vantage,
        view: &ViewDefinition,
    ) -> Result<LogicalPlan, EngineError> {
        let statement = parse_view(&view.query)?;
        let names = rewrite::column_names(&statement);
        let statement = rewrite::for_datafusion(statement, vantage.time_zone())?;
        let state = self.borrow_state(vantage);
        let plan = state.statement_to_plan(statement).await?;
        views::check_size(&plan)?;
        let plan = types::resolved(plan)?;
        rename(plan, &names, &view.columns)
    }

    /// Makes a physical plan with `values` for the parameters.
    ///
    /// # Errors
    /// A wrong number of values, or whatever optimizing and physical planning report.
    pub async fn plan(
        &self,
        vantage: &Vantage,
        statement: &LogicalStatement,
        values: Vec<ScalarValue>,
    ) -> Result<Plan, EngineError> {
        statement.parameters().check_count(values.len())?;
        let state = self.borrow_state(vantage);
        let was_optimized = values.is_empty() && statement.is_optimized();
        let logical = statement.optimized(&state, values)?;
        let planner = state.query_planner();
        let mut physical = planner.create_physical_plan(&logical, &*state).await?;
        if let LogicalPlan::Dml(_) = &*logical {
            physical = compression::as_session_says(physical, &state).await?;
        }
        let reader = Arc::new(Reader::default());
        let physical = give_way(physical, &reader)?;
        let (schema, output) = if statement.returns_count() {
            (Arc::clone(statement.schema()), Output::Count)
        } else {
            (
                renamed(&physical.schema(), statement.schema()),
                Output::Rows,
            )
        };
        Ok(Plan {
            physical,
            reader,
            context: task_context(vantage.config.clone(), Arc::clone(&self.inner.environment)),
            schema,
            output,
            writes: statement.returns_count(),
            columns: statement.columns(&logical)?,
            clauses: Arc::clone(statement.clauses(self.inner.states.system())),
            clock: BusyClock::new(),
            was_optimized,
            estimates: OnceLock::new(),
        })
    }

    /// The values of constant expressions, as SQL text (`EXECUTE`'s arguments).
    ///
    /// # Errors
    /// When an expression is not constant or fails.
    pub async fn evaluate(
        &self,
        vantage: &Vantage,
        expressions: &[String],
    ) -> Result<Vec<ScalarValue>, EngineError> {
        let text = format!("SELECT {}", numbered(expressions));
        let logical = self.analyze(vantage, &parse_one(&text)?, &[]).await?;
        let plan = self.plan(vantage, &logical, Vec::new()).await?;
        let mut rows = execute_stream(plan.physical, plan.context)?;
        let Some(batch) = rows.next().await.transpose()? else {
            return Err(EngineError::internal("constants gave no row"));
        };
        let values = batch
            .columns()
            .iter()
            .map(|c| ScalarValue::try_from_array(c, 0));
        Ok(values.collect::<datafusion::error::Result<_>>()?)
    }

    /// The types that SQL type names stand for (`PREPARE name (integer, text)`).
    ///
    /// # Errors
    /// When a type is unknown.
    pub async fn types_of(
        &self,
        vantage: &Vantage,
        names: &[String],
    ) -> Result<Vec<DataType>, EngineError> {
        let casts: Vec<String> = names.iter().map(|n| format!("CAST(NULL AS {n})")).collect();
        let text = format!("SELECT {}", numbered(&casts));
        let logical = self.analyze(vantage, &parse_one(&text)?, &[]).await?;
        let fields = logical.schema().fields().iter();
        Ok(fields.map(|f| f.data_type().clone()).collect())
    }

    /// The plan with what its statement may use. Without it a plan uses what grants leave.
    #[must_use]
    pub fn with_memory(&self, plan: Plan, grant: &MemoryGrant) -> Plan {
        let inner = &self.inner;
        let environment = inner.memory.environment(&inner.environment, grant);
        let config = plan.context.session_config();
        let tuned = match grant.limit_bytes {
            Some(limit) => memory::tuned(config, limit),
            None => inner.memory.tuned(config),
        };
        let config = tuned.unwrap_or_else(|| config.clone());
        Plan {
            context: task_context(config, environment),
            ..plan
        }
    }

    /// Makes the plan of `EXPLAIN`: it shows `plan`, and runs it first where asked to.
    #[must_use]
    pub fn explain(&self, plan: Plan, options: ExplainOptions) -> Plan {
        Plan {
            schema: explain::schema(),
            output: Output::Explain(options),
            ..plan
        }
    }

    /// Goes to `runtime` once for a whole statement: `prepare` makes a plan there, and the plan is
    /// run where it was made. Each crossing between the runtimes wakes a thread, which takes as
    /// long as planning a small statement does.
    ///
    /// What `prepare` gives beside the plan comes back at once; the rows follow in the stream.
    /// Dropping the returned future stops everything.
    ///
    /// # Errors
    /// What `prepare` fails with; a panic of it as [`EngineError`].
    pub async fn launch<T, U, E, F>(
        &self,
        runtime: &QueryRuntime,
        prepare: F,
    ) -> Result<Launch<T, U>, E>
    where
        T: Send + 'static,
        U: Send + 'static,
        E: From<EngineError> + Send + 'static,
        F: Future<Output = Result<Next<T, U>, E>> + Send + 'static,
    {
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        let (launched, launch) = oneshot::channel();
        let task = runtime.spawn(async move {
            let (beside, plan) = match caught(prepare).await {
                Ok(Next::Run(beside, plan)) => (beside, plan),
                Ok(Next::Stop(instead)) => {
                    let _ = launched.send(Ok(Launch::Stopped(instead)));
                    return;
                }
                Err(error) => {
                    let _ = launched.send(Err(error));
                    return;
                }
            };
            let running = Launch::Running(beside, Arc::clone(&plan.schema));
            let is_small = plan.cost() <= SMALL_COST;
            let clock = Arc::clone(&plan.clock);
            let mut run = pin!(busy::timed(clock, run_to_end(plan, sender)));
            // A small plan has ended by the time its reader is told that it runs, who then wakes
            // once and not for each batch.
            let ended = is_small && poll!(run.as_mut()).is_ready();
            let _ = launched.send(Ok(running));
            if !ended {
                run.await;
            }
        });
        let launch = launch.await.unwrap_or_else(|_| {
            Err(EngineError::internal("the plan was cut off before its start").into())
        });
        Ok(match launch? {
            Launch::Running(beside, schema) => {
                let rows = ResultStream {
                    schema,
                    batches,
                    ended: false,
                    task,
                };
                Launch::Running(beside, rows)
            }
            Launch::Stopped(instead) => Launch::Stopped(instead),
        })
    }
}

/// What operators are handed when they run. The function registries stay empty: they are for
/// plans that come serialized, and copying them costs more than a small statement.
fn task_context(config: SessionConfig, environment: Arc<RuntimeEnv>) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        None,
        String::new(),
        config,
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        environment,
    ))
}

/// A select list with a name for each item, so that equal items do not clash.
fn numbered(expressions: &[String]) -> String {
    let items: Vec<String> = expressions
        .iter()
        .enumerate()
        .map(|(i, expression)| format!("{expression} AS c{i}"))
        .collect();
    items.join(", ")
}

/// Parses a text of our own or from the catalog.
pub(crate) fn parse_one(text: &str) -> Result<Statement, EngineError> {
    let parser = DFParserBuilder::new(text).with_dialect(&PostgreSqlDialect {});
    Ok(parser.build()?.parse_statement()?)
}

/// Parses a view's query, as it was written.
pub(crate) fn parse_view(text: &str) -> Result<Statement, EngineError> {
    let parser = DFParserBuilder::new(rewrite::tokens(text)?).with_dialect(&PostgreSqlDialect {});
    Ok(parser.build()?.parse_statement()?)
}

/// What comes of a running plan: batches, then `None`, or an error.
pub(crate) type Delivery = Result<Option<RecordBatch>, EngineError>;

pub(crate) type BatchSender = mpsc::Sender<Delivery>;

/// Runs the plan and tells `sender` its batches and how it ended.
async fn run_to_end(plan: Plan, sender: BatchSender) {
    plan.reader.is_behind(&sender);
    let end = caught(drive(plan, &sender)).await.map(|()| None);
    // The reader may be gone already; then nobody is left to tell.
    let _ = sender.send(end).await;
}

async fn drive(plan: Plan, sender: &BatchSender) -> Result<(), EngineError> {
    let keep = matches!(plan.output, Output::Explain(_)).then(|| Arc::clone(&plan.physical));
    match &plan.output {
        Output::Explain(options) => {
            let estimates = Arc::clone(plan.estimate());
            if options.analyze {
                forward(&plan, None).await?;
            }
            let physical = keep.expect("kept for EXPLAIN");
            let context = &plan.context;
            let memory = memory::peak_text(context.memory_pool().as_ref());
            let memory = memory.filter(|_| options.analyze);
            let batch = explain::lines(physical.as_ref(), &estimates, *options, memory)?;
            let _ = sender.send(Ok(Some(batch))).await;
            Ok(())
        }
        Output::Rows | Output::Count => forward(&plan, Some(sender)).await,
    }
}

/// Runs the plan to its end; batches go to `sender`, or nowhere.
async fn forward(plan: &Plan, sender: Option<&BatchSender>) -> Result<(), EngineError> {
    let run = async {
        let mut stream = execute_stream(Arc::clone(&plan.physical), Arc::clone(&plan.context))?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            if let Some(sender) = sender
                && sender.send(Ok(Some(batch))).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    };
    let began = SystemTime::now();
    match run.await {
        Ok(()) if plan.writes => durable::sync_written(&plan.physical, began).await,
        Ok(()) => Ok(()),
        Err(error) => {
            Err(crate::explain::name_bad_file(&plan.physical, &plan.context, error).await)
        }
    }
}

/// DDL goes through the catalog, never through DataFusion's own registries.
fn refuse_ddl(plan: &LogicalPlan) -> Result<(), EngineError> {
    let what = match plan {
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)) => "CREATE TABLE",
        LogicalPlan::Ddl(ddl) => ddl.name(),
        LogicalPlan::Statement(statement) => statement.name(),
        _ => return Ok(()),
    };
    Err(
        EngineError::new("0A000", format!("{what} is not supported"))
            .with_hint("Use CREATE EXTERNAL TABLE over files, or CREATE VIEW."),
    )
}

/// The schema with the names that a PostgreSQL client expects.
fn client_schema(schema: &Schema, names: &[Option<String>]) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let name = names.get(i).cloned().flatten();
            Field::new(
                name.unwrap_or_else(|| field.name().clone()),
                field.data_type().clone(),
                field.is_nullable(),
            )
            .with_metadata(field.metadata().clone())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Types of the physical schema, names of the client's.
fn renamed(physical: &Schema, client: &Schema) -> SchemaRef {
    let names: Vec<Option<String>> = client
        .fields()
        .iter()
        .map(|f| Some(f.name().clone()))
        .collect();
    client_schema(physical, &names)
}

/// Gives a view's columns the names that the view was declared with, or PostgreSQL's.
fn rename(
    plan: LogicalPlan,
    names: &[Option<String>],
    declared: &[String],
) -> Result<LogicalPlan, EngineError> {
    use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
    let columns = plan.schema().columns();
    if declared.len() > columns.len() {
        return Err(EngineError::new(
            "42601",
            "CREATE VIEW specifies more column names than columns",
        ));
    }
    let wanted: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let given = declared.get(i).cloned();
            given
                .or_else(|| names.get(i).cloned().flatten())
                .unwrap_or_else(|| column.name.clone())
        })
        .collect();
    if wanted.iter().zip(&columns).all(|(w, c)| *w == c.name) {
        return Ok(plan);
    }
    if let Some(twice) = wanted
        .iter()
        .enumerate()
        .find(|(i, w)| wanted[..*i].contains(w))
    {
        return Err(EngineError::new(
            "42701",
            format!("column \"{}\" specified more than once", twice.1),
        ));
    }
    let aliased = columns
        .into_iter()
        .zip(wanted)
        .map(|(column, name)| Expr::Column(column).alias(name));
    Ok(LogicalPlanBuilder::from(plan).project(aliased)?.build()?)
}
