//! The audit log: rotated files of JSON lines, one event for each statement.
//!
//! [`AuditLog::write`] tells whether the event is in the log. What follows from a failure is the
//! caller's: with `abort_on_failed_audit_event` the server ends.

use crate::rotated::{RotatedFile, Rotation};
use crate::{AuditFound, AuditSearch, QueryId};
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use std::io;
use std::path::{Path, PathBuf};

/// One statement as an auditor wants to know of it. Its JSON has the fields' names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEvent<'a> {
    /// When the statement was registered; in JSON as RFC 3339 in UTC, to the microsecond.
    #[serde(serialize_with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The query's name.
    #[serde(serialize_with = "display")]
    pub query_id: QueryId,
    /// The session's number.
    pub session_id: i32,
    /// Who: the role that logged in.
    pub role: &'a str,
    /// As whom: the role in force.
    pub effective_role: &'a str,
    /// From where: the client's address and port, or `local`.
    pub client_address: &'a str,
    /// The database of the session.
    pub database: &'a str,
    /// The kind of statement, for example `SELECT`.
    pub statement_type: &'a str,
    /// The statement's text, redacted and cut (see [`crate::Redactor`]).
    pub statement: &'a str,
    /// What the statement wanted to do to which objects.
    pub objects: &'a [AuditObject],
    /// Whether privileges allowed it.
    pub allowed: bool,
    /// How it ended: `OK`, or the error.
    pub status: &'a str,
    /// The error's five characters; `null` without an error.
    pub sqlstate: Option<&'a str>,
}

/// An object that a statement names, with the privilege that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditObject {
    /// Its name, with its schema where it has one.
    pub name: String,
    /// What it is, for example `TABLE`.
    pub kind: &'static str,
    /// The privilege, for example `SELECT`.
    pub privilege: &'static str,
}

/// The audit log. Threads may share it.
pub struct AuditLog {
    path: PathBuf,
    file: Mutex<RotatedFile>,
}

impl AuditLog {
    /// Continues the log at `path`, or begins it.
    ///
    /// # Errors
    ///
    /// When its folder or file cannot be made, read or written.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        Ok(AuditLog {
            path: path.to_path_buf(),
            file: Mutex::new(RotatedFile::open(path, rotation)?),
        })
    }

    /// Writes one event. A crash of the process loses no event that was written.
    ///
    /// # Errors
    ///
    /// Names the file and the reason. Nothing of the event is in the log then, and the next one is
    /// written when the reason is gone.
    pub fn write(&self, event: &AuditEvent<'_>) -> io::Result<()> {
        let line = serde_json::to_vec(event)?;
        self.file.lock().append(&line)
    }

    /// Waits until every event is on the disk, so that the loss of power loses none.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.file.lock().sync()
    }

    /// The newest events that are wanted, out of the last 64 MiB of the log. Writers are not held up.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn search(&self, wanted: &AuditSearch) -> io::Result<AuditFound> {
        crate::audit_search::search(&self.path, wanted)
    }
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn display<S: Serializer>(id: &QueryId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;
    use tempfile::TempDir;

    fn event<'a>(statement: &'a str, objects: &'a [AuditObject]) -> AuditEvent<'a> {
        AuditEvent {
            time: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
            query_id: QueryId::from_halves(1, 2),
            session_id: 17,
            role: "ada",
            effective_role: "analyst",
            client_address: "127.0.0.1:5000",
            database: "forebay",
            statement_type: "SELECT",
            statement,
            objects,
            allowed: false,
            status: "permission denied for table t",
            sqlstate: Some("42501"),
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_the_statement_is() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path, Rotation::default()).unwrap();
        let objects = [AuditObject {
            name: "public.t".into(),
            kind: "TABLE",
            privilege: "SELECT",
        }];
        let statements = [
            "SELECT 1",
            "a\nb\r\n\u{2028}\0\"\\",
            "</script>\u{202e}",
            "",
        ];
        for statement in statements {
            log.write(&event(statement, &objects)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let found: Vec<_> = lines
            .iter()
            .map(|line| line["statement"].as_str().unwrap())
            .collect();
        assert_eq!(found, statements);
        let expected = json!({
            "time": "2023-11-14T22:13:20.000001Z",
            "query_id": "0000000000000001:0000000000000002",
            "session_id": 17,
            "role": "ada",
            "effective_role": "analyst",
            "client_address": "127.0.0.1:5000",
            "database": "forebay",
            "statement_type": "SELECT",
            "statement": "SELECT 1",
            "objects": [{"name": "public.t", "kind": "TABLE", "privilege": "SELECT"}],
            "allowed": false,
            "status": "permission denied for table t",
            "sqlstate": "42501",
        });
        assert_eq!(lines[0], expected);
    }

    #[test]
    fn threads_share_the_log() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.log");
        let rotation = Rotation {
            max_file_bytes: 4000,
            max_files: 1000,
        };
        let log = AuditLog::open(&path, rotation).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| log.write(&event("SELECT 1", &[])).unwrap()));
            }
        });
        let files = crate::files_of_log(&path).unwrap();
        assert!(files.len() > 10);
        let mut events = 0;
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            assert!(text.len() <= 4000);
            for line in text.lines() {
                serde_json::from_str::<Value>(line).unwrap();
                events += 1;
            }
        }
        assert_eq!(events, 400);
    }
}
