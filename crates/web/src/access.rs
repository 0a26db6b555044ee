//! Who may come in, and what a browser may do with the pages.
//!
//! - **Host**: pages that only this machine can reach answer to names of this machine only. A page of
//!   a stranger that has its own name resolved to 127.0.0.1 does not get in (DNS rebinding).
//! - **Log-in**: where the bootstrap role could log in without a password, so can whoever reads the
//!   pages; else they ask for a superuser's name and password ([`Server::operator_check`]).
//! - **Token**: a `POST` must carry the token that stands in this server's forms, which a stranger's
//!   page cannot read.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use forebay_server::{OperatorCheck, Server};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::listener::Peer;

/// What a browser may load and do: nothing but what these pages bring.
pub(crate) const SECURITY_HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// The page that monitors ask whether the server lives; it tells nothing else.
pub(crate) const HEALTH: &str = "/healthz";

/// Lets a request in, or says why not.
pub(crate) async fn guard(
    State(app): State<Arc<App>>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if app.is_local && !names_this_machine(request.headers()) {
        return (
            StatusCode::MISDIRECTED_REQUEST,
            "These pages answer to localhost and 127.0.0.1 only.\n",
        )
            .into_response();
    }
    if request.method() == Method::POST && !is_of_same_origin(request.headers()) {
        let why = "A form of another site cannot act here.\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    if request.uri().path() == HEALTH {
        return next.run(request).await;
    }
    match who(&app, request.headers(), address).await {
        Some(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        None => (
            StatusCode::UNAUTHORIZED,
            [(
                WWW_AUTHENTICATE,
                "Basic realm=\"Forebay\", charset=\"UTF-8\"",
            )],
            "Log in with the name and password of a superuser.\n",
        )
            .into_response(),
    }
}

/// Who reads the pages, for the log.
#[derive(Debug, Clone)]
pub(crate) struct Who(pub(crate) String);

async fn who(app: &Arc<App>, headers: &HeaderMap, address: SocketAddr) -> Option<Who> {
    if matches!(app.server.operator_check(address), OperatorCheck::Trusted) {
        return Some(Who(address.to_string()));
    }
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let credentials = String::from_utf8(credentials).ok()?;
    let (user, password) = credentials.split_once(':')?;
    let known = app.logins.check(&app.server, user, password, address).await;
    known.then(|| Who(user.to_owned()))
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| is_local_name(without_port(host)))
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

fn is_local_name(host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    host.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback())
}

/// Browsers say from which site a form comes; programs say nothing.
fn is_of_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let site = origin.split_once("://").map(|(_, site)| site);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    site.is_some() && site == host
}

/// What a form of these pages carries.
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares digests, so that the time it takes tells nothing of how much is right.
    pub(crate) fn is(&self, given: &str) -> bool {
        Sha256::digest(given) == Sha256::digest(&self.0)
    }
}

/// How long a log-in is remembered: a browser asks for several things a second, and to check a
/// password is milliseconds of work on purpose. A password that was changed is good for so long still.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Log-ins that are remembered.
const MAX_REMEMBERED: usize = 100;

/// Passwords that are checked at once, so that guessing does not take the processors.
const CHECKS_AT_ONCE: usize = 1;

/// Checks names and passwords.
pub(crate) struct Logins {
    /// Keeps what is remembered from being of use to anybody else.
    salt: [u8; 32],
    known: Mutex<HashMap<[u8; 32], Instant>>,
    turns: Semaphore,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            salt: rand::random(),
            known: Mutex::default(),
            turns: Semaphore::new(CHECKS_AT_ONCE),
        }
    }
}

impl Logins {
    async fn check(&self, server: &Server, user: &str, password: &str, from: SocketAddr) -> bool {
        let digest = Sha256::new()
            .chain_update(self.salt)
            .chain_update(user.len().to_le_bytes())
            .chain_update(user)
            .chain_update(password)
            .finalize();
        let key: [u8; 32] = digest.into();
        if self.knows(&key) {
            return true;
        }
        let Ok(_turn) = self.turns.acquire().await else {
            return false;
        };
        let (server, user) = (server.clone(), user.to_owned());
        let password = password.to_owned();
        let check = move || server.is_operator(&user, &password, from);
        let right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if right {
            self.remember(key);
        }
        right
    }

    fn knows(&self, key: &[u8; 32]) -> bool {
        let known = self.known.lock();
        known
            .get(key)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    fn remember(&self, key: [u8; 32]) {
        let mut known = self.known.lock();
        known.retain(|_, since| since.elapsed() < REMEMBERED);
        if known.len() < MAX_REMEMBERED {
            known.insert(key, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:25000",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_local_name(without_port(host)), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:25000",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "[::2]:80",
        ] {
            assert!(!is_local_name(without_port(host)), "{host}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_told_apart() {
        let headers = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "localhost:25000".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        assert!(is_of_same_origin(&headers(None)));
        assert!(is_of_same_origin(&headers(Some("http://localhost:25000"))));
        assert!(!is_of_same_origin(&headers(Some("http://localhost:1"))));
        assert!(!is_of_same_origin(&headers(Some("null"))));
    }
}
