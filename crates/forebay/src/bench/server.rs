//! The server under test.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// A server of this program in a process of its own; it ends when this is dropped.
pub struct ServerUnderTest {
    process: Child,
    port: u16,
    also: AlsoListens,
    data_dir: PathBuf,
}

/// The ports of what is not always there.
#[derive(Default)]
struct AlsoListens {
    pages: Option<u16>,
    hs2: Option<u16>,
    hs2_http: Option<u16>,
}

impl ServerUnderTest {
    /// Starts a server of the tables in `data`, if given.
    pub fn start(data: Option<&Path>) -> anyhow::Result<Self> {
        Self::start_with(data, &[])
    }

    /// Starts a server with more options.
    pub fn start_with(data: Option<&Path>, options: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(data, options, AlsoListens::default())
    }

    /// Starts a server that has web pages.
    pub fn start_with_pages(options: &[&str]) -> anyhow::Result<Self> {
        let also = AlsoListens {
            pages: Some(free_port()?),
            ..AlsoListens::default()
        };
        Self::start_on(None, options, also)
    }

    /// Starts a server that speaks HiveServer2 too.
    pub fn start_with_hs2(data: Option<&Path>, options: &[&str]) -> anyhow::Result<Self> {
        let also = AlsoListens {
            hs2: Some(free_port()?),
            hs2_http: Some(free_port()?),
            ..AlsoListens::default()
        };
        Self::start_on(data, options, also)
    }

    fn start_on(data: Option<&Path>, options: &[&str], also: AlsoListens) -> anyhow::Result<Self> {
        let port = free_port()?;
        let listener = |port: Option<u16>| match port {
            Some(port) => format!("127.0.0.1:{port}"),
            None => "off".to_owned(),
        };
        let data_dir = std::env::temp_dir().join(format!("forebay-bench-{port}"));
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .args(["--log", "warn", "--shutdown-grace", "0s"])
            .args(["--pg-listen", &format!("127.0.0.1:{port}")])
            .args(["--web-listen", &listener(also.pages)])
            .args(["--hs2-listen", &listener(also.hs2)])
            .args(["--hs2-http-listen", &listener(also.hs2_http)])
            .arg("--data-dir")
            .arg(&data_dir)
            .stdout(Stdio::piped());
        command.args(options).args(data);
        let process = command.spawn().context("cannot start the server")?;
        let mut server = Self {
            process,
            port,
            also,
            data_dir,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let output = self
            .process
            .stdout
            .take()
            .context("the server has no output")?;
        for line in BufReader::new(output).lines() {
            if line?.starts_with("Ready") {
                return Ok(());
            }
        }
        bail!("the server ended before it was ready")
    }

    /// Where to connect as a superuser.
    pub fn url(&self) -> anyhow::Result<String> {
        let user = whoami::username().context("cannot tell the user's name")?;
        Ok(self.url_as(&user))
    }

    /// Where to connect as `role`.
    pub fn url_as(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/forebay", self.port)
    }

    /// Where its web pages are.
    pub fn pages(&self) -> anyhow::Result<SocketAddr> {
        address(self.also.pages)
    }

    /// Where it speaks HiveServer2.
    pub fn hs2(&self) -> anyhow::Result<SocketAddr> {
        address(self.also.hs2)
    }

    /// Where it speaks HiveServer2 over HTTP.
    pub fn hs2_http(&self) -> anyhow::Result<SocketAddr> {
        address(self.also.hs2_http)
    }

    /// The server's process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for ServerUnderTest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }
}

fn address(port: Option<u16>) -> anyhow::Result<SocketAddr> {
    let port = port.context("the server was started without it")?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
