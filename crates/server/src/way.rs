//! The way of a statement.
//!
//! [`Session::run`] is the whole of it, in the order of design.md section 2. What it calls is
//! below it in the same order.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::scalar::ScalarValue;
use forebay_admission::{Admission, Charge, Demand, LockMode, RelationId, Slot};
use forebay_engine::{Engine, ExplainOptions, LogicalStatement, Plan, ResultStream, Vantage};
use forebay_lifecycle::{NewQuery, Outcome, RegisteredQuery};
use forebay_sql::{Class, CopyDirection, CopyTarget, DfStatement, Parsed, Statement};
use tokio::time::Instant;

use crate::copy::CopyOut;
use crate::interrupt::{Interrupt, Interruptor};
use crate::portals::Declaration;
use crate::prepared::Prepared;
use crate::sessions::{Activity, SessionHandle};
use crate::transaction::Transaction;
use crate::{Error, Response, Result, Rows, Session, limits};

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
        let finish = shape.finish.clone();
        let launched = guard.over(self.launch(request, shape, slot)).await?; // 5, 6, 7
        running.hold(launched.holds);
        running.started();
        if launched.returns_count {
            let rows = guard.over(written_rows(launched.rows)).await?;
            return Ok(Answer::Done(count_tag(class, rows)));
        }
        Ok(Answer::Stream(launched.rows, finish))
    }

    /// Steps 5 to 7, in one visit to the query runtime.
    async fn launch(
        &mut self,
        request: &Request,
        shape: Shape,
        slot: Option<Slot>,
    ) -> Result<Launched> {
        let planning = self.planning(request, shape)?;
        let allowed = self.allowed();
        let admission = self.server.inner.admission.clone();
        let work = async move {
            let plan = planning.plan().await?; // 5. plan and estimate
            allowed.check(&plan)?;
            let charge = charge(&admission, slot.as_ref(), &plan).await?; // 6. charge
            let holds = Holds {
                _slot: slot,
                _charge: charge,
            };
            Ok::<_, Error>(((holds, plan.returns_count()), plan)) // 7. run
        };
        let ((holds, returns_count), rows) = self.server.inner.engine.launch(work).await?;
        Ok(Launched {
            holds,
            returns_count,
            rows,
        })
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

    fn planning(&mut self, request: &Request, shape: Shape) -> Result<Planning> {
        Ok(Planning {
            vantage: self.vantage()?,
            engine: self.server.inner.engine.clone(),
            parsed: Arc::clone(&request.parsed),
            prepared: request.prepared.clone(),
            values: request.values.clone(),
            shape,
        })
    }

    /// What the session may do, for the check of a plan.
    fn allowed(&self) -> Allowed {
        Allowed {
            write_files: self.require_superuser("to write files"),
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
        let analyzed = self.server.inner.engine.on_query_runtime(work).await;
        Ok(Some(analyzed.map_err(|e| Error::located(e, parsed))?))
    }
}

/// What step 5 needs, on its way to the query runtime.
struct Planning {
    engine: Engine,
    vantage: Vantage,
    parsed: Arc<Parsed>,
    prepared: Option<Arc<Prepared>>,
    values: Vec<ScalarValue>,
    shape: Shape,
}

impl Planning {
    /// Plans. What an earlier `PREPARE` resolved is used again if the catalog is still the same.
    async fn plan(self) -> Result<Plan> {
        let Some(prepared) = &self.prepared else {
            let logical = self.analyze(&[]).await?;
            return self.physical(&logical).await;
        };
        if let Some(logical) = prepared.usable(&self.vantage) {
            return self.physical(&logical).await;
        }
        let logical = self.analyze(prepared.declared()).await?;
        let plan = self.physical(&logical).await?;
        prepared.renew(logical);
        prepared.check_schema(plan.schema())?;
        Ok(plan)
    }

    async fn analyze(&self, declared: &[Option<DataType>]) -> Result<LogicalStatement> {
        let statement = self.shape.statement(&self.parsed.statement);
        let analyzed = self
            .engine
            .analyze(&self.vantage, statement, declared)
            .await;
        analyzed.map_err(|e| Error::located(e, &self.parsed))
    }

    async fn physical(&self, logical: &LogicalStatement) -> Result<Plan> {
        let values = self.values.clone();
        let planned = self.engine.plan(&self.vantage, logical, values).await;
        let plan = planned.map_err(|e| Error::located(e, &self.parsed))?;
        Ok(match self.shape.explain {
            Some(options) => self.engine.explain(plan, options),
            None => plan,
        })
    }
}

/// What a session may do with a plan, decided before the plan is there.
struct Allowed {
    write_files: Result<()>,
    read_write: Result<()>,
}

impl Allowed {
    /// Until tables have privileges, only superusers write files, in whatever statement.
    fn check(self, plan: &Plan) -> Result<()> {
        if plan.writes() {
            self.write_files?;
            self.read_write?;
        }
        Ok(())
    }
}

/// The charge on the slot's queue. Cost and memory are not estimated yet; without limits to
/// compare them with, nothing depends on them.
async fn charge(
    admission: &Admission,
    slot: Option<&Slot>,
    _plan: &Plan,
) -> Result<Option<Charge>> {
    let Some(slot) = slot else { return Ok(None) };
    let demand = Demand {
        cost: 0.0,
        memory_bytes: 0,
    };
    Ok(Some(admission.charge(slot, demand).await?))
}

/// A plan that has started.
struct Launched {
    holds: Holds,
    returns_count: bool,
    rows: ResultStream,
}

/// What a statement keeps until its end.
#[derive(Debug, Default)]
struct Holds {
    _slot: Option<Slot>,
    _charge: Option<Charge>,
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

/// What becomes of a plan's rows.
#[derive(Clone)]
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
    /// What is planned, where it is not a part of the statement itself.
    made: Option<DfStatement>,
    explain: Option<ExplainOptions>,
    finish: Finish,
}

impl Shape {
    fn rows(verb: &'static str) -> Self {
        Self {
            made: None,
            explain: None,
            finish: Finish::Rows(verb),
        }
    }

    /// What is planned of `statement`, whose shape this is.
    fn statement<'a>(&'a self, statement: &'a Statement) -> &'a DfStatement {
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
    holds: Holds,
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
            holds: Holds::default(),
        }
    }

    /// Takes over what the statement keeps until its end.
    fn hold(&mut self, holds: Holds) {
        self.holds = holds;
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
