//! The way of a statement.
//!
//! [`Session::run`] is the whole of it, in the order of design.md section 2. What it calls is
//! below it in the same order.

use std::sync::Arc;
use std::time::Duration;

use datafusion::scalar::ScalarValue;
use forebay_admission::{Charge, Demand, LockMode, RelationId, Slot};
use forebay_engine::{ExplainOptions, LogicalStatement, Plan, Vantage};
use forebay_lifecycle::{NewQuery, Outcome, RegisteredQuery};
use forebay_sql::{Class, CopyDirection, CopyTarget, DfStatement, Parsed, Statement};
use tokio::time::Instant;

use crate::copy::CopyOut;
use crate::cursor::Declaration;
use crate::interrupt::{Interrupt, Interruptor};
use crate::prepared::Prepared;
use crate::sessions::{Activity, SessionHandle};
use crate::transaction::Transaction;
use crate::{Error, Response, Result, Rows, Session};

/// A statement to be run: its text, what is known of it from an earlier `PREPARE`, and values.
#[derive(Debug, Clone)]
pub(crate) struct Request {
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
        let text = Arc::clone(&request.parsed.text);
        let mut request = self.resolve_execute(request)?;
        let class = request.parsed.statement.classify(); // 1. parsed by the front end; classified
        self.check_transaction_state(&class)?;
        let mut running = self.register(&text, &class); // 2. visible from here on
        let outcome = self.admitted(&mut request, &class, &mut running).await;
        match outcome {
            Ok(Answer::Stream(plan, finish)) => self.start(plan, running, finish), // 7
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
        guard.over(self.evaluate_arguments(request)).await?;
        let request = &*request;
        let statement = &request.parsed.statement;
        let slot = guard.over(self.slot(class)).await?; // 3. before any lock or name
        guard.over(self.lock(class)).await?; // 4. all at once
        let Some(shape) = shape(statement)? else {
            return match statement {
                // A commit is not interrupted half way.
                Statement::Commit { .. } => self.command(request).await,
                _ => guard.over(self.command(request)).await,
            };
        };
        let plan = guard.over(self.plan(request, &shape)).await?; // 5. plan and estimate
        self.check_may_run(&plan)?;
        let charge = self.charge(slot.as_ref(), &plan).await?; // 6. charge
        running.hold(slot, charge);
        running.started();
        if plan.returns_count() {
            let rows = guard.over(self.run_to_count(plan)).await?; // 7. to its end
            return Ok(Answer::Done(count_tag(class, rows)));
        }
        Ok(Answer::Stream(plan, shape.finish))
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
        let in_block = matches!(
            self.transaction,
            Transaction::Block(_) | Transaction::Failed(_)
        );
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
    fn register(&mut self, text: &Arc<str>, class: &Class) -> Running {
        let query = self.server.inner.registry.register(NewQuery {
            session_id: self.handle.pid,
            protocol: self.identity.protocol,
            client_address: Arc::clone(&self.identity.client_address),
            application_name: self.setting("application_name").into(),
            role: Arc::clone(&self.identity.login_role),
            effective_role: self.current_user().into(),
            database: Arc::clone(&self.identity.database),
            statement: Arc::clone(text),
            statement_type: class.statement_type,
        });
        self.show_activity(Activity::Active, Some((text, query.id())));
        Running::new(
            query,
            Arc::clone(&self.handle),
            self.settings.timeout("statement_timeout"),
        )
    }

    /// Every statement runs in a transaction; outside a block, in one of its own.
    fn open_transaction(&mut self) {
        if matches!(self.transaction, Transaction::None) {
            let open = crate::transaction::Open::new(&self.server.inner.admission, &self.settings);
            self.transaction = Transaction::Implicit(open);
            if self.setting("default_transaction_read_only") == "on" {
                self.settings.set_read_only(true);
            }
        }
    }

    /// The slot of a governed statement; superusers and ungoverned statements need none.
    async fn slot(&self, class: &Class) -> Result<Option<Slot>> {
        if !class.governed || self.is_superuser() {
            return Ok(None);
        }
        let owner = self.open().owner();
        Ok(Some(self.server.inner.admission.slot(owner, None).await?))
    }

    /// The locks on the relations that the statement names and that exist; the others are the
    /// planner's to report.
    async fn lock(&mut self, class: &Class) -> Result<()> {
        let snapshot = self.snapshot();
        let path = self.settings.search_path(self.current_user());
        let wanted: Vec<(RelationId, LockMode)> = class
            .relations
            .iter()
            .filter_map(|used| {
                let relation = crate::commands::find_relation(&snapshot, &path, &used.name)?;
                Some((RelationId(relation.oid), admission_mode(used.mode)))
            })
            .collect();
        if !wanted.is_empty() {
            let owner = self.open().owner();
            let locks = self.server.inner.admission.lock(owner, &wanted).await?;
            self.open_mut().keep(locks);
        }
        Ok(())
    }

    /// Plans on the query runtime. What an earlier `PREPARE` resolved is used again if the
    /// catalog is still the same.
    async fn plan(&mut self, request: &Request, shape: &Shape) -> Result<Plan> {
        let vantage = self.vantage()?;
        let engine = self.server.inner.engine.clone();
        let explain = shape.explain;
        let values = request.values.clone();
        if let Some(prepared) = &request.prepared
            && let Some(logical) = prepared.usable(&vantage)
        {
            let work = async move { engine.plan(&vantage, &logical, values).await };
            return Ok(self.server.inner.engine.on_query_runtime(work).await?);
        }
        let prepared = request.prepared.clone();
        let statement = shape.statement.clone();
        let text = shape.whole_text.then(|| Arc::clone(&request.parsed.text));
        let work = async move {
            let declared = prepared.as_ref().map_or(&[][..], |p| p.declared());
            let logical = engine
                .analyze(&vantage, &statement, text.as_deref(), declared)
                .await?;
            let plan = engine.plan(&vantage, &logical, values).await?;
            if let Some(prepared) = prepared {
                prepared.renew(logical);
            }
            Ok(match explain {
                Some(options) => engine.explain(plan, options),
                None => plan,
            })
        };
        let planned = self.server.inner.engine.on_query_runtime(work).await;
        let plan = planned.map_err(|e| located(e, &request.parsed))?;
        if let Some(prepared) = &request.prepared {
            prepared.check_schema(plan.schema())?;
        }
        Ok(plan)
    }

    /// The charge on the slot's queue. Cost and memory are not estimated yet; without limits
    /// to compare them with, nothing depends on them.
    async fn charge(&self, slot: Option<&Slot>, _plan: &Plan) -> Result<Option<Charge>> {
        let Some(slot) = slot else { return Ok(None) };
        let demand = Demand {
            cost: 0.0,
            memory_bytes: 0,
        };
        Ok(Some(
            self.server.inner.admission.charge(slot, demand).await?,
        ))
    }

    /// Until tables have privileges, only superusers write files, in whatever statement.
    fn check_may_run(&self, plan: &Plan) -> Result<()> {
        if plan.writes() {
            self.require_superuser("to write files")?;
            self.require_read_write()?;
        }
        Ok(())
    }

    fn start(&mut self, plan: Plan, running: Running, finish: Finish) -> Result<Response> {
        let stream = self.server.inner.engine.run(plan);
        let verb = finish.verb();
        let mut rows = Rows::of_plan(stream, running, verb);
        match finish {
            Finish::Rows(_) => Ok(Response::Rows(rows)),
            Finish::CopyOut(options) => Ok(Response::CopyOut(CopyOut::new(rows, &options)?)),
            Finish::Cursor { name, hold } => {
                if let Err(error) = self.cursors.check_free(&name) {
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
                self.cursors.declare(declaration, rows);
                Ok(Response::Done("DECLARE CURSOR".to_owned()))
            }
        }
    }

    /// Runs a plan that writes; its only row says how many rows it wrote.
    async fn run_to_count(&self, plan: Plan) -> Result<u64> {
        use datafusion::arrow::array::AsArray;
        use datafusion::arrow::datatypes::UInt64Type;
        let mut stream = self.server.inner.engine.run(plan);
        let mut rows = 0;
        while let Some(batch) = stream.next().await? {
            let counts = batch.column(0).as_primitive_opt::<UInt64Type>();
            rows += counts.map_or(0, |c| c.iter().flatten().sum::<u64>());
        }
        Ok(rows)
    }

    /// Resolves names and types of a statement without running it (`Parse`, `PREPARE`).
    pub(crate) async fn analyze(
        &mut self,
        parsed: &Parsed,
        declared: &[Option<datafusion::arrow::datatypes::DataType>],
    ) -> Result<Option<LogicalStatement>> {
        let Some(shape) = shape(&parsed.statement)? else {
            return Ok(None);
        };
        let vantage = self.vantage()?;
        let engine = self.server.inner.engine.clone();
        let text = shape.whole_text.then(|| Arc::clone(&parsed.text));
        let declared = declared.to_vec();
        let statement = shape.statement;
        let work = async move {
            engine
                .analyze(&vantage, &statement, text.as_deref(), &declared)
                .await
        };
        let analyzed = self.server.inner.engine.on_query_runtime(work).await;
        Ok(Some(analyzed.map_err(|e| located(e, parsed))?))
    }
}

fn located(error: forebay_engine::EngineError, parsed: &Parsed) -> Error {
    Error::located(error, parsed)
}

/// What the steps before running lead to.
pub(crate) enum Answer {
    /// A plan to be started.
    Stream(Plan, Finish),
    /// Rows that are there already, or come from elsewhere.
    Ready(Box<dyn FnOnce(Running) -> Result<Response> + Send>),
    /// Nothing but a tag.
    Done(String),
}

/// What becomes of a plan's rows.
pub(crate) enum Finish {
    Rows(&'static str),
    CopyOut(Box<forebay_sql::CopyOptions>),
    Cursor { name: String, hold: bool },
}

impl Finish {
    fn verb(&self) -> &'static str {
        match self {
            Self::Rows(verb) => verb,
            Self::CopyOut(_) | Self::Cursor { .. } => "SELECT",
        }
    }
}

/// How a statement with a plan is planned and answered.
pub(crate) struct Shape {
    pub(crate) statement: DfStatement,
    /// The statement's text is the plan's own, without anything around it.
    whole_text: bool,
    pub(crate) explain: Option<ExplainOptions>,
    finish: Finish,
}

/// The shape of a statement with a plan; `None` for a command.
pub(crate) fn shape(statement: &Statement) -> Result<Option<Shape>> {
    let rows = |statement: &DfStatement, verb| Shape {
        statement: statement.clone(),
        whole_text: true,
        explain: None,
        finish: Finish::Rows(verb),
    };
    Ok(Some(match statement {
        Statement::Plan(plan) => rows(plan, "SELECT"),
        Statement::Explain(explain) => Shape {
            whole_text: false,
            explain: Some(crate::commands::explain_options(explain)?),
            ..rows(&explain.statement, "EXPLAIN")
        },
        Statement::Copy(copy) => match &copy.direction {
            CopyDirection::From(_) => {
                return Err(Error::new("0A000", "COPY FROM is not supported").with_hint(
                    "Put the file where a table can be made of it: CREATE EXTERNAL TABLE.",
                ));
            }
            CopyDirection::To(CopyTarget::Stdout) => Shape {
                whole_text: false,
                finish: Finish::CopyOut(Box::new(copy.options.clone())),
                ..rows(&crate::commands::copy_source(&copy.source)?, "SELECT")
            },
            CopyDirection::To(CopyTarget::File(path)) => Shape {
                whole_text: false,
                ..rows(&crate::commands::copy_to_file(copy, path)?, "COPY")
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
            let Statement::Plan(plan) = &query.statement else {
                return Err(Error::new("42601", "DECLARE CURSOR needs a query"));
            };
            Shape {
                whole_text: false,
                finish: Finish::Cursor {
                    name: name.clone(),
                    hold: *hold,
                },
                ..rows(plan, "SELECT")
            }
        }
        _ => return Ok(None),
    }))
}

fn count_tag(class: &Class, rows: u64) -> String {
    match class.statement_type {
        "INSERT" => format!("INSERT 0 {rows}"),
        verb => format!("{verb} {rows}"),
    }
}

fn admission_mode(mode: forebay_sql::LockMode) -> LockMode {
    use forebay_sql::LockMode as Sql;
    match mode {
        Sql::AccessShare => LockMode::AccessShare,
        Sql::RowShare => LockMode::RowShare,
        Sql::RowExclusive => LockMode::RowExclusive,
        Sql::ShareUpdateExclusive => LockMode::ShareUpdateExclusive,
        Sql::Share => LockMode::Share,
        Sql::ShareRowExclusive => LockMode::ShareRowExclusive,
        Sql::Exclusive => LockMode::Exclusive,
        Sql::AccessExclusive => LockMode::AccessExclusive,
    }
}

/// A statement between registering and unregistering, with everything that it holds.
///
/// Dropping it gives everything back and ends the query as cancelled; [`Running::finish`] ends
/// it with an outcome.
#[derive(Debug)]
pub(crate) struct Running {
    query: Option<RegisteredQuery>,
    handle: Arc<SessionHandle>,
    interruptor: Arc<Interruptor>,
    timeout: Option<Duration>,
    /// When the statement is cancelled for taking too long; `None` also while suspended.
    deadline: Option<Instant>,
    suspended: bool,
    returned_rows: bool,
    _slot: Option<Slot>,
    _charge: Option<Charge>,
}

impl Running {
    fn new(query: RegisteredQuery, handle: Arc<SessionHandle>, timeout: Option<Duration>) -> Self {
        let interruptor = Interruptor::new();
        handle.set_running(Some(Arc::clone(&interruptor)));
        Self {
            query: Some(query),
            handle,
            interruptor,
            timeout,
            deadline: timeout.map(|t| Instant::now() + t),
            suspended: false,
            returned_rows: false,
            _slot: None,
            _charge: None,
        }
    }

    /// Takes over what the statement keeps until its end.
    fn hold(&mut self, slot: Option<Slot>, charge: Option<Charge>) {
        self._slot = slot;
        self._charge = charge;
    }

    fn started(&self) {
        if let Some(query) = &self.query {
            query.set_running();
        }
    }

    pub(crate) fn returned_rows(&mut self) {
        if !self.returned_rows {
            self.returned_rows = true;
            if let Some(query) = &self.query {
                query.event("first row");
            }
        }
    }

    /// What can stop the statement, apart from the statement itself.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            handle: Arc::clone(&self.handle),
            interruptor: Arc::clone(&self.interruptor),
            deadline: self.deadline,
        }
    }

    pub(crate) async fn interrupted(&self) -> Error {
        self.watch().interrupted().await.into()
    }

    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
        self.deadline = None;
        self.handle.clear_running(&self.interruptor);
    }

    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.suspended) {
            self.deadline = self.timeout.map(|t| Instant::now() + t);
            self.handle.set_running(Some(Arc::clone(&self.interruptor)));
        }
    }

    /// Unregisters the query with how it went.
    pub(crate) fn finish(mut self, outcome: Result<(), &Error>) {
        let Some(query) = self.query.take() else {
            return;
        };
        let outcome = match outcome {
            Ok(()) => Outcome::Finished,
            Err(error) if error.sqlstate == "57014" => Outcome::Cancelled {
                reason: error.message.clone(),
            },
            Err(error) => Outcome::Exception {
                sqlstate: error.sqlstate.to_owned(),
                message: error.message.clone(),
            },
        };
        // Somebody else may have closed the query a moment ago; then it is closed.
        let _ = query.unregister(outcome);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.clear_running(&self.interruptor);
    }
}

/// Watches for everything that interrupts a statement.
pub(crate) struct Watch {
    handle: Arc<SessionHandle>,
    interruptor: Arc<Interruptor>,
    deadline: Option<Instant>,
}

impl Watch {
    /// Runs `work` until it is done or the statement is interrupted.
    pub(crate) async fn over<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            interrupt = self.interrupted() => Err(interrupt.into()),
            result = work => result,
        }
    }

    async fn interrupted(&self) -> Interrupt {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            interrupt = self.handle.termination.interrupted() => interrupt,
            interrupt = self.interruptor.interrupted() => interrupt,
            () = timeout => Interrupt::StatementTimeout,
        }
    }
}

/// A preparation that can be cancelled and times out like a statement.
pub(crate) struct Preparation(Watch);

impl Preparation {
    /// Runs `work` until it is done or interrupted.
    pub(crate) async fn over<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.0.over(work).await
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.0.handle.clear_running(&self.0.interruptor);
    }
}

impl Session {
    /// Watches over the resolving of a statement that is being prepared. Inside a statement
    /// (SQL's `PREPARE`) that statement's own watch stays the one that a cancel finds.
    pub(crate) fn watch_preparation(&self, parsed: &Parsed) -> Preparation {
        let interruptor = Interruptor::new();
        if self.handle.set_running_if_idle(&interruptor) {
            self.show_preparation(&parsed.text);
        }
        let timeout = self.settings.timeout("statement_timeout");
        Preparation(Watch {
            handle: Arc::clone(&self.handle),
            interruptor,
            deadline: timeout.map(|t| Instant::now() + t),
        })
    }

    pub(crate) fn vantage(&mut self) -> Result<Vantage> {
        let snapshot = self.snapshot();
        let start = self
            .transaction
            .open()
            .map_or_else(chrono::Utc::now, |open| open.started);
        self.vantages
            .get(&self.server, &self.handle, &self.settings, snapshot, start)
    }
}
