//! What all pages share.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use forebay_server::Server;
use tokio_util::sync::CancellationToken;

use crate::access::{Logins, Token};
use crate::history::History;
use crate::logs::Logs;
use crate::process::Figure;

/// A setting of the server, as the operator gave it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its name in the configuration file.
    pub name: String,
    /// Its value; `None` when nobody has set one and it has no default.
    pub value: Option<String>,
    /// Where the value comes from: a flag, an environment variable, a file, or the default.
    pub origin: String,
    /// What it is for, in a sentence.
    pub help: &'static str,
}

/// What the pages show beside the server.
pub struct Options {
    /// The server.
    pub server: Server,
    /// What it logs.
    pub logs: Logs,
    /// The settings that it was started with.
    pub configuration: Vec<Setting>,
    /// What the memory allocator says of itself.
    pub allocator: fn() -> Vec<Figure>,
}

pub(crate) struct App {
    pub(crate) server: Server,
    pub(crate) logs: Logs,
    pub(crate) configuration: Vec<Setting>,
    pub(crate) allocator: fn() -> Vec<Figure>,
    pub(crate) history: History,
    pub(crate) token: Token,
    pub(crate) logins: Logins,
    /// Whether only this machine can reach the pages.
    pub(crate) is_local: bool,
    pub(crate) started: DateTime<Utc>,
    pub(crate) stop: CancellationToken,
}

impl App {
    pub(crate) fn new(options: Options, listens: SocketAddr, stop: CancellationToken) -> Self {
        Self {
            server: options.server,
            logs: options.logs,
            configuration: options.configuration,
            allocator: options.allocator,
            history: History::default(),
            token: Token::random(),
            logins: Logins::default(),
            is_local: listens.ip().to_canonical().is_loopback(),
            started: Utc::now(),
            stop,
        }
    }
}
