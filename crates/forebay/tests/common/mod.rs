//! A server of its own for each test: started from the binary, reached over the wire.
#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod raw;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long anything may take that a test waits for. Only a failing test ever waits this long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at while it is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running server, killed when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// The bootstrap role: who runs the server.
    superuser: String,
    web_address: SocketAddr,
    stderr: PathBuf,
    /// Locked only so that tests may share the server.
    lines: Mutex<Receiver<String>>,
    /// Keeps the data directory alive, unless somebody else does.
    _dir: Option<TempDir>,
}

impl Server {
    /// A server with an empty data directory of its own.
    pub fn start(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut server = Self::start_in(dir.path(), arguments).unwrap_or_else(|e| panic!("{e}"));
        server._dir = Some(dir);
        server
    }

    /// A server with the TPC-H tables.
    pub fn with_tpch(arguments: &[&str]) -> Self {
        let tpch = tpch();
        let tpch = tpch.to_str().expect("a path in UTF-8");
        Self::start(&[&[tpch], arguments].concat())
    }

    /// A server on a folder that outlives it. It chooses a free port itself, so no other process
    /// can take the port in between.
    pub fn start_in(folder: &Path, arguments: &[&str]) -> Result<Self, String> {
        let program = Command::new(env!("CARGO_BIN_EXE_forebay"));
        Self::start_as(&superuser(), program, folder, arguments)
    }

    /// A server of a user without privileges, even where root runs the tests.
    pub fn unprivileged() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut server = Self::unprivileged_in(dir.path(), &[]);
        server._dir = Some(dir);
        server
    }

    /// The same on a folder that outlives it.
    pub fn unprivileged_in(folder: &Path, arguments: &[&str]) -> Self {
        if superuser() != "root" {
            return Self::start_in(folder, arguments).unwrap_or_else(|e| panic!("{e}"));
        }
        let anybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder, anybody).expect("a folder for anybody");
        // Nobody else may look into root's home, where the program may be.
        let program = folder.join("forebay");
        fs::hard_link(env!("CARGO_BIN_EXE_forebay"), &program)
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_forebay"), &program).map(drop))
            .expect("the program in the folder");
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--regid=65534", "--clear-groups"])
            .arg(program);
        Self::start_as("nobody", command, folder, arguments).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A server of the user `superuser`, whom `program` makes its own; it ends as a command that takes
    /// the server's arguments.
    pub fn start_as(
        superuser: &str,
        mut program: Command,
        folder: &Path,
        arguments: &[&str],
    ) -> Result<Self, String> {
        let stderr = folder.join("stderr.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&stderr)
            .map_err(|e| format!("cannot write {}: {e}", stderr.display()))?;
        let mut child = program
            .args(["serve", "--pg-listen", "127.0.0.1:0"])
            .args(["--hs2-listen", "off", "--hs2-http-listen", "off"])
            .args(["--web-listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("cannot start the server: {e}"))?;
        let lines = lines(&mut child);
        let (address, web_address) = ready_addresses(&lines).map_err(|why| {
            let _ = child.kill();
            let status = child.wait();
            let log = fs::read_to_string(&stderr).unwrap_or_default();
            format!("the server did not get ready: {why} ({status:?})\n{log}")
        })?;
        Ok(Self {
            child,
            address,
            superuser: superuser.to_owned(),
            web_address,
            stderr,
            lines: Mutex::new(lines),
            _dir: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A folder that it can read, and that goes with it.
    pub fn folder(&self) -> &Path {
        self.stderr.parent().expect("a log in a folder")
    }

    /// Where its web pages are.
    pub fn web_address(&self) -> SocketAddr {
        self.web_address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// How a client is configured to reach it as the bootstrap role.
    pub fn client_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.address.ip().to_string())
            .port(self.address.port())
            .user(&self.superuser)
            .dbname("forebay");
        config
    }

    /// A new client, logged in as the bootstrap role.
    pub async fn client(&self) -> Client {
        connect(&self.client_config())
            .await
            .unwrap_or_else(|e| panic!("cannot connect: {e}\n{}", self.log()))
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop with SIGTERM, and checks that it does so cleanly.
    pub fn stop(mut self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot send SIGTERM");
        let status = self.exit_status();
        assert!(
            status.success(),
            "the server ended with {status}\n{}",
            self.log()
        );
        let said = self.said();
        assert!(
            said.iter().any(|line| line == "Stopped."),
            "it said only {said:?}"
        );
    }

    /// Waits until it has ended by itself; how it did, and what it has said to the end.
    pub fn ended(mut self) -> (ExitStatus, Vec<String>, String) {
        let status = self.exit_status();
        let said = self.said();
        (status, said, self.log())
    }

    /// What it has said since it was ready, to its end.
    fn said(&mut self) -> Vec<String> {
        self.lines
            .get_mut()
            .expect("nobody panics")
            .iter()
            .collect()
    }

    fn exit_status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child to wait for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server does not stop\n{}",
                self.log()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Memory that it occupies, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the state of a living process");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|l| l.trim().strip_suffix(" kB"));
        kilobytes
            .and_then(|k| k.trim().parse::<u64>().ok())
            .expect("VmRSS in kB")
            * 1024
    }

    /// Processor time that it has used, in the kernel's ticks.
    pub fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("the state of a living process");
        // The name may hold blanks; it ends with the last parenthesis. User and system time are
        // fields 14 and 15, so 11 and 12 behind it.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |i: usize| fields[i].parse::<u64>().expect("ticks");
        ticks(11) + ticks(12)
    }

    /// Waits until it takes no processor time for a while, and fails with `what` if it never does.
    pub async fn comes_to_rest(&self, what: &str) {
        let mut ticks = self.processor_ticks();
        let mut calm = 0;
        eventually(what, async || {
            tokio::time::sleep(POLL_INTERVAL).await;
            let now = self.processor_ticks();
            calm = if now <= ticks + 1 { calm + 1 } else { 0 };
            ticks = now;
            calm >= 5
        })
        .await;
    }

    /// Its threads, as Linux shows them.
    pub fn threads(&self) -> Vec<Thread> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()));
        let tasks = tasks.expect("the threads of a living process");
        // One that ends meanwhile is none.
        tasks
            .filter_map(|task| Thread::of(&task.ok()?.path()))
            .collect()
    }

    /// Sockets that it holds open, its listener among them.
    pub fn sockets(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let files = files.expect("the files of a living process");
        files
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }
}

/// A thread of a server.
#[derive(Debug, Clone)]
pub struct Thread {
    /// At most 15 bytes.
    pub name: String,
    /// Its nice value.
    pub nice: i32,
    /// Time that it has been on a processor, in nanoseconds.
    pub busy_ns: u64,
}

impl Thread {
    fn of(task: &Path) -> Option<Self> {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
        let times = fs::read_to_string(task.join("schedstat")).ok()?;
        Some(Self {
            name: name.to_owned(),
            // Field 19, of which the first two are before the parenthesis.
            nice: fields.split_whitespace().nth(16)?.parse().ok()?,
            busy_ns: times.split_whitespace().next()?.parse().ok()?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads a child's standard output for as long as it lives, so that it never blocks on it.
fn lines(child: &mut Child) -> Receiver<String> {
    let stdout = child.stdout.take().expect("a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Waits for the server's "Ready" line; gives the addresses that it named before: PostgreSQL's, and
/// that of the web pages.
fn ready_addresses(lines: &Receiver<String>) -> Result<(SocketAddr, SocketAddr), String> {
    let deadline = Instant::now() + DEADLINE;
    let (mut address, mut web_address) = (None, None);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).map_err(|e| match e {
            RecvTimeoutError::Timeout => "it says nothing".to_owned(),
            RecvTimeoutError::Disconnected => "it has ended".to_owned(),
        })?;
        if let Some(rest) = line.trim().strip_prefix("PostgreSQL ") {
            address = rest.split_whitespace().next().and_then(|a| a.parse().ok());
        }
        if let Some(rest) = line.trim().strip_prefix("web pages ") {
            let rest = rest.trim().trim_start_matches("http://");
            web_address = rest.trim_end_matches('/').parse().ok();
        }
        if line.starts_with("Ready ") {
            let both = address.zip(web_address);
            return both.ok_or_else(|| "it named no addresses".to_owned());
        }
    }
}

/// The bootstrap role: whoever runs the tests.
pub fn superuser() -> String {
    whoami::username().expect("a user who runs the tests")
}

/// A client, with its connection looked after.
pub async fn connect(config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // Its errors reach the client too.
        let _ = connection.await;
    });
    Ok(client)
}

/// TPC-H data at scale 0.01, made once for all tests of all test binaries.
pub fn tpch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).expect("a folder for test data");
    let out = folder.join("tpch-0.01");
    let lock = File::create(folder.join("tpch-0.01.lock")).expect("a lock file");
    lock.lock().expect("the lock on the test data");
    let made = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["tpch", "generate", "--scale", "0.01", "--out"])
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .expect("the generator starts");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no test data: {said}");
    out
}

/// The rows of a simple query as text, NULL as `NULL`.
pub async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|e| panic!("{sql}: {}", explain(&e)));
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|i| row.get(i).unwrap_or("NULL").to_owned())
                .collect(),
        ),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// The only value of a simple query.
pub async fn value(client: &Client, sql: &str) -> String {
    let rows = rows(client, sql).await;
    match rows.as_slice() {
        [row] if row.len() == 1 => row[0].clone(),
        other => panic!("{sql}: not one value but {other:?}"),
    }
}

/// An error as `SQLSTATE: message`.
pub fn explain(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return error.to_string();
    };
    let mut text = format!("{}: {}", db.code().code(), db.message());
    for (name, part) in [("detail", db.detail()), ("hint", db.hint())] {
        if let Some(part) = part {
            let _ = write!(text, " ({name}: {part})");
        }
    }
    text
}

/// The SQLSTATE of a statement that must fail.
pub async fn failure(client: &Client, sql: &str) -> SqlState {
    match client.simple_query(sql).await {
        Ok(_) => panic!("{sql}: no error"),
        Err(error) => match error.code() {
            Some(code) => code.clone(),
            None => panic!("{sql}: {error}"),
        },
    }
}

/// Waits until `condition` holds, and fails with `what` if it never does.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until a new client is the only session, no other socket is open, and it is served.
pub async fn all_given_back(server: &Server, sockets_at_rest: usize) {
    let client = server.client().await;
    eventually("only the asking session is left", async || {
        value(&client, "SELECT count(*) FROM pg_stat_activity").await == "1"
    })
    .await;
    eventually("the sockets of former clients are closed", async || {
        server.sockets() <= sockets_at_rest + 1
    })
    .await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
}
