//! Sessions of clients. They outlive connections: whoever has the handle may use one.

pub(crate) mod handle;
pub(crate) mod options;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use forebay_server::Session;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use handle::{Secret, SessionId};
use options::QueryOptions;

/// The schema that Impala's users call `default`.
pub(crate) const PUBLIC: &str = "public";

/// What Impala's users call a schema.
pub(crate) fn database_of(schema: &str) -> &str {
    match schema {
        PUBLIC => "default",
        other => other,
    }
}

/// A client's session.
pub(crate) struct ClientSession {
    pub(crate) id: SessionId,
    pub(crate) secret: Secret,
    /// The role that it belongs to.
    pub(crate) user: String,
    /// Connections that have used it and are still open.
    pub(crate) connections: AtomicUsize,
    /// Cancelled when the session is over: its operations end.
    pub(crate) over: CancellationToken,
    state: Mutex<State>,
}

struct State {
    /// Keeps the session's place among all, its role and its settings; runs no statement itself.
    /// `None` once it has expired.
    base: Option<Session>,
    options: QueryOptions,
    /// Where its client is behind proxies, as of the last call over HTTP; empty without proxies.
    http_origin: Option<Arc<str>>,
    last_used: DateTime<Utc>,
    /// Calls under way.
    busy: usize,
    /// Why it is of no use any more, if it has expired.
    expired: Option<String>,
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSession({})", self.id)
    }
}

impl ClientSession {
    pub(crate) fn new(mut base: Session, options: QueryOptions) -> Arc<Self> {
        base.set_shown_database(database_of(PUBLIC).into());
        Arc::new(Self {
            id: SessionId::random(),
            secret: Secret::random(),
            user: base.user().to_owned(),
            connections: AtomicUsize::new(0),
            over: CancellationToken::new(),
            state: Mutex::new(State {
                base: Some(base),
                options,
                http_origin: None,
                last_used: Utc::now(),
                busy: 0,
                expired: None,
            }),
        })
    }

    /// Where the client of a call is behind proxies, if the call says it.
    pub(crate) fn note_http_origin(&self, origin: Option<&Arc<str>>) {
        if let Some(origin) = origin {
            self.state.lock().http_origin = Some(Arc::clone(origin));
        }
    }

    /// A call uses the session until the answer is dropped.
    ///
    /// # Errors
    /// The session has expired.
    pub(crate) fn begin_call(self: &Arc<Self>) -> Result<InUse, Error> {
        let mut state = self.state.lock();
        if let Some(why) = &state.expired {
            return Err(Error::new(why.clone()));
        }
        state.last_used = Utc::now();
        state.busy += 1;
        Ok(InUse(Arc::clone(self)))
    }

    /// A session of the server for one statement, with the current database and options.
    ///
    /// # Errors
    /// An option has a value that its setting does not take.
    pub(crate) fn begin_statement(&self, options: &QueryOptions) -> Result<Session, Error> {
        let state = self.state.lock();
        let base = state.base.as_ref();
        let mut session = base
            .ok_or_else(|| Error::invalid_session(self.id))?
            .companion();
        session.set_http_origin(state.http_origin.clone());
        drop(state);
        options.apply(&mut session)?;
        session.set_client_options(options.shown().into());
        Ok(session)
    }

    /// Does something with the session that keeps the settings.
    ///
    /// # Errors
    /// What `work` fails with, or the session is over.
    pub(crate) fn with_base<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state.lock();
        let base = state.base.as_mut();
        work(base.ok_or_else(|| Error::invalid_session(self.id))?)
    }

    /// The options, with those of one statement over them.
    ///
    /// # Errors
    /// One of them does not exist or has a wrong value.
    pub(crate) fn options_with<'a>(
        &self,
        more: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<QueryOptions, Error> {
        let mut options = self.state.lock().options.clone();
        for (name, value) in more {
            // An empty value leaves the option as it is; Hue's keys are no options.
            if !value.is_empty() && !name.starts_with("impala.") {
                options.set(name, value)?;
            }
        }
        Ok(options)
    }

    /// `SET name = value`.
    ///
    /// # Errors
    /// There is no such option, or it does not take this value.
    pub(crate) fn set_option(&self, name: &str, value: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let mut options = state.options.clone();
        options.set(name, value)?;
        // Whether the setting behind it takes the value is found out now, not with every statement.
        if let Some(base) = &state.base {
            options.apply(&mut base.companion())?;
        }
        state.options = options;
        Ok(())
    }

    /// `USE database`.
    ///
    /// # Errors
    /// There is no such schema.
    pub(crate) fn use_database(&self, schema: &str) -> Result<(), Error> {
        self.with_base(|base| {
            if !base.has_schema(schema) {
                let message = format!("AnalysisException: Database does not exist: {schema}");
                return Err(Error::new(message));
            }
            let quoted = schema.replace('"', "\"\"");
            base.put_setting("search_path", &format!("\"{quoted}\""))?;
            base.set_shown_database(database_of(schema).into());
            Ok(())
        })
    }

    /// Waits until nobody has used the session for `limit`, which is looked up anew each time. The
    /// session has expired then.
    pub(crate) async fn expired(&self, limit: impl Fn(&QueryOptions) -> Option<Duration>) {
        loop {
            let wait = {
                let mut state = self.state.lock();
                let idle = (Utc::now() - state.last_used).to_std().unwrap_or_default();
                match limit(&state.options) {
                    Some(limit) if state.busy == 0 && idle >= limit => {
                        state.expire(limit);
                        return;
                    }
                    Some(limit) => limit.saturating_sub(idle).max(LOOK_INTERVAL),
                    None => LOOK_INTERVAL * 10,
                }
            };
            tokio::time::sleep(wait.min(LOOK_INTERVAL * 10)).await;
        }
    }

    /// Gives the session's place back.
    pub(crate) fn end(&self) {
        self.over.cancel();
        self.state.lock().base = None;
    }
}

/// How often an idle session is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl State {
    fn expire(&mut self, limit: Duration) {
        self.expired = Some(format!(
            "Client session expired due to more than {}s of inactivity (last activity was at: {}).",
            limit.as_secs(),
            self.last_used.format("%Y-%m-%d %H:%M:%S")
        ));
    }
}

/// A call that uses a session.
#[derive(Debug)]
pub(crate) struct InUse(Arc<ClientSession>);

impl std::ops::Deref for InUse {
    type Target = Arc<ClientSession>;

    fn deref(&self) -> &Arc<ClientSession> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy -= 1;
        state.last_used = Utc::now();
    }
}

/// A connection's use of sessions: while one is connected, it does not count as disconnected.
#[derive(Debug, Default)]
pub(crate) struct Attached(Mutex<Vec<Arc<ClientSession>>>);

impl Attached {
    /// The connection uses this session.
    pub(crate) fn note(&self, session: &Arc<ClientSession>) {
        let mut sessions = self.0.lock();
        if !sessions.iter().any(|known| Arc::ptr_eq(known, session)) {
            session.connections.fetch_add(1, Ordering::Relaxed);
            sessions.push(Arc::clone(session));
        }
        // Those that are over need not be kept.
        sessions.retain(|known| !known.over.is_cancelled());
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        for session in self.0.lock().drain(..) {
            session.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
