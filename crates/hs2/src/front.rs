//! What all connections share: the server, the sessions, the operations.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashmap::DashMap;
use forebay_server::{EndRequest, LoginRequest, PasswordCheck, QueryId, Server, Session};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::operation::Operation;
use crate::session::handle::{self, SessionId};
use crate::session::options::{self, QueryOptions};
use crate::session::{Attached, ClientSession, InUse};
use crate::wire::idl::{TOperationHandle, TSessionHandle};

/// The protocol's name in profiles and pages, as Impala has it.
pub(crate) const PROTOCOL: &str = "HIVESERVER2";

/// Version 6 is the only one that sessions speak.
const PROTOCOL_VERSION: &str = "V6";

/// How long a session without any connection is kept.
const DISCONNECTED_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How long it is remembered why a session has expired.
const EXPIRED_MEMORY: Duration = Duration::from_secs(10 * 60);

/// Statements that one session may have open.
const MAX_OPERATIONS: usize = 256;

/// What all connections share.
pub(crate) struct Front {
    pub(crate) server: Server,
    pub(crate) limits: crate::Limits,
    /// Where the web pages are, as clients are told.
    pub(crate) pages: String,
    sessions: DashMap<SessionId, Arc<ClientSession>>,
    operations: DashMap<QueryId, Arc<Operation>>,
    /// Nobody new comes in.
    pub(crate) stop: CancellationToken,
}

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who it has proved to be; `None` where the transport asks for no proof.
    pub(crate) user: Option<String>,
    pub(crate) address: SocketAddr,
    /// Where it is behind proxies, as the first of them says.
    pub(crate) http_origin: Option<Arc<str>>,
    /// The sessions that its connection has used, if it is one that lasts.
    pub(crate) attached: Option<Arc<Attached>>,
}

impl Front {
    pub(crate) fn new(
        server: Server,
        limits: crate::Limits,
        pages: String,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            server,
            limits,
            pages,
            sessions: DashMap::new(),
            operations: DashMap::new(),
            stop,
        })
    }

    /// Whether this is `user`, who comes from `address` with a password.
    pub(crate) async fn authenticate(
        &self,
        user: &str,
        password: String,
        address: SocketAddr,
    ) -> bool {
        match self.server.password_check(user, Some(address)) {
            PasswordCheck::Trust => true,
            check => {
                // It takes milliseconds of computing.
                let checked = tokio::task::spawn_blocking(move || check.is_passed_by(&password));
                checked.await.unwrap_or(false)
            }
        }
    }

    /// Opens a session for a client that says to be `claimed`.
    pub(crate) fn open_session(
        self: &Arc<Self>,
        caller: &Caller,
        claimed: &str,
        options: QueryOptions,
        database: Option<&str>,
    ) -> Result<Arc<ClientSession>, Error> {
        let user = match &caller.user {
            Some(user) => user.as_str(),
            // Nothing was proved; some need not prove anything.
            None => match self.server.password_check(claimed, Some(caller.address)) {
                PasswordCheck::Trust => claimed,
                PasswordCheck::Scram(_) | PasswordCheck::Refuse => {
                    return Err(Error::new(format!(
                        "User {claimed} must log in with a password (LDAP or PLAIN)."
                    )));
                }
            },
        };
        let base = self.server.open_session(LoginRequest {
            user: user.to_owned(),
            database: "forebay".to_owned(),
            address: Some(caller.address),
            settings: Vec::new(),
            protocol: PROTOCOL,
            protocol_version: Some(PROTOCOL_VERSION),
        })?;
        let ended = base.end_requested();
        let session = ClientSession::new(base, options);
        session.note_http_origin(caller.http_origin.as_ref());
        // A value that its setting does not take is found out now.
        session.begin_statement(&session.options_with([])?)?;
        if let Some(database) = database {
            session.use_database(database)?;
        }
        self.sessions.insert(session.id, Arc::clone(&session));
        if let Some(attached) = &caller.attached {
            attached.note(&session);
        }
        tokio::spawn(Arc::clone(self).look_after(Arc::clone(&session), ended));
        Ok(session)
    }

    /// Ends a session when it is to end, and forgets it.
    async fn look_after(
        self: Arc<Self>,
        session: Arc<ClientSession>,
        ended: impl Future<Output = EndRequest>,
    ) {
        let limit = |options: &QueryOptions| {
            let idle = options.seconds(options::IDLE_SESSION_TIMEOUT);
            let alone = session.connections.load(Ordering::Relaxed) == 0;
            let disconnected = alone.then_some(DISCONNECTED_TIMEOUT);
            [idle, disconnected].into_iter().flatten().min()
        };
        let expired = tokio::select! {
            biased;
            () = session.over.cancelled() => false,
            request = ended => {
                if request == EndRequest::WhenIdle {
                    self.until_idle(&session).await;
                }
                false
            }
            () = session.expired(limit) => true,
        };
        session.end();
        self.drop_operations(&session).await;
        if expired {
            tokio::time::sleep(EXPIRED_MEMORY).await;
        }
        self.sessions.remove(&session.id);
    }

    /// Waits until no operation of the session runs or has rows that nobody has fetched.
    async fn until_idle(&self, session: &Arc<ClientSession>) {
        loop {
            let of_session = |operation: &Operation| Arc::ptr_eq(&operation.session, session);
            let busy = self.operations.iter().find(|o| of_session(o));
            let Some(busy) = busy.map(|o| Arc::clone(&o)) else {
                return;
            };
            tokio::select! {
                () = session.over.cancelled() => return,
                () = busy.ended() => {
                    self.operations.remove(&busy.id);
                }
            }
        }
    }

    async fn drop_operations(&self, session: &Arc<ClientSession>) {
        let of_session: Vec<Arc<Operation>> = self
            .operations
            .iter()
            .filter(|operation| Arc::ptr_eq(&operation.session, session))
            .map(|operation| Arc::clone(&operation))
            .collect();
        for operation in of_session {
            self.operations.remove(&operation.id);
            operation.close().await;
        }
    }

    /// The session of a handle, in use.
    ///
    /// # Errors
    /// There is none, the secret is wrong, it belongs to another user, or it has expired.
    pub(crate) fn session(&self, caller: &Caller, handle: &TSessionHandle) -> Result<InUse, Error> {
        let (id, secret) = handle::read_session(handle)?;
        let session = self.sessions.get(&id).map(|session| Arc::clone(&session));
        let session = session.filter(|session| session.secret.is(&secret));
        let session = session.filter(|session| is_of(session, caller));
        let session = session.ok_or_else(|| Error::invalid_session(id))?;
        let in_use = session.begin_call()?;
        if in_use.over.is_cancelled() {
            return Err(Error::invalid_session(id));
        }
        session.note_http_origin(caller.http_origin.as_ref());
        if let Some(attached) = &caller.attached {
            attached.note(&session);
        }
        Ok(in_use)
    }

    /// Forgets a session and ends what it runs.
    pub(crate) async fn close_session(&self, session: &Arc<ClientSession>) -> Result<(), Error> {
        // Of many who close it one does.
        if self.sessions.remove(&session.id).is_none() {
            return Err(Error::invalid_session(session.id));
        }
        session.end();
        self.drop_operations(session).await;
        Ok(())
    }

    /// The operation of a handle, with its session in use.
    ///
    /// # Errors
    /// There is none, or the secret is wrong; the operation is unharmed.
    pub(crate) fn operation(
        &self,
        caller: &Caller,
        handle: &TOperationHandle,
    ) -> Result<(Arc<Operation>, InUse), Error> {
        let (id, secret) = handle::read_operation(handle)?;
        let operation = self
            .operations
            .get(&id)
            .map(|operation| Arc::clone(&operation));
        let operation = operation.ok_or_else(|| Error::unknown_operation(id))?;
        if !operation.session.secret.is(&secret) || !is_of(&operation.session, caller) {
            return Err(Error::foreign_operation(id));
        }
        let in_use = operation.session.begin_call()?;
        if let Some(attached) = &caller.attached {
            attached.note(&operation.session);
        }
        if let Some(query) = self.server.query(&id) {
            query.count_call();
        }
        Ok((operation, in_use))
    }

    /// Whether a session may have one more operation.
    ///
    /// # Errors
    /// It has too many.
    pub(crate) fn check_room(&self, session: &Arc<ClientSession>) -> Result<(), Error> {
        let open = self.operations.iter();
        let open = open.filter(|operation| Arc::ptr_eq(&operation.session, session));
        if open.count() >= MAX_OPERATIONS {
            return Err(Error::new(format!(
                "Session {} has {MAX_OPERATIONS} open operations, the most that a session may have. \
                 Close those that are not needed.",
                session.id
            )));
        }
        Ok(())
    }

    pub(crate) fn add_operation(&self, operation: &Arc<Operation>) {
        self.operations.insert(operation.id, Arc::clone(operation));
        // The session may have ended while the statement was begun.
        if operation.session.over.is_cancelled() {
            self.operations.remove(&operation.id);
        }
    }

    /// Takes an operation out; of many who close it one gets it.
    pub(crate) fn take_operation(&self, id: QueryId) -> Result<Arc<Operation>, Error> {
        let taken = self.operations.remove(&id);
        taken
            .map(|(_, operation)| operation)
            .ok_or_else(|| Error::unknown_operation(id))
    }

    /// Whether the role of a session may see and end what others do.
    pub(crate) fn is_superuser(session: &ClientSession) -> bool {
        let shown = |base: &mut Session| Ok(base.show("is_superuser") == Some("on"));
        session.with_base(shown).unwrap_or(false)
    }
}

/// Whoever has proved who they are uses their own sessions only.
fn is_of(session: &ClientSession, caller: &Caller) -> bool {
    caller
        .user
        .as_ref()
        .is_none_or(|user| *user == session.user)
}
