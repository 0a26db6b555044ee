//! From the first byte to a session.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use forebay_server::{Error, LoginRequest, PasswordCheck, ScramSecret, Server, Session};
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, PasswordMessageFamily, SecretKey,
    Startup as StartupMessage,
};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage};

use crate::codec::sasl_initial_response;
use crate::connection::protocol_error;
use crate::scram::{self, Binding, Exchange, ScramError};
use crate::wire::{Gone, Incoming, Phase, Wire};
use crate::{Limits, PROTOCOL, Tls, tls};

/// Encryption requests that a client may send before it starts up: one of each kind.
const MAX_NEGOTIATIONS: usize = 2;

/// What every new connection needs.
pub(crate) struct Startup {
    pub(crate) server: Server,
    pub(crate) limits: Limits,
    tls: Option<Arc<Tls>>,
    /// Makes up secrets of roles that do not exist; new with each start of the server.
    mock_key: [u8; 32],
}

/// Why no session came of a connection.
pub(crate) enum NoSession {
    /// The client has gone, or only wanted to cancel.
    Silent,
    /// It gets this error.
    Refused(Box<Error>),
}

impl From<Gone> for NoSession {
    fn from(_: Gone) -> Self {
        Self::Silent
    }
}

impl From<Error> for NoSession {
    fn from(error: Error) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl Startup {
    pub(crate) fn new(server: Server, limits: Limits, tls: Option<Arc<Tls>>) -> Self {
        Self {
            server,
            limits,
            tls,
            mock_key: rand::random(),
        }
    }

    /// Brings a new connection to a session.
    pub(crate) async fn session(
        &self,
        wire: &mut Wire,
        address: SocketAddr,
    ) -> Result<Session, NoSession> {
        let limit = self.limits.authentication_timeout;
        tokio::time::timeout(limit, self.log_in(wire, address))
            .await
            .unwrap_or(Err(NoSession::Silent))
    }

    async fn log_in(&self, wire: &mut Wire, address: SocketAddr) -> Result<Session, NoSession> {
        self.direct_tls(wire).await?;
        let message = self.startup_message(wire).await?;
        if let Some(negotiate) = version_answer(&message) {
            wire.feed(PgWireBackendMessage::NegotiateProtocolVersion(negotiate))
                .await?;
        }
        let request = login_request(&message, address)?;
        self.authenticate(wire, &request, address).await?;
        let mut session = self.server.open_session(request)?;
        wire.expect(Phase::Session);
        wire.feed(PgWireBackendMessage::Authentication(Authentication::Ok))
            .await?;
        for status in crate::connection::parameter_statuses(&mut session) {
            wire.feed(status).await?;
        }
        let key = BackendKeyData::new(session.pid(), SecretKey::I32(session.secret()));
        wire.feed(PgWireBackendMessage::BackendKeyData(key)).await?;
        Ok(session)
    }

    /// A client may begin with TLS without asking, if it names the protocol in there.
    async fn direct_tls(&self, wire: &mut Wire) -> Result<(), NoSession> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        if wire.begins_with_tls().await? {
            let agreed = wire.encrypt(&tls.current()).await?;
            if agreed.as_deref() != Some(tls::ALPN) {
                let message = "received direct SSL connection request without ALPN protocol \
                               negotiation extension";
                return Err(protocol_error(message).into());
            }
        }
        Ok(())
    }

    /// Encrypts if that is possible, else says that it is not.
    async fn answer_ssl_request(&self, wire: &mut Wire) -> Result<(), NoSession> {
        let Some(tls) = &self.tls else {
            let refuse = PgWireBackendMessage::SslResponse(SslResponse::Refuse);
            return Ok(wire.send(refuse).await?);
        };
        if wire.is_encrypted() {
            return Err(protocol_error("the connection is encrypted already").into());
        }
        if wire.has_read_ahead() {
            // Whoever sits between the two could have slipped it in.
            return Err(protocol_error("received unencrypted data after SSL request").into());
        }
        let accept = PgWireBackendMessage::SslResponse(SslResponse::Accept);
        wire.send(accept).await?;
        wire.encrypt(&tls.current()).await?;
        Ok(())
    }

    /// Answers encryption requests and cancel requests until the client starts up.
    async fn startup_message(&self, wire: &mut Wire) -> Result<StartupMessage, NoSession> {
        let mut negotiations = 0;
        loop {
            match next(wire).await? {
                PgWireFrontendMessage::SslNegotiation(kind) => {
                    negotiations += 1;
                    match kind {
                        SslNegotiationMetaMessage::None => wire.expect(Phase::Startup),
                        _ if negotiations > MAX_NEGOTIATIONS => {
                            return Err(protocol_error("too many encryption requests").into());
                        }
                        SslNegotiationMetaMessage::PostgresSsl(_) => {
                            self.answer_ssl_request(wire).await?;
                        }
                        _ => {
                            let refuse = GssEncResponse::Refuse;
                            wire.send(PgWireBackendMessage::GssEncResponse(refuse))
                                .await?;
                        }
                    }
                }
                PgWireFrontendMessage::CancelRequest(cancel) => {
                    if let Some(secret) = cancel.secret_key.as_i32() {
                        self.server.cancel(cancel.pid, secret);
                    }
                    return Err(NoSession::Silent);
                }
                PgWireFrontendMessage::Startup(message) => return Ok(message),
                _ => return Err(protocol_error("expected a start-up message").into()),
            }
        }
    }

    async fn authenticate(
        &self,
        wire: &mut Wire,
        request: &LoginRequest,
        address: SocketAddr,
    ) -> Result<(), NoSession> {
        let (secret, real) = match self.server.password_check(&request.user, Some(address)) {
            PasswordCheck::Trust => return Ok(()),
            PasswordCheck::Scram(secret) => (secret, true),
            PasswordCheck::Refuse => (scram::mock_secret(&self.mock_key, &request.user), false),
        };
        wire.expect(Phase::Authentication);
        match exchange(wire, secret).await {
            Ok(()) if real => Ok(()),
            Ok(()) | Err(Failure::Scram(ScramError::WrongPassword)) => Err(Error::fatal(
                "28P01",
                format!(
                    "password authentication failed for user \"{}\"",
                    request.user
                ),
            )
            .into()),
            Err(Failure::Scram(ScramError::Malformed)) => {
                Err(protocol_error("malformed SCRAM message").into())
            }
            Err(Failure::Other(other)) => Err(other),
        }
    }
}

enum Failure {
    Scram(ScramError),
    Other(NoSession),
}

impl From<ScramError> for Failure {
    fn from(error: ScramError) -> Self {
        Self::Scram(error)
    }
}

impl<E: Into<NoSession>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// The messages of one SCRAM exchange.
async fn exchange(wire: &mut Wire, secret: ScramSecret) -> Result<(), Failure> {
    let end_point = wire.end_point().map(<[u8]>::to_vec);
    let mechanisms = scram::mechanisms(end_point.is_some());
    let names = mechanisms.iter().map(|m| (*m).to_owned());
    send(wire, Authentication::SASL(names.collect())).await?;
    let first = password_message(wire).await?;
    let first = sasl_initial_response(first).map_err(|_| ScramError::Malformed)?;
    let nonce = BASE64_STANDARD.encode(rand::random::<[u8; 18]>());
    let binding = Binding::chosen(&first.auth_method, end_point)?;
    let exchange = Exchange::start(secret, binding, &first.data.unwrap_or_default(), &nonce)?;
    let server_first = exchange.server_first().to_owned();
    send(wire, Authentication::SASLContinue(server_first.into())).await?;
    let last = password_message(wire).await?;
    let last = last
        .into_sasl_response()
        .map_err(|_| ScramError::Malformed)?;
    let server_final = exchange.finish(&last.data)?;
    send(wire, Authentication::SASLFinal(server_final.into())).await?;
    Ok(())
}

async fn send(wire: &mut Wire, message: Authentication) -> Result<(), Gone> {
    wire.send(PgWireBackendMessage::Authentication(message))
        .await
}

async fn password_message(wire: &mut Wire) -> Result<PasswordMessageFamily, NoSession> {
    match next(wire).await? {
        PgWireFrontendMessage::PasswordMessageFamily(message) => Ok(message),
        _ => Err(protocol_error("expected a password message").into()),
    }
}

async fn next(wire: &mut Wire) -> Result<PgWireFrontendMessage, NoSession> {
    match wire.next().await {
        None => Err(NoSession::Silent),
        Some(Ok(Incoming::Message(message))) => Ok(message),
        Some(Ok(Incoming::Malformed { error, .. })) => {
            Err(Error::fatal(error.sqlstate, error.message).into())
        }
        Some(Err(error)) => Err(protocol_error(error.to_string()).into()),
    }
}

/// The answer to a client that asks for more than protocol 3.0 has.
fn version_answer(message: &StartupMessage) -> Option<NegotiateProtocolVersion> {
    let options: Vec<String> = message
        .parameters
        .keys()
        .filter(|name| name.starts_with("_pq_."))
        .cloned()
        .collect();
    (message.protocol_number_minor > 0 || !options.is_empty())
        .then(|| NegotiateProtocolVersion::new(0, options))
}

/// Reads the start-up message: user, database and settings, also those of `options`.
fn login_request(message: &StartupMessage, address: SocketAddr) -> Result<LoginRequest, Error> {
    let mut user = None;
    let mut database = None;
    let mut settings = Vec::new();
    for (name, value) in &message.parameters {
        match name.as_str() {
            "user" => user = Some(value.clone()),
            "database" => database = Some(value.clone()),
            "options" => settings.extend(command_line_settings(value)?),
            "replication" => {
                if !matches!(value.as_str(), "" | "off" | "false" | "no" | "0") {
                    return Err(Error::fatal("0A000", "replication is not supported"));
                }
            }
            name if name.starts_with("_pq_.") => {}
            _ => settings.push((name.clone(), value.clone())),
        }
    }
    let user = user.filter(|u| !u.is_empty()).ok_or_else(|| {
        Error::fatal(
            "28000",
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    Ok(LoginRequest {
        database: database
            .filter(|d| !d.is_empty())
            .unwrap_or_else(|| user.clone()),
        user,
        address: Some(address),
        settings,
        protocol: PROTOCOL,
        protocol_version: None,
    })
}

/// The settings of `-c name=value` and `--name=value`, words being split at blanks that no
/// backslash precedes.
fn command_line_settings(options: &str) -> Result<Vec<(String, String)>, Error> {
    let mut settings = Vec::new();
    let mut words = split_words(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("-c")
                .or_else(|| word.strip_prefix("--"))
                .map(ToOwned::to_owned)
        };
        let pair = assignment.as_deref().and_then(|a| a.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Error::fatal(
                "42601",
                format!("invalid command-line argument for server process: {word}"),
            )
        })?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => words
                .last_mut()
                .expect("never empty")
                .extend(characters.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_postgresql_reads_them() {
        let read = |text| command_line_settings(text).map_err(|e| e.sqlstate);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("-c statement_timeout=5s"),
            Ok(vec![pair("statement_timeout", "5s")])
        );
        assert_eq!(
            read(r"-csearch_path=a,b --application-name=my\ app"),
            Ok(vec![
                pair("search_path", "a,b"),
                pair("application_name", "my app")
            ])
        );
        assert_eq!(read("  "), Ok(vec![]));
        assert_eq!(read("-x"), Err("42601"));
    }
}
