//! Disks that are full and folders that cannot be written, while queries end: no client notices, the
//! operator is told, nothing is half-written, and it goes on when it can.
//!
//! The disks are real ones: a file system in memory in a namespace of its own, where the kernel allows
//! that, and a limit of the size of files, which everybody may set.

mod common;
#[path = "web/http.rs"]
mod http;

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Server, eventually, value};
use forebay_lifecycle::ProfileReader;
use http::{get, json, metric};
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::Client;

/// A file system of 4 MiB.
const MOUNTED: &str = r#"mount -t tmpfs -o size=4m tmpfs "$FOREBAY_DISK" && exec "$@""#;

/// A limit of 1 MiB for each file. Beyond it writing fails, because the signal is ignored.
const LIMITED: &str = r#"trap "" XFSZ; ulimit -f 2048; exec "$@""#;

/// A server on a disk that is soon full.
struct SmallDisk {
    server: Server,
    folder: TempDir,
    /// The data directory as this process sees it; it stays when the server has ended.
    data: File,
    is_mounted: bool,
}

impl SmallDisk {
    /// On each kind of disk that can be had here.
    fn each(arguments: &[&str]) -> Vec<Self> {
        let mut disks = vec![Self::limited(arguments)];
        match may_mount() {
            Ok(()) => disks.push(Self::mounted(arguments)),
            Err(why) => eprintln!("no file system can be mounted here: {why}"),
        }
        disks
    }

    fn limited(arguments: &[&str]) -> Self {
        let mut program = Command::new("sh");
        program.args(["-c", LIMITED, "sh", env!("CARGO_BIN_EXE_forebay")]);
        Self::start(&common::superuser(), program, arguments, false)
    }

    fn mounted(arguments: &[&str]) -> Self {
        let mut program = Command::new("unshare");
        program.args(["--map-root-user", "--mount", "sh", "-c", MOUNTED, "sh"]);
        program.arg(env!("CARGO_BIN_EXE_forebay"));
        Self::start("root", program, arguments, true)
    }

    fn start(superuser: &str, mut program: Command, arguments: &[&str], is_mounted: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("the place of the data directory");
        program.env("FOREBAY_DISK", &data);
        let server = Server::start_as(superuser, program, folder.path(), arguments);
        let server = server.unwrap_or_else(|e| panic!("{e}"));
        // The process sees what nobody else does.
        let seen = match is_mounted {
            true => format!("/proc/{}/root{}", server.pid(), data.display()),
            false => data.display().to_string(),
        };
        Self {
            server,
            data: File::open(seen).expect("the data directory"),
            folder,
            is_mounted,
        }
    }

    /// A file or folder of the data directory.
    fn path(&self, name: &str) -> PathBuf {
        path_in(&self.data, name)
    }

    /// Takes all the room that is left.
    async fn fill(&self, client: &Client) {
        if !self.is_mounted {
            // A file at a time is full, to its last thousand bytes.
            for bytes in [200_000, 20_000, 2000, 200] {
                let long = "x".repeat(bytes);
                for _ in 0..10 {
                    value(client, &format!("SELECT 1 /* {long} */")).await;
                }
            }
            return;
        }
        let mut ballast = File::create(self.path("ballast")).expect("a file");
        for bytes in [64 * 1024, 1] {
            let block = vec![0; bytes];
            let error = loop {
                if let Err(error) = ballast.write_all(&block) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    /// Gives room back.
    fn clear(&self) {
        if self.is_mounted {
            fs::remove_file(self.path("ballast")).expect("it is there");
            return;
        }
        for log in ["audit/audit.log", "profiles/profile.log"] {
            fs::write(self.path(log), "").expect("it is there");
        }
    }
}

fn path_in(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

fn may_mount() -> Result<(), String> {
    let folder = TempDir::new().expect("a folder");
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--mount"])
        .args(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(why) => Err(format!("unshare: {why}")),
    }
}

/// Runs so many statements, all of which must be answered.
async fn run(client: &Client, name: &str, statements: usize) {
    for number in 0..statements {
        let statement = format!("SELECT {number} /* {name} */");
        assert_eq!(value(client, &statement).await, number.to_string());
    }
}

async fn failing(server: &Server, file: &str) -> bool {
    metric(
        server,
        &format!("forebay_archive_failing{{file=\"{file}\"}}"),
    )
    .await
        > 0.0
}

/// The statements in the audit log. The last line may be in the middle of being written.
fn audited(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).expect("an audit log");
    let statement = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        event["statement"].as_str().expect("a text").to_owned()
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(statement).collect()
}

/// Nothing is half there in a log that nobody writes at the moment.
fn assert_whole(log: &Path) {
    let text = fs::read_to_string(log).expect("a log");
    assert!(text.is_empty() || text.ends_with('\n'), "{}", log.display());
}

fn count(statements: &[String], name: &str) -> usize {
    statements.iter().filter(|s| s.contains(name)).count()
}

/// A number about the history in a data directory, read by another server. The history is a copy:
/// only this process sees the disk.
async fn of_history(data: &File, sql: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    let copy = folder.path().join("history");
    fs::create_dir(&copy).expect("a folder");
    for entry in fs::read_dir(path_in(data, "history")).expect("a history") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let reader = Server::start(&[copy.to_str().expect("a path in UTF-8")]);
    let answer = value(&reader.client().await, sql).await;
    reader.stop();
    answer
}

#[tokio::test]
async fn a_full_disk_holds_up_no_query_and_is_told() {
    for disk in SmallDisk::each(&["--audit-log", "on"]) {
        let server = &disk.server;
        let client = server.client().await;
        run(&client, "before", 5).await;
        eventually("they are archived", async || {
            count(&audited(&disk.path("audit/audit.log")), "before") == 5
        })
        .await;
        disk.fill(&client).await;
        run(&client, "while it is full", 20).await;

        // A limit of size concerns a file when it has become so large.
        let files: &[&str] = match disk.is_mounted {
            true => &["audit_log", "profile_log", "history"],
            false => &["audit_log", "history"],
        };
        for file in files {
            eventually(file, async || failing(server, file).await).await;
        }
        eventually("no query stays behind", async || {
            json(server, "/queries").await["num_in_flight_queries"] == 0
        })
        .await;
        let overview = get(server, "/").await.body;
        assert!(
            overview.contains("The audit log cannot be written"),
            "{overview}"
        );
        assert!(overview.contains("audit/audit.log: "), "{overview}");
        let archive = &json(server, "/").await["archive"];
        assert!(
            archive["audit_log"]["failures"].as_u64() > Some(0),
            "{archive}"
        );
        assert_eq!(archive["history"]["dropped_queries"], 0, "{archive}");
        let log = server.log();
        assert!(
            log.contains("events of the audit log cannot be written"),
            "{log}"
        );
        assert!(
            log.contains("the journal of the query history cannot be written"),
            "{log}"
        );
        // A failure a query would fill the operator's disk too.
        let told = log
            .matches("events of the audit log cannot be written")
            .count();
        assert!(told <= 5, "{told} lines:\n{log}");

        disk.clear();
        run(&client, "afterwards", 5).await;
        for log in ["audit_log", "profile_log"] {
            eventually("it goes on", async || !failing(server, log).await).await;
        }
        eventually("the last are archived", async || {
            count(&audited(&disk.path("audit/audit.log")), "afterwards") == 5
        })
        .await;
        let log = server.log();
        assert!(
            log.contains("events of the audit log are written again"),
            "{log}"
        );
        for log in ["audit/audit.log", "profiles/profile.log"] {
            assert_whole(&disk.path(log));
        }
        let mut profiles = ProfileReader::open(&disk.path("profiles/profile.log")).expect("a log");
        assert!(profiles.by_ref().all(|entry| entry.is_ok()));
        assert_eq!(profiles.broken(), 0);
        let registered = metric(server, "forebay_queries_registered_total").await;
        drop(client);
        let SmallDisk {
            server,
            data,
            folder: _folder,
            ..
        } = disk;
        server.stop();
        // What the history could not write has waited.
        let rows = of_history(&data, "SELECT count(*) FROM history").await;
        assert_eq!(rows, registered.to_string());
        let ids = of_history(&data, "SELECT count(DISTINCT query_id) FROM history").await;
        assert_eq!(ids, registered.to_string());
    }
}

#[tokio::test]
async fn a_server_that_must_not_lose_an_audit_event_stops() {
    let arguments = ["--audit-log", "on", "--abort-on-failed-audit-event", "on"];
    for disk in SmallDisk::each(&arguments) {
        let client = disk.server.client().await;
        run(&client, "before", 5).await;
        if disk.is_mounted {
            disk.fill(&client).await;
        }
        // Each is longer than a block of the disk. The last ones meet a server that stops.
        let long = "x".repeat(200_000);
        while client
            .simple_query(&format!("SELECT 1 /* {long} */"))
            .await
            .is_ok()
        {}
        let SmallDisk {
            server,
            data,
            folder: _folder,
            ..
        } = disk;
        let (status, said, log) = server.ended();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(said.iter().any(|line| line == "Stopped."), "{said:?}");
        let last = log.lines().last().expect("a message");
        let start = "forebay: stopped because an audit event could not be written \
                     (abort_on_failed_audit_event): cannot write to ";
        assert!(
            last.starts_with(start) && last.contains("audit/audit.log: "),
            "{last}"
        );
        let audit = path_in(&data, "audit/audit.log");
        assert_whole(&audit);
        assert_eq!(count(&audited(&audit), "before"), 5);
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[tokio::test]
async fn folders_that_cannot_be_written_hold_up_no_query() {
    // Each event needs a new file.
    let folder = TempDir::new().expect("a folder");
    let arguments = ["--audit-log", "on", "--archive-log-file-size", "4kB"];
    let server = Server::unprivileged_in(folder.path(), &arguments);
    let client = server.client().await;
    let data = folder.path().join("data");
    let allow = |mode| {
        for folder in ["audit", "profiles", "history"] {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(data.join(folder), mode).expect("our own folder");
        }
    };
    let long = "x".repeat(4000);
    let statement = |name: &str| format!("SELECT 1 /* {name} {long} */");
    value(&client, &statement("before")).await;
    eventually("it is archived", async || {
        count(&audited(&data.join("audit/audit.log")), "before") == 1
    })
    .await;
    allow(0o555);
    for _ in 0..5 {
        assert_eq!(value(&client, &statement("meanwhile")).await, "1");
    }
    eventually("it is told", async || failing(&server, "audit_log").await).await;
    let log = server.log();
    assert!(log.contains("Permission denied"), "{log}");
    allow(0o755);
    value(&client, &statement("afterwards")).await;
    eventually("it goes on", async || {
        !failing(&server, "audit_log").await && !failing(&server, "profile_log").await
    })
    .await;
    eventually("the last is archived", async || {
        count(&audited(&data.join("audit/audit.log")), "afterwards") == 1
    })
    .await;
    let audit = forebay_lifecycle::files_of_log(&data.join("audit/audit.log")).expect("a log");
    let statements: Vec<String> = audit.iter().flat_map(|file| audited(file)).collect();
    let found = ["before", "meanwhile", "afterwards"].map(|name| count(&statements, name));
    assert_eq!((found[0], found[2]), (1, 1));
    assert!(found[1] < 5, "{found:?}");
    drop(client);
    server.stop();
    let data = File::open(&data).expect("the data directory");
    assert_eq!(of_history(&data, "SELECT count(*) FROM history").await, "7");
}
