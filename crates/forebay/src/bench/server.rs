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
    /// Of the web pages, if there are any.
    web_port: Option<u16>,
    data_dir: PathBuf,
}

impl ServerUnderTest {
    /// Starts a server of the tables in `data`, if given.
    pub fn start(data: Option<&Path>) -> anyhow::Result<Self> {
        Self::start_with(data, &[])
    }

    /// Starts a server with more options.
    pub fn start_with(data: Option<&Path>, options: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(data, options, None)
    }

    /// Starts a server that has web pages.
    pub fn start_with_pages(options: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(None, options, Some(free_port()?))
    }

    fn start_on(
        data: Option<&Path>,
        options: &[&str],
        web_port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let pages = web_port.map_or("off".to_owned(), |port| format!("127.0.0.1:{port}"));
        let data_dir = std::env::temp_dir().join(format!("forebay-bench-{port}"));
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .args(["--log", "warn", "--shutdown-grace", "0s"])
            .args(["--pg-listen", &format!("127.0.0.1:{port}")])
            .args(["--web-listen", &pages])
            .args(["--hs2-listen", "off", "--hs2-http-listen", "off"])
            .arg("--data-dir")
            .arg(&data_dir)
            .stdout(Stdio::piped());
        command.args(options).args(data);
        let process = command.spawn().context("cannot start the server")?;
        let mut server = Self {
            process,
            port,
            web_port,
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
        let port = self.web_port.context("the server has no web pages")?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
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

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
