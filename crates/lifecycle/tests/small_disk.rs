//! Audit log and history on a disk that becomes full, a real one each time.
//!
//! A process of its own fills it: under a limit of the size of files, which everybody may set, and on a
//! file system of 64 KiB in memory, where the kernel allows mounting one in a namespace of its own.

use chrono::Utc;
use forebay_lifecycle::{
    AuditEvent, AuditLog, History, HistoryOptions, QueryId, QueryRecord, Rotation,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

/// Tells the process that fills the disk which folder is on it.
const FOLDER: &str = "FOREBAY_SMALL_DISK";

/// A limit of 64 KiB for each file. Beyond it writing fails, because the signal is ignored.
const LIMITED: &str = r#"trap "" XFSZ; ulimit -f 128; exec "$@""#;

/// A file system of 64 KiB.
const MOUNTED: &str = r#"mount -t tmpfs -o size=64k tmpfs "$FOREBAY_SMALL_DISK" && exec "$@""#;

/// Runs the test `name` of this file on small disks, in processes of their own.
fn on_small_disks(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let run = |shell: &mut Command| -> Output {
        shell
            .arg("sh")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, folder.path())
            .output()
            .unwrap()
    };
    let check = |output: Output| {
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}\n{errors}");
        assert!(told.contains("1 passed"), "{told}\n{errors}");
    };
    check(run(Command::new("sh").args(["-c", LIMITED])));

    let own_namespace = ["--map-root-user", "--mount"];
    let may_mount = Command::new("unshare")
        .args(own_namespace)
        .args(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .output();
    match may_mount {
        Ok(output) if output.status.success() => {
            let mut shell = Command::new("unshare");
            check(run(shell.args(own_namespace).args(["sh", "-c", MOUNTED])));
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("{name}: no file system can be mounted here: {why}");
        }
        Err(why) => eprintln!("{name}: no file system can be mounted here: unshare: {why}"),
    }
}

/// The folder, in the process that fills it.
fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Takes a part of the disk, to give it back later.
fn take_room(folder: &Path) -> PathBuf {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![0; 32 * 1024]).unwrap();
    ballast
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge
    )
}

#[test]
fn an_audit_event_that_does_not_fit_is_an_error_and_leaves_nothing() {
    let Some(folder) = folder() else {
        on_small_disks("an_audit_event_that_does_not_fit_is_an_error_and_leaves_nothing");
        return;
    };
    let ballast = take_room(&folder);
    let path = folder.join("audit.log");
    let log = AuditLog::open(&path, Rotation::default()).unwrap();
    let statement = "SELECT 1 -- ".repeat(30);
    let write = |session_id| {
        log.write(&AuditEvent {
            time: Utc::now(),
            query_id: QueryId::random(),
            session_id,
            role: "ada",
            effective_role: "ada",
            client_address: "local",
            database: "forebay",
            statement_type: "SELECT",
            statement: &statement,
            objects: &[],
            allowed: true,
            status: "OK",
            sqlstate: None,
        })
    };
    let whole_events = || {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let session = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["session_id"].as_i64().unwrap()
        };
        text.lines().map(session).collect::<Vec<_>>()
    };

    let (failed, error) = (0..)
        .find_map(|number| write(number).err().map(|error| (number, error)))
        .unwrap();
    assert!(is_full(&error), "{error}");
    assert!(error.to_string().contains("audit.log"), "{error}");
    let written: Vec<i64> = (0..failed.into()).collect();
    assert!(written.len() > 30);
    assert_eq!(whole_events(), written);
    assert!(is_full(&write(failed).unwrap_err()));
    assert_eq!(whole_events(), written);

    // There is room again: on the disk, or in the file.
    fs::remove_file(ballast).unwrap();
    if write(-1).is_err() {
        fs::write(&path, b"").unwrap();
        write(-1).unwrap();
    }
    assert_eq!(whole_events().last(), Some(&-1));
}

#[test]
fn the_history_waits_for_room_and_goes_on() {
    let Some(folder) = folder() else {
        on_small_disks("the_history_waits_for_room_and_goes_on");
        return;
    };
    let ballast = take_room(&folder);
    let path = folder.join("history");
    let options = HistoryOptions {
        // The thread has one turn, at the start.
        flush_interval: Duration::from_secs(3600),
        ..HistoryOptions::default()
    };
    let history = History::open(&path, options.clone()).unwrap();
    let append = |serial: u64| {
        // Texts that do not compress, so that files have a size too.
        let noise: String = (0..20).map(|_| QueryId::random().to_string()).collect();
        history.append(Arc::new(QueryRecord {
            statement: noise,
            ..QueryRecord::new(QueryId::random(), serial, Utc::now())
        }));
    };
    let mut last = 0;
    while history.health().failures == 0 {
        last += 1;
        append(last);
    }
    (last + 1..=last + 10).for_each(append);
    last += 10;
    let rows = || {
        let health = history.health();
        health.file_rows + health.pending_rows
    };
    assert_eq!(rows(), last);
    assert!(
        history
            .health()
            .last_trouble
            .unwrap()
            .error
            .contains("history")
    );
    if let Err(error) = history.flush() {
        // The disk is full, not only the journal.
        assert!(is_full(&error), "{error}");
        assert_eq!(rows(), last);
        let names = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let is_temporary = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".tmp");
        assert!(!names.into_iter().any(|name| is_temporary(&name)));
    }

    fs::remove_file(ballast).unwrap();
    history.flush().unwrap();
    assert_eq!(history.health().file_rows, last);
    append(last + 1);
    history.close().unwrap();
    drop(history);
    let history = History::open(&path, options).unwrap();
    assert_eq!((history.opened().lost, history.opened().recovered), (0, 0));
    assert_eq!(history.health().file_rows, last + 1);
}
