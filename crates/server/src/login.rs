//! Who may open a session.

use std::net::SocketAddr;
use std::sync::Arc;

use forebay_catalog::Role;
use forebay_engine::DATABASE;

use crate::password::{self, ScramSecret};
use crate::sessions::{Full, NewHandle, Room, SessionHandle};
use crate::{Error, Result, Server, Session};

/// What a client says about itself when it connects.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// The role it wants to be.
    pub user: String,
    /// The database it names; the role's name when it names none.
    pub database: String,
    /// Where it comes from; `None` for a local socket.
    pub address: Option<SocketAddr>,
    /// Settings that it sends along.
    pub settings: Vec<(String, String)>,
    /// The protocol it speaks, for profiles and pages.
    pub protocol: &'static str,
    /// The version of it, where there are several.
    pub protocol_version: Option<&'static str>,
}

/// What the client must prove before [`Server::open_session`].
#[derive(Debug)]
pub enum PasswordCheck {
    /// Nothing: the role has no password and the client is on this machine.
    Trust,
    /// That it knows the password.
    Scram(ScramSecret),
    /// The same work as for a password, which then always fails: an attacker shall not learn
    /// whether the role exists.
    Refuse,
}

impl PasswordCheck {
    /// Whether this is the password that is asked for, of a client that has sent it. It takes
    /// milliseconds, whatever is asked for: call it where that does no harm.
    #[must_use]
    pub fn is_passed_by(self, password: &str) -> bool {
        let secret = match self {
            Self::Scram(secret) => Some(secret),
            Self::Trust | Self::Refuse => None,
        };
        let known = secret.is_some();
        let matches = secret
            .unwrap_or_else(ScramSecret::of_nobody)
            .is_of(password);
        known && matches
    }
}

impl Server {
    /// What a client that wants to be `user` from `address` must prove.
    #[must_use]
    pub fn password_check(&self, user: &str, address: Option<SocketAddr>) -> PasswordCheck {
        let local = address.is_none_or(|a| a.ip().to_canonical().is_loopback());
        let snapshot = self.inner.catalog.snapshot();
        let role = snapshot.role(user);
        if role.is_some_and(|role| password::has_expired(role)) {
            return PasswordCheck::Refuse;
        }
        let secret = role.map(|role| role.password.as_deref());
        match secret {
            Some(Some(secret)) => match ScramSecret::parse(secret) {
                Some(secret) => PasswordCheck::Scram(secret),
                None => PasswordCheck::Refuse,
            },
            // Without a password a role exists for this machine only.
            Some(None) | None if local => PasswordCheck::Trust,
            _ => PasswordCheck::Refuse,
        }
    }

    /// Opens a session for a client that has proved what [`Server::password_check`] asked for.
    ///
    /// # Errors
    /// Unknown role or database, no right to log in, too many sessions, server shutting down,
    /// or an invalid setting among those sent along. All are fatal.
    pub fn open_session(&self, request: LoginRequest) -> Result<Session> {
        if self.is_shutting_down() {
            return Err(Error::fatal(
                "57P03",
                "the database system is shutting down",
            ));
        }
        let snapshot = self.inner.catalog.snapshot();
        let Some(role) = snapshot.role(&request.user) else {
            return Err(Error::fatal(
                "28000",
                format!("role \"{}\" does not exist", request.user),
            ));
        };
        check_login(role)?;
        check_database(&request)?;
        let new = NewHandle {
            owner: self.inner.admission.begin(),
            user: role.name.clone(),
            superuser: role.superuser,
            database: request.database.clone(),
            application_name: String::new(),
            client_address: request.address.map(|a| a.ip().to_string()),
            client_port: request.address.map_or(-1, |a| i32::from(a.port())),
        };
        let handle = self.open_handle(role, new)?;
        if self.is_shutting_down() {
            // It began between the look above and the list that it is on now.
            handle.drain.interrupt(crate::Interrupt::Shutdown);
        }
        Session::new(self.clone(), handle, role, &request).map_err(|error| Error {
            severity: crate::Severity::Fatal,
            ..error
        })
    }

    fn open_handle(&self, role: &Arc<Role>, new: NewHandle) -> Result<Arc<SessionHandle>> {
        let config = &self.inner.config;
        // Somebody must be able to look into a server that is full.
        let reserved = match role.superuser {
            true => config.superuser_reserved_connections,
            false => 0,
        };
        let room = Room {
            sessions: config.max_connections.saturating_add(reserved),
            of_role: usize::try_from(role.connection_limit).ok(),
        };
        let opened = self.inner.sessions.open(new, room);
        opened.map_err(|full| match full {
            Full::Sessions => Error::fatal("53300", "sorry, too many clients already")
                .with_detail(format!("The limit is {} sessions.", room.sessions))
                .with_hint("Raise --max-connections, or close sessions."),
            Full::OfRole => Error::fatal(
                "53300",
                format!("too many connections for role \"{}\"", role.name),
            ),
        })
    }
}

fn check_login(role: &Role) -> Result<()> {
    if !role.login {
        return Err(Error::fatal(
            "28000",
            format!("role \"{}\" is not permitted to log in", role.name),
        ));
    }
    Ok(())
}

/// One database, under its own name, PostgreSQL's default name, and the role's.
fn check_database(request: &LoginRequest) -> Result<()> {
    let name = request.database.as_str();
    if [DATABASE, "postgres", request.user.as_str()].contains(&name) {
        return Ok(());
    }
    Err(
        Error::fatal("3D000", format!("database \"{name}\" does not exist")).with_hint(format!(
            "Forebay serves one database, \"{DATABASE}\"; \"postgres\" and the role's own name lead there too."
        )),
    )
}
