//! The way of a statement.
//!
//! [`Session::run`] is the whole of it, in the order of design.md section 2. What it calls is
//! below it in the same order.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::scalar::ScalarValue;
use forebay_admission::{Demand, Locks};
use forebay_engine::{
    ClauseColumns, Launch, LogicalStatement, Next, Plan, PlanMetrics, QueryRuntime, ResultStream,
    Vantage,
};
use forebay_lifecycle::{NewQuery, QueryId};
use forebay_sql::{Class, Parsed, Statement};

use crate::admit::{self, Aside, Charged, EarlierPlan, GoverningQueue};
use crate::copy::CopyOut;
use crate::planning::{Finish, Planning, Shape, shape};
use crate::portals::Declaration;
use crate::prepared::Prepared;
use crate::running::{Holds, Limits, Running};
use crate::sessions::Activity;
use crate::settings::TRANSACTION_ISOLATION;
use crate::transaction::Transaction;
use crate::{Error, Response, Result, Rows, Session, limits};

/// A statement to be run: its text, what is known of it from an earlier `PREPARE`, and values.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The query's id, where the client knows it already.
    pub(crate) id: Option<QueryId>,
    pub(crate) parsed: Arc<Parsed>,
    pub(crate) prepared: Option<Arc<Prepared>>,
    pub(crate) values: Vec<ScalarValue>,
    /// Arguments of `EXECUTE` that become `values` once the statement is registered.
    pub(crate) arguments: Vec<forebay_sql::Expr>,
}

impl Request {
    /// A statement without parameters.
    pub(crate) fn plain(parsed: Arc<Parsed>) -> Self {
        Self {
            id: None,
            parsed,
            prepared: None,
            values: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl Session {
    /// Runs one statement, from its text to its first row.
    pub(crate) async fn run(&mut self, request: Request) -> Result<Response> {
        self.take_requested_settings();
        self.handle.archiving_keeps_up().await;
        let text = Arc::clone(&request.parsed.text);
        let mut request = self.resolve_execute(request)?;
        let class = request.parsed.statement.classify(); // 1. parsed by the front end; classified
        self.check_transaction_state(&class)?;
        let mut running = self.register(request.id, &text, class.statement_type); // 2. visible from here on
        let outcome = self.admitted(&mut request, &class, &mut running).await;
        match outcome {
            Ok(Answer::Stream(stream, finish)) => self.answer(stream, running, finish),
            Ok(Answer::Ready(finish)) => finish(running),
            Ok(Answer::Done(tag)) => {
                running.finish(Ok(())); // 8
                Ok(Response::Done(tag))
            }
            Err(error) => {
                running.finish(Err(&error)); // 8
                Err(error)
            }
        }
    }

    /// Steps 3 to 6 of a statement with a plan; all that another one needs.
    async fn admitted(
        &mut self,
        request: &mut Request,
        class: &Class,
        running: &mut Running,
    ) -> Result<Answer> {
        let guard = running.watch();
        self.open_transaction();
        guard.over(pin!(self.evaluate_arguments(request))).await?;
        let request = &*request;
        let statement = &request.parsed.statement;
        let queue = self.governing_queue(class);
        running.governed(queue.as_ref(), class);
        let admitted = self.admit(request, class, queue.as_ref(), running); // 3. before any lock
        let (mut holds, mut earlier) = guard.over(pin!(admitted)).await?;
        let mut created = false;
        loop {
            let locks = self.lock(class, statement, running); // 4. all at once
            let locks = guard.over(pin!(locks)).await?;
            let creates = self.begin_create_as(statement, &mut created);
            let shape = match guard.over(pin!(creates)).await? {
                true => shape(statement)?,
                false => None,
            };
            let Some(shape) = shape else {
                self.keep(locks);
                running.hold(holds);
                return match statement {
                    // A commit is not interrupted half way.
                    Statement::Commit { .. } => Box::pin(self.command(request)).await,
                    _ => guard.over(Box::pin(self.command(request))).await,
                };
            };
            let planning = self.planning(request, shape, class, queue.as_ref())?;
            let finish = planning.shape.finish.clone();
            let allowed = self.allowed(statement, class);
            let launch = self.launch(planning, allowed, queue.clone(), holds, earlier, running);
            let launched = guard.over(pin!(launch)).await?;
            match launched {
                Launch::Running(launched, rows) => {
                    self.keep(locks);
                    running.started(&launched);
                    running.hold(launched.holds);
                    if launched.returns_count {
                        let rows = running.watch().over(pin!(written_rows(rows))).await?;
                        running.wrote(class, rows);
                        return Ok(Answer::Done(count_tag(class, rows)));
                    }
                    return Ok(Answer::Stream(rows, finish));
                }
                Launch::Stopped(aside) => {
                    // Back to 4, with demand known and charged.
                    running.steps_aside();
                    let aside = self.step_aside(aside, locks, running);
                    (holds, earlier) = guard.over(pin!(aside)).await?;
                }
            }
        }
    }

    /// Makes the table that `CREATE TABLE AS` is to fill, once. False where there is one already.
    async fn begin_create_as(&mut self, statement: &Statement, created: &mut bool) -> Result<bool> {
        match statement {
            Statement::CreateTable(table) if table.query.is_some() && !*created => {
                *created = self.create_target(table).await?;
                Ok(*created)
            }
            _ => Ok(true),
        }
    }

    /// The slot. Where the queue has `MIN_COST` the cost is worked out before, since whoever is
    /// below it does not wait even when every slot is taken; planning needs no lock. Only a few
    /// statements do so at once: the others take their slot first.
    async fn admit(
        &mut self,
        request: &Request,
        class: &Class,
        queue: Option<&GoverningQueue>,
        running: &Running,
    ) -> Result<(Holds, Option<EarlierPlan>)> {
        if let Statement::Fetch(fetch) = &request.parsed.statement {
            return Ok((self.cursor_share(&fetch.cursor, running).await?, None));
        }
        if queue.is_some() && matches!(request.parsed.statement, Statement::DeclareCursor { .. }) {
            let limit = self.settings.count(limits::RESOURCE_PORTALS);
            self.portals.check_governed(limit)?;
        }
        // What a table that is not there yet is filled with cannot be planned.
        let creates = matches!(request.parsed.statement, Statement::CreateTable(_));
        if let Some(queue) = queue.filter(|queue| queue.has_min_cost() && !creates)
            && let Some(shape) = shape(&request.parsed.statement)?
            && let Ok(_turn) = self.server.clone().inner.estimates.try_acquire()
        {
            let planning = self.planning(request, shape, class, Some(queue))?;
            let runtime = self.runtime_for(Some(queue), running).await?;
            let (demand, plan) = self.estimate(planning, &runtime).await?;
            let holds = self.slot_and_charge(queue, demand, running).await?;
            return Ok((holds, Some(plan)));
        }
        Ok((self.slot(queue, running).await?, None))
    }

    /// Plans without running.
    async fn estimate(
        &self,
        planning: Planning,
        runtime: &QueryRuntime,
    ) -> Result<(Demand, EarlierPlan)> {
        let work = Box::pin(async move {
            let (plan, cache_hits) = planning.plan().await?;
            let demand = planning.memory.demand(planning.memory.cost_of(&plan));
            let estimate = (demand, EarlierPlan::new(plan, cache_hits, &planning));
            Ok::<Next<(), _>, Error>(Next::Stop(estimate))
        });
        match self.server.inner.engine.launch(runtime, work).await? {
            Launch::Stopped(estimate) => Ok(estimate),
            Launch::Running((), _) => unreachable!("an estimate runs nothing"),
        }
    }

    /// The threads for what begins now.
    async fn runtime_for(
        &self,
        queue: Option<&GoverningQueue>,
        running: &Running,
    ) -> Result<QueryRuntime> {
        let engine = &self.server.inner.engine;
        let account = queue.map_or_else(|| self.role_account(), GoverningQueue::account);
        let runtime = engine.query_runtime(account).await?;
        running.runs_at(runtime.priority());
        Ok(runtime)
    }

    /// Steps 5 to 7, in one visit to a query runtime; or the statement has to step aside.
    async fn launch(
        &mut self,
        planning: Planning,
        allowed: Allowed,
        queue: Option<GoverningQueue>,
        holds: Holds,
        earlier: Option<EarlierPlan>,
        running: &Running,
    ) -> Result<Launch<Launched, Aside>> {
        let runtime = self.runtime_for(queue.as_ref(), running).await?;
        let admission = self.server.inner.admission.clone();
        // On the heap once; by value it would lie in each of the futures that hand it on.
        let work = Box::pin(async move {
            let start = Instant::now();
            let (plan, cache_hits) = match earlier.and_then(|plan| plan.still_right(&planning)) {
                Some(earlier) => earlier,
                None => planning.plan().await?, // 5. plan and estimate
            };
            let planned = Instant::now();
            allowed.check(&plan)?;
            let cost = planning.memory.cost_of(&plan);
            let demand = planning.memory.demand(cost);
            let charged = admit::charge(&admission, queue.as_ref(), holds, demand)?; // 6
            Ok::<_, Error>(match charged {
                Charged::Fits(holds) => {
                    let plan = planning.granted(plan, holds.charge.as_ref(), cost).await?;
                    let launched = Launched {
                        holds,
                        returns_count: plan.returns_count(),
                        planning_time: planned - start,
                        planned,
                        began: Instant::now(),
                        cost: plan.cost(),
                        columns: Arc::clone(plan.columns()),
                        clauses: Arc::clone(plan.clauses()),
                        cache_hits,
                        metrics: plan.metrics(),
                    };
                    Next::Run(launched, plan) // 7. run
                }
                Charged::Lacks(slot, demand) => Next::Stop(Aside {
                    queue: queue.expect("only what is governed is charged"),
                    slot,
                    demand,
                    plan: EarlierPlan::new(plan, cache_hits, &planning),
                }),
            })
        });
        self.server.inner.engine.launch(&runtime, work).await
    }

    /// `EXECUTE name` is classified, admitted and planned as the statement that it names.
    fn resolve_execute(&self, request: Request) -> Result<Request> {
        let Statement::Execute { name, params } = &request.parsed.statement else {
            return Ok(request);
        };
        self.check_transaction_state(&request.parsed.statement.classify())?;
        self.executed(name, params)
    }

    /// Refuses what the state of the transaction does not allow.
    fn check_transaction_state(&self, class: &Class) -> Result<()> {
        if matches!(self.transaction, Transaction::Failed(_)) && !class.ends_failed_transaction {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let in_block = self.in_block();
        if class.needs_transaction_block && !in_block {
            return Err(Error::new(
                "25P01",
                format!(
                    "{} can only be used in transaction blocks",
                    class.statement_type
                ),
            ));
        }
        if class.forbidden_in_transaction_block && in_block {
            return Err(Error::new(
                "25001",
                format!(
                    "{} cannot run inside a transaction block",
                    class.statement_type
                ),
            ));
        }
        Ok(())
    }

    /// Makes the statement visible: in the registry, in `pg_stat_activity`, to cancels.
    pub(crate) fn register(
        &mut self,
        id: Option<QueryId>,
        text: &Arc<str>,
        statement_type: &'static str,
    ) -> Running {
        let shown = self.redacted(text);
        let query = self.server.inner.registry.register(NewQuery {
            id,
            session_id: self.handle.pid,
            protocol: self.identity.protocol,
            protocol_version: self.identity.protocol_version,
            impala_version: forebay_sql::IMPALA_VERSION,
            coordinator: Arc::clone(&self.server.inner.config.coordinator),
            client_address: Arc::clone(&self.identity.client_address),
            application_name: self.setting("application_name").into(),
            role: Arc::clone(&self.identity.login_role),
            effective_role: self.current_user().into(),
            database: Arc::clone(&self.identity.shown_database),
            statement: Arc::clone(&shown),
            statement_type,
            options: self.shown_options(),
            http_origin: self.identity.http_origin.clone(),
        });
        // Whoever has named it calls for it: this was the first call.
        if id.is_some() {
            query.count_call();
        }
        self.show_activity(Activity::Active, Some((&shown, query.id())));
        let mut running = Running::new(
            query,
            Arc::clone(&self.handle),
            Arc::clone(&self.server.inner.sessions.tally),
            Arc::clone(&self.server.inner.redactor),
            Limits::of(&self.settings),
        );
        if self.hides_plans {
            running.hide_plan();
        }
        running
    }

    /// Every statement runs in a transaction; outside a block, in one of its own.
    fn open_transaction(&mut self) {
        if matches!(self.transaction, Transaction::None) {
            let open = crate::transaction::Open::new(&self.settings);
            self.transaction = Transaction::Implicit(open);
            if self.setting("default_transaction_read_only") == "on" {
                self.settings.set_read_only(true);
            }
            let isolation = self.setting("default_transaction_isolation").to_owned();
            if isolation != self.setting(TRANSACTION_ISOLATION) {
                self.settings.set_isolation(&isolation);
            }
        }
    }

    fn planning(
        &mut self,
        request: &Request,
        shape: Shape,
        class: &Class,
        queue: Option<&GoverningQueue>,
    ) -> Result<Planning> {
        self.begin_query();
        self.check_copied(&request.parsed.statement)?;
        // A plan that is only shown is the one that would run.
        let only_shown = shape.is_only_shown() && !class.system_only;
        let shown = only_shown.then(|| self.queue_of_role());
        let queue = queue.or(shown.as_ref().and_then(Option::as_ref));
        Ok(Planning {
            vantage: self.vantage()?,
            engine: self.server.inner.engine.clone(),
            parsed: Arc::clone(&request.parsed),
            prepared: request.prepared.clone(),
            values: request.values.clone(),
            shape,
            memory: self.memory_rule(class, queue.map(GoverningQueue::attributes)),
        })
    }

    /// Keeps a statement's locks to the end of the transaction.
    fn keep(&mut self, locks: Option<Locks>) {
        if let Some(locks) = locks {
            self.open_mut().keep(locks);
        }
    }

    /// What the session may do, for the check of a plan.
    fn allowed(&self, statement: &Statement, class: &Class) -> Allowed {
        Allowed {
            write_files: match self.writes_own_tables(statement, class) {
                true => Ok(()),
                false => self.require_superuser("to write files"),
            },
            read_write: self.require_read_write(),
        }
    }

    /// What a started plan answers.
    fn answer(
        &mut self,
        stream: ResultStream,
        running: Running,
        finish: Finish,
    ) -> Result<Response> {
        let verb = finish.verb();
        let mut rows = Rows::of_plan(stream, running, verb);
        match finish {
            Finish::Rows(_) => Ok(Response::Rows(rows)),
            Finish::CopyOut(options) => Ok(Response::CopyOut(CopyOut::new(rows, &options)?)),
            Finish::Cursor { name, hold } => {
                let limit = self.settings.count(limits::PORTALS);
                if let Err(error) = self.portals.check_free(&name, limit) {
                    rows.fail(&error);
                    return Err(error);
                }
                rows.suspend();
                let declaration = Declaration {
                    name,
                    statement: self.handle.status.lock().query.clone(),
                    hold,
                    depth: self.open().depth(),
                };
                self.portals.declare(declaration, rows);
                Ok(Response::Done("DECLARE CURSOR".to_owned()))
            }
        }
    }

    /// Resolves names and types of a statement without running it (`Parse`, `PREPARE`).
    pub(crate) async fn analyze(
        &mut self,
        parsed: &Arc<Parsed>,
        declared: &[Option<DataType>],
    ) -> Result<Option<LogicalStatement>> {
        // The table that it fills is not there yet.
        if matches!(parsed.statement, Statement::CreateTable(_)) {
            return Ok(None);
        }
        let Some(shape) = shape(&parsed.statement)? else {
            return Ok(None);
        };
        let vantage = self.vantage()?;
        let engine = self.server.inner.engine.clone();
        let declared = declared.to_vec();
        let whole = Arc::clone(parsed);
        let work = async move {
            let statement = shape.statement(&whole.statement);
            engine.analyze(&vantage, statement, &declared).await
        };
        let account = self.role_account();
        let analyzed = self.server.inner.engine.on_query_runtime(account, work);
        let analyzed = analyzed.await;
        Ok(Some(analyzed.map_err(|e| Error::located(e, parsed))?))
    }
}

/// What is known of a statement when its plan starts.
pub(crate) struct Launched {
    holds: Holds,
    returns_count: bool,
    pub(crate) planning_time: Duration,
    /// When its plan was there.
    pub(crate) planned: Instant,
    /// When it was charged and began to run.
    pub(crate) began: Instant,
    pub(crate) cost: f64,
    /// The columns that its scans read.
    pub(crate) columns: Arc<[String]>,
    /// The columns that the clauses of its statement read.
    pub(crate) clauses: Arc<ClauseColumns>,
    /// How much of the work of planning was done before.
    pub(crate) cache_hits: u32,
    pub(crate) metrics: PlanMetrics,
}

impl Launched {
    /// Bytes that its queue has granted it.
    pub(crate) fn memory_granted(&self) -> Option<u64> {
        let charge = self.holds.charge.as_ref()?;
        Some(charge.demand().memory_bytes).filter(|bytes| *bytes > 0)
    }
}

/// What a session may do with a plan, decided before the plan is there.
struct Allowed {
    write_files: Result<()>,
    read_write: Result<()>,
}

impl Allowed {
    /// Until tables have privileges, only superusers write files, in whatever statement; but
    /// everybody writes to tables of their own.
    fn check(self, plan: &Plan) -> Result<()> {
        if plan.writes() {
            self.write_files?;
            self.read_write?;
        }
        Ok(())
    }
}

/// Runs a plan that writes to its end; its only row says how many rows it wrote.
async fn written_rows(mut stream: ResultStream) -> Result<u64> {
    let mut rows = 0;
    while let Some(batch) = stream.next().await? {
        let counts = batch.column(0).as_primitive_opt::<UInt64Type>();
        rows += counts.map_or(0, |c| c.iter().flatten().sum::<u64>());
    }
    Ok(rows)
}

/// What the steps before running lead to.
pub(crate) enum Answer {
    /// A plan that has started.
    Stream(ResultStream, Finish),
    /// Rows that are there already, or come from elsewhere.
    Ready(Box<dyn FnOnce(Running) -> Result<Response> + Send>),
    /// Nothing but a tag.
    Done(String),
}

fn count_tag(class: &Class, rows: u64) -> String {
    match class.statement_type {
        "INSERT" => format!("INSERT 0 {rows}"),
        "CREATE TABLE AS" => format!("SELECT {rows}"),
        verb => format!("{verb} {rows}"),
    }
}

impl Session {
    pub(crate) fn vantage(&mut self) -> Result<Vantage> {
        let snapshot = self.snapshot();
        let start = self
            .transaction
            .open()
            .map_or_else(chrono::Utc::now, |open| open.started);
        self.vantages.get(
            &self.server,
            &self.handle,
            &self.settings,
            &self.notices,
            snapshot,
            start,
        )
    }
}
