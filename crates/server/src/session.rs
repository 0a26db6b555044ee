//! What a session owns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use forebay_catalog::{Role, Snapshot};
use forebay_engine::{Notice, Notices, SessionFacts, Vantage};
use forebay_lifecycle::QueryId;
use forebay_sql::Parsed;
use tokio::time::Instant;

use crate::interrupt::Interrupt;
use crate::limits::KeptBytes;
use crate::login::LoginRequest;
use crate::portals::Portals;
use crate::prepared::Prepared;
use crate::repeated::Repeated;
use crate::sessions::{Activity, SessionHandle};
use crate::settings::{self, Settings};
use crate::transaction::{Open, Transaction};
use crate::way::Request;
use crate::{Error, Response, Result, Server};

/// Texts up to this size are parsed on the network runtime, in well under a millisecond.
const MAX_QUICK_TEXT_BYTES: usize = 16 * 1024;

/// The transaction as the client is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No block is open.
    Idle,
    /// A block is open.
    InBlock,
    /// A block is open and has failed.
    Failed,
}

/// Whose session it is, as its front end tells.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) protocol: &'static str,
    pub(crate) protocol_version: Option<&'static str>,
    pub(crate) login_role: Arc<str>,
    pub(crate) database: Arc<str>,
    pub(crate) client_address: Arc<str>,
    /// What the client takes for the database: for some it is the current schema.
    pub(crate) shown_database: Arc<str>,
    /// Who a proxy says that the client is.
    pub(crate) http_origin: Option<Arc<str>>,
    /// The options of a front end that has its own.
    pub(crate) client_options: Option<Arc<str>>,
}

/// One client's session. Dropping it ends everything that it has open.
pub struct Session {
    pub(crate) server: Server,
    pub(crate) handle: Arc<SessionHandle>,
    pub(crate) identity: Identity,
    pub(crate) settings: Settings,
    pub(crate) transaction: Transaction,
    pub(crate) portals: Portals,
    pub(crate) kept: KeptBytes,
    pub(crate) prepared: HashMap<String, Arc<Prepared>>,
    pub(crate) repeated: Repeated,
    pub(crate) vantages: Vantages,
    pub(crate) notices: Arc<Notices>,
    /// Whether the statements of one message are being run as one block.
    pub(crate) in_script: bool,
    /// Values of reported settings that the client knows.
    pub(crate) told: HashMap<&'static str, String>,
    /// Whether its statements are looks into the catalog, whose plans are nobody's business.
    pub(crate) hides_plans: bool,
}

impl Session {
    pub(crate) fn new(
        server: Server,
        handle: Arc<SessionHandle>,
        role: &Role,
        request: &LoginRequest,
    ) -> Result<Self> {
        let address = request
            .address
            .map_or_else(|| "local".to_owned(), |a| a.to_string());
        let mut session = Self {
            server,
            portals: Portals::new(Arc::clone(&handle)),
            kept: KeptBytes::default(),
            handle,
            identity: Identity {
                protocol: request.protocol,
                protocol_version: request.protocol_version,
                login_role: role.name.as_str().into(),
                database: request.database.as_str().into(),
                shown_database: request.database.as_str().into(),
                client_address: address.into(),
                http_origin: None,
                client_options: None,
            },
            settings: Settings::new(),
            transaction: Transaction::None,
            prepared: HashMap::new(),
            repeated: Repeated::default(),
            vantages: Vantages::default(),
            notices: Arc::default(),
            in_script: false,
            told: HashMap::new(),
            hides_plans: false,
        };
        session.adopt_settings(role, request)?;
        Ok(session)
    }

    /// Server's settings, then the role's, then those of the connection.
    fn adopt_settings(&mut self, role: &Role, request: &LoginRequest) -> Result<()> {
        let snapshot = self.server.inner.catalog.snapshot();
        let stored = snapshot.system_settings().iter().chain(&role.settings);
        for (name, value) in stored {
            // A stored value that has become invalid must not lock everybody out.
            if let Err(error) = self.settings.set(name, &stored_values(name, value), false) {
                tracing::warn!(name, value, %error, "stored setting ignored");
            }
        }
        for (name, value) in &request.settings {
            if settings::is_for_superusers(name) && !role.superuser {
                return Err(Error::permission(format!(
                    "permission denied to set parameter \"{name}\""
                )));
            }
            self.settings
                .set(name, &stored_values(name, value), false)?;
        }
        self.settings
            .state_fact(settings::SESSION_AUTHORIZATION, &role.name, false);
        self.settings.state_fact(settings::ROLE, "none", false);
        self.state_superuser();
        for (name, _) in &request.settings {
            self.check_settings(name)?;
        }
        self.settings.become_reset_values();
        self.handle.status.lock().application_name = self.setting("application_name").to_owned();
        Ok(())
    }

    /// The session's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.handle.pid
    }

    /// What a `CancelRequest` for this session must carry.
    #[must_use]
    pub fn secret(&self) -> i32 {
        self.handle.secret
    }

    /// Splits a text into its statements. A long text is parsed on the query runtime of the role
    /// in force, because parsing it takes a while.
    ///
    /// # Errors
    /// Syntax errors, with their position.
    pub async fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        if text.len() <= MAX_QUICK_TEXT_BYTES {
            return Ok(forebay_sql::parse(text)?);
        }
        let text = text.to_owned();
        let work = async move { Ok(forebay_sql::parse(&text)) };
        let engine = &self.server.inner.engine;
        let account = self.role_account();
        Ok(engine.on_query_runtime(account, work).await??)
    }

    /// Splits the text of a simple query into its statements. One that was sent before may be
    /// known still.
    ///
    /// # Errors
    /// As [`Session::parse`].
    pub async fn script(&mut self, text: &str) -> Result<Vec<Arc<Parsed>>> {
        if let Some(parsed) = self.repeated.find(text) {
            return Ok(vec![parsed]);
        }
        let statements = self.parse(text).await?.into_iter().map(Arc::new);
        let statements: Vec<_> = statements.collect();
        if let [only] = statements.as_slice() {
            self.repeated.note(text, only);
        }
        Ok(statements)
    }

    /// The current value of a setting.
    #[must_use]
    pub fn show(&self, name: &str) -> Option<&str> {
        self.settings.get(name)
    }

    /// Runs one statement up to its first row.
    ///
    /// # Errors
    /// Whatever goes wrong with it. The front end reports the error through [`Session::fail`].
    pub async fn execute(&mut self, parsed: &Arc<Parsed>) -> Result<Response> {
        self.begin_fetched(&parsed.statement).await?;
        self.run(Request {
            prepared: self.repeated.prepared(parsed).cloned(),
            ..Request::plain(Arc::clone(parsed))
        })
        .await
    }

    /// Runs a prepared statement with `values` for its parameters.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub(crate) async fn execute_prepared(
        &mut self,
        prepared: &Arc<Prepared>,
        parsed: &Arc<Parsed>,
        values: Vec<ScalarValue>,
    ) -> Result<Response> {
        self.begin_fetched(&parsed.statement).await?;
        self.run(Request {
            prepared: Some(Arc::clone(prepared)),
            values,
            ..Request::plain(Arc::clone(parsed))
        })
        .await
    }

    /// Takes note that something has failed: an open block fails with it.
    pub fn fail(&mut self) {
        self.handle.requested.lock().clear();
        self.transaction = match std::mem::take(&mut self.transaction) {
            Transaction::Block(mut open) => {
                open.give_back_after_failure();
                self.portals.fail(open.depth());
                Transaction::Failed(open)
            }
            other => other,
        };
    }

    /// Ends what statements outside a block have opened: all of it is committed, or, after an
    /// error, undone. Called at the end of each message (`Sync` in the extended protocol).
    ///
    /// # Errors
    /// When the commit fails; everything is undone then.
    pub async fn end_implicit_transaction(&mut self, succeeded: bool) -> Result<()> {
        self.in_script = false;
        match std::mem::take(&mut self.transaction) {
            Transaction::Implicit(open) if succeeded => return self.commit(open).await,
            Transaction::Implicit(open) => self.roll_back(*open),
            // Nothing was run, but portals may have been bound.
            Transaction::None if succeeded => self.portals.commit(),
            Transaction::None => self.portals.roll_back(),
            block => self.transaction = block,
        }
        Ok(())
    }

    /// The next statements up to [`Session::end_implicit_transaction`] come in one message, which
    /// makes them a transaction block even without `BEGIN`.
    pub fn begin_script(&mut self) {
        self.in_script = true;
    }

    /// Whether statements are in a transaction block, be it that of one message.
    pub(crate) fn in_block(&self) -> bool {
        let begun = matches!(
            self.transaction,
            Transaction::Block(_) | Transaction::Failed(_)
        );
        begun || self.in_script
    }

    /// Savepoints that are open.
    pub(crate) fn savepoint_depth(&self) -> usize {
        self.transaction.open().map_or(0, Open::depth)
    }

    pub(crate) async fn commit(&mut self, open: Box<Open>) -> Result<()> {
        let before = open.settings_before().clone();
        let result = open.commit(&self.server.inner.catalog).await;
        match result {
            Ok(()) => {
                self.portals.commit();
                self.settings.end_transaction();
            }
            Err(_) => {
                self.portals.roll_back();
                self.settings = before;
            }
        }
        self.state_superuser();
        result
    }

    pub(crate) fn roll_back(&mut self, open: Open) {
        self.portals.roll_back();
        open.roll_back(&mut self.settings);
        self.state_superuser();
    }

    /// The transaction as the client is told of it.
    #[must_use]
    pub fn transaction_status(&self) -> TransactionStatus {
        match self.transaction {
            Transaction::None | Transaction::Implicit(_) => TransactionStatus::Idle,
            Transaction::Block(_) => TransactionStatus::InBlock,
            Transaction::Failed(_) => TransactionStatus::Failed,
        }
    }

    /// What the client takes for its database, for lists and profiles, where it is not the one that the
    /// session was opened for.
    pub fn set_shown_database(&mut self, database: Arc<str>) {
        self.identity.shown_database = database;
    }

    /// What the client takes for its database.
    #[must_use]
    pub fn shown_database(&self) -> &str {
        &self.identity.shown_database
    }

    /// Whom a proxy names as the client, for profiles.
    pub fn set_http_origin(&mut self, origin: Option<Arc<str>>) {
        self.identity.http_origin = origin;
    }

    /// The options that the client has set, where they are not the session's settings: in profiles
    /// they stand in place of those. `name=value`, separated by commas.
    pub fn set_client_options(&mut self, options: Arc<str>) {
        self.identity.client_options = Some(options);
    }

    /// What profiles show as the options of a query.
    pub(crate) fn shown_options(&self) -> Arc<str> {
        let client = self.identity.client_options.clone();
        client.unwrap_or_else(|| self.settings.changed())
    }

    /// The session waits for its client from here on.
    pub fn idle(&mut self) {
        let activity = match self.transaction_status() {
            TransactionStatus::Idle => Activity::Idle,
            TransactionStatus::InBlock => Activity::IdleInTransaction,
            TransactionStatus::Failed => Activity::IdleInFailedTransaction,
        };
        self.show_activity(activity, None);
    }

    /// Waits until something ends the idle session: a signal, a time limit, or the server's
    /// shutdown. Meanwhile ends the results that nobody fetches (`idle_cursor_timeout`). Cancel
    /// safe, but the session's time limits count anew with each call.
    pub async fn idle_interrupted(&mut self) -> Error {
        let limit = match self.transaction_status() {
            TransactionStatus::Idle => {
                let limit = self.settings.timeout("idle_session_timeout");
                limit.map(|limit| (limit, Interrupt::IdleSessionTimeout(limit)))
            }
            _ => {
                let limit = self.settings.timeout("idle_in_transaction_session_timeout");
                limit.map(|limit| (limit, Interrupt::IdleInTransactionTimeout(limit)))
            }
        };
        let end = limit.map(|(limit, interrupt)| (Instant::now() + limit, interrupt));
        let patience = self.settings.timeout("idle_cursor_timeout");
        loop {
            let expiry = patience.and_then(|patience| self.portals.next_expiry(patience));
            tokio::select! {
                biased;
                interrupt = self.handle.termination.interrupted() => return interrupt.into(),
                interrupt = self.handle.drain.interrupted() => return interrupt.into(),
                interrupt = deadline(end) => return interrupt.into(),
                () = self.handle.cursor_cancelled.notified() => self.portals.end_cancelled(),
                () = until(expiry) => self.portals.expire(patience.unwrap_or_default()),
            }
        }
    }

    /// Where messages come up while a statement is under way.
    #[must_use]
    pub fn notices(&self) -> &Arc<Notices> {
        &self.notices
    }

    /// Messages that have come up since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.take()
    }

    /// Reported settings that have changed since the last call; all of them at the first.
    pub fn take_changed_settings(&mut self) -> Vec<(&'static str, String)> {
        self.take_requested_settings();
        let mut changed = Vec::new();
        for (name, value) in self.settings.reported() {
            if self.told.get(name).is_none_or(|told| told != value) {
                changed.push((name, value.to_owned()));
            }
        }
        for (name, value) in &changed {
            self.told.insert(name, value.clone());
        }
        changed
    }

    /// Does what the calls of `set_config` asked for in statements that have run.
    pub(crate) fn take_requested_settings(&mut self) {
        let requested = std::mem::take(&mut *self.handle.requested.lock());
        for setting in requested {
            // Checked by the function; and a value that was valid then is valid now.
            let _ = self
                .settings
                .set(&setting.name, &[setting.value], setting.local);
        }
    }

    /// Adds a message for the client, unless `client_min_messages` asks for less.
    pub(crate) fn notice(
        &mut self,
        severity: &'static str,
        sqlstate: &'static str,
        message: impl Into<String>,
    ) {
        let notice = Notice {
            severity,
            sqlstate,
            message: message.into(),
        };
        self.notices
            .add(notice, self.setting("client_min_messages"));
    }

    /// How often a running statement's client that has stopped sending is asked whether it is
    /// still there; `None`: never.
    #[must_use]
    pub fn client_check_interval(&self) -> Option<Duration> {
        self.settings.timeout("client_connection_check_interval")
    }

    /// A setting that always exists.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).unwrap_or_default()
    }

    /// The role whose rights are in force.
    pub(crate) fn current_user(&self) -> &str {
        match self.setting(settings::ROLE) {
            "none" => self.setting(settings::SESSION_AUTHORIZATION),
            role => role,
        }
    }

    pub(crate) fn is_superuser(&self) -> bool {
        self.setting(settings::IS_SUPERUSER) == "on"
    }

    /// Brings `is_superuser` in line with the role in force.
    pub(crate) fn state_superuser(&mut self) {
        let snapshot = self.snapshot();
        let superuser = snapshot
            .role(self.current_user())
            .is_some_and(|r| r.superuser);
        let value = if superuser { "on" } else { "off" };
        if self.setting(settings::IS_SUPERUSER) != value {
            self.settings
                .state_fact(settings::IS_SUPERUSER, value, false);
        }
    }

    /// Whether the current transaction must not change anything.
    pub(crate) fn is_read_only(&self) -> bool {
        self.setting(settings::TRANSACTION_READ_ONLY) == "on"
    }

    pub(crate) fn require_read_write(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::new(
                "25006",
                "cannot change anything in a read-only transaction",
            ));
        }
        Ok(())
    }

    pub(crate) fn require_superuser(&self, what: &str) -> Result<()> {
        if self.is_superuser() {
            return Ok(());
        }
        Err(Error::permission(format!("must be superuser {what}")))
    }

    /// The catalog that the next statement sees.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        let catalog = &self.server.inner.catalog;
        match self.transaction.open() {
            Some(open) => open.snapshot(catalog),
            None => catalog.snapshot(),
        }
    }

    /// Fixes the catalog for the transaction where its isolation level says so.
    pub(crate) fn begin_query(&mut self) {
        let level = self.setting(settings::TRANSACTION_ISOLATION);
        let keep = matches!(level, "repeatable read" | "serializable");
        let catalog = Arc::clone(&self.server.inner.catalog);
        self.open_mut().query(&catalog, keep);
    }

    /// The open transaction. Only called while a statement runs, which always has one.
    pub(crate) fn open(&self) -> &Open {
        self.transaction
            .open()
            .expect("a running statement has a transaction")
    }

    /// As [`Session::open`].
    pub(crate) fn open_mut(&mut self) -> &mut Open {
        self.transaction
            .open_mut()
            .expect("a running statement has a transaction")
    }

    /// Shows a statement that is being prepared.
    pub(crate) fn show_preparation(&self, text: &Arc<str>) {
        self.show_activity(Activity::Active, None);
        let shown = self.redacted(text);
        let mut status = self.handle.status.lock();
        status.query = shown;
        status.query_start = Some(Utc::now());
    }

    /// Waits until the session is to end at once. Cancel safe.
    pub fn terminated(&self) -> impl Future<Output = ()> + use<> {
        let termination = Arc::clone(&self.handle.termination);
        async move {
            termination.interrupted().await;
        }
    }

    /// Waits until the unregistration pool has room for all that the session has ended. Call it
    /// before the session is dropped: dropping it archives the rest on the spot.
    pub async fn settle(&self) {
        self.handle.archiving_keeps_up().await;
    }

    /// A statement's text without what must not be kept or shown of it.
    pub(crate) fn redacted(&self, text: &Arc<str>) -> Arc<str> {
        match self.server.inner.redactor.redact(text) {
            Cow::Borrowed(whole) if whole.len() == text.len() => Arc::clone(text),
            redacted => redacted.into(),
        }
    }

    /// Brings `pg_stat_activity` up to date.
    pub(crate) fn show_activity(
        &self,
        activity: Activity,
        statement: Option<(&Arc<str>, QueryId)>,
    ) {
        let now = Utc::now();
        let mut status = self.handle.status.lock();
        if status.activity != activity {
            status.activity = activity;
            status.state_change = now;
        }
        if statement.is_some() || activity != Activity::Active {
            status.priority = None;
        }
        if let Some((text, id)) = statement {
            status.query = Arc::clone(text);
            status.query_id = Some(id.to_string());
            status.query_start = Some(now);
            status.statements += 1;
            let role = self.current_user();
            if status.role != role {
                role.clone_into(&mut status.role);
            }
        }
        status.transaction_start = match &self.transaction {
            Transaction::None => statement.map(|_| now),
            other => other.open().map(|open| open.started),
        };
        let name = self.setting("application_name");
        if status.application_name != name {
            name.clone_into(&mut status.application_name);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.handle.archive_rest();
        self.server.inner.sessions.close(self.handle.pid);
    }
}

/// Sleeps until then, and gives what happens then; sleeps for ever if there is no such time.
pub(crate) async fn deadline(end: Option<(Instant, Interrupt)>) -> Interrupt {
    match end {
        Some((time, interrupt)) => {
            tokio::time::sleep_until(time).await;
            interrupt
        }
        None => std::future::pending().await,
    }
}

/// Sleeps until then; for ever if there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A value that was stored as one text, as `SET` would have been given it.
pub(crate) fn stored_values(name: &str, value: &str) -> Vec<String> {
    if name.eq_ignore_ascii_case("search_path") {
        settings::split_identifiers(value)
    } else {
        vec![value.to_owned()]
    }
}

/// The last vantage that was made: statement after statement has the same settings and catalog.
#[derive(Debug, Default)]
pub(crate) struct Vantages(Option<Vantage>);

impl Vantages {
    pub(crate) fn get(
        &mut self,
        server: &Server,
        handle: &SessionHandle,
        settings: &Settings,
        notices: &Arc<Notices>,
        snapshot: Arc<Snapshot>,
        start: DateTime<Utc>,
    ) -> Result<Vantage> {
        if let Some(last) = &self.0
            && Arc::ptr_eq(&last.facts().settings, settings.all())
            && Arc::ptr_eq(&last.facts().snapshot, &snapshot)
        {
            return Ok(last.at(start));
        }
        let session_user = settings
            .get(settings::SESSION_AUTHORIZATION)
            .unwrap_or_default();
        let current_user = match settings.get(settings::ROLE) {
            None | Some("none") => session_user,
            Some(role) => role,
        };
        let facts = SessionFacts {
            pid: handle.pid,
            database: handle.database.clone(),
            current_user: current_user.to_owned(),
            session_user: session_user.to_owned(),
            superuser: settings.get(settings::IS_SUPERUSER) == Some("on"),
            search_path: settings.search_path(current_user),
            settings: Arc::clone(settings.all()),
            snapshot,
            notices: Arc::clone(notices),
        };
        let vantage = Vantage::new(
            &server.inner.session_config,
            facts,
            &settings.datafusion_options(),
            settings.get("timezone").unwrap_or("UTC"),
            start,
        )?;
        self.0 = Some(vantage.clone());
        Ok(vantage)
    }
}
