//! Looking for events in the audit log, the newest first.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::backwards::LinesBackwards;
use crate::rotated::open_files_of_log;

/// The longest line that a reader takes into memory: the longest statement that is kept, each of its
/// bytes written as six.
const MAX_LINE_BYTES: usize = 16 << 20;

/// How far back one search goes.
const MAX_SEARCHED_BYTES: u64 = 64 << 20;

/// Which events are wanted; with nothing in it, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditSearch {
    /// Of this role, as which the session logged in or in force; empty for everybody.
    pub role: String,
    /// With this text, in any letter case, in the statement, its status, the name of an object or the
    /// query's id; empty for all.
    pub text: String,
    /// Only statements that privileges did not allow.
    pub refused_only: bool,
    /// So many of them are left out, the newest.
    pub skip: usize,
    /// At most so many are given.
    pub limit: usize,
}

/// An event as it was written; see [`crate::AuditEvent`], whose fields have the same meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are AuditEvent's")]
pub struct AuditRecord {
    pub time: String,
    pub query_id: String,
    pub session_id: i32,
    pub role: String,
    pub effective_role: String,
    pub client_address: String,
    pub database: String,
    pub statement_type: String,
    pub statement: String,
    pub objects: Vec<AuditedObject>,
    pub allowed: bool,
    pub status: String,
    pub sqlstate: Option<String>,
}

/// An object of an [`AuditRecord`]; see [`crate::AuditObject`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are AuditObject's")]
pub struct AuditedObject {
    pub name: String,
    pub kind: String,
    pub privilege: String,
}

/// What a search has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFound {
    /// The events, the newest first.
    pub events: Vec<AuditRecord>,
    /// Whether there may be older ones: there are, or the search did not go back further.
    pub more: bool,
    /// Whether the search has stopped before the oldest event because it had read enough.
    pub stopped: bool,
}

/// Searches the log at `path` with its older files.
pub(crate) fn search(path: &Path, wanted: &AuditSearch) -> io::Result<AuditFound> {
    let mut found = AuditFound::default();
    let text = wanted.text.to_lowercase();
    let (mut skipped, mut bytes_left) = (0, MAX_SEARCHED_BYTES);
    for file in open_files_of_log(path)?.into_iter().rev() {
        let mut lines = LinesBackwards::new(file, MAX_LINE_BYTES)?;
        while let Some(line) = lines.next_line()? {
            // A line that is none was written by somebody else.
            let event: Option<AuditRecord> = serde_json::from_slice(&line).ok();
            let event = event.filter(|event| wanted.is(event, &text));
            match event {
                Some(_) if skipped < wanted.skip => skipped += 1,
                Some(event) if found.events.len() < wanted.limit => found.events.push(event),
                Some(_) => {
                    found.more = true;
                    return Ok(found);
                }
                None => {}
            }
            if lines.bytes_read() > bytes_left {
                (found.more, found.stopped) = (true, true);
                return Ok(found);
            }
        }
        bytes_left = bytes_left.saturating_sub(lines.bytes_read());
    }
    Ok(found)
}

impl AuditSearch {
    /// Whether this is an event that is wanted; `text` is ours in lower case.
    fn is(&self, event: &AuditRecord, text: &str) -> bool {
        let has_text = |field: &str| field.to_lowercase().contains(text);
        let is_of_role =
            self.role.is_empty() || event.role == self.role || event.effective_role == self.role;
        is_of_role
            && !(self.refused_only && event.allowed)
            && (text.is_empty()
                || event.query_id.contains(text)
                || has_text(&event.statement)
                || has_text(&event.status)
                || event.objects.iter().any(|object| has_text(&object.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuditEvent, AuditLog, AuditObject, QueryId, Rotation};
    use chrono::DateTime;
    use std::fs;
    use tempfile::TempDir;

    const ALL: AuditSearch = AuditSearch {
        role: String::new(),
        text: String::new(),
        refused_only: false,
        skip: 0,
        limit: 1000,
    };

    /// A log of so many events in several files: every other one of ada, every third refused.
    fn log_of(events: i32) -> (TempDir, AuditLog) {
        let folder = TempDir::new().unwrap();
        let rotation = Rotation {
            max_file_bytes: 4000,
            max_files: 1000,
        };
        let log = AuditLog::open(&folder.path().join("audit.log"), rotation).unwrap();
        let objects = [AuditObject {
            name: "public.Orders".into(),
            kind: "RELATION",
            privilege: "SELECT",
        }];
        for number in 0..events {
            let statement = format!("SELECT '<{number}>'");
            log.write(&AuditEvent {
                time: DateTime::from_timestamp_micros(number.into()).unwrap(),
                query_id: QueryId::from_halves(1, number as u64),
                session_id: number,
                role: if number % 2 == 0 { "ada" } else { "eve" },
                effective_role: "analyst",
                client_address: "local",
                database: "forebay",
                statement_type: "SELECT",
                statement: &statement,
                objects: &objects[..usize::from(number % 5 == 0)],
                allowed: number % 3 != 0,
                status: if number % 3 == 0 { "Denied" } else { "OK" },
                sqlstate: None,
            })
            .unwrap();
        }
        (folder, log)
    }

    fn numbers(found: &AuditFound) -> Vec<i32> {
        found.events.iter().map(|event| event.session_id).collect()
    }

    #[test]
    fn pages_of_all_events_are_the_log_backwards() {
        let (_folder, log) = log_of(100);
        let mut pages = Vec::new();
        loop {
            let found = log
                .search(&AuditSearch {
                    skip: pages.len(),
                    limit: 7,
                    ..ALL
                })
                .unwrap();
            pages.extend(numbers(&found));
            assert_eq!(found.more, pages.len() < 100);
            if !found.more {
                break;
            }
        }
        assert_eq!(pages, (0..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn events_are_found_by_role_text_and_refusal() {
        let (_folder, log) = log_of(30);
        let found = |search: AuditSearch| numbers(&log.search(&search).unwrap());
        let of = |role: &str| AuditSearch {
            role: role.into(),
            ..ALL
        };
        let with = |text: &str| AuditSearch {
            text: text.into(),
            ..ALL
        };
        assert_eq!(found(of("eve")).len(), 15);
        assert_eq!(found(of("analyst")).len(), 30);
        assert!(found(of("ad")).is_empty());
        assert_eq!(found(with("'<12>'")), [12]);
        assert_eq!(found(with("DENIED")).len(), 10);
        assert_eq!(found(with("orders")), [25, 20, 15, 10, 5, 0]);
        assert_eq!(found(with("0000000000000001:000000000000001d")), [29]);
        let refused = AuditSearch {
            refused_only: true,
            ..of("ada")
        };
        assert_eq!(found(refused), [24, 18, 12, 6, 0]);
    }

    #[test]
    fn what_is_no_event_is_left_out() {
        let (folder, log) = log_of(2);
        let path = folder.path().join("audit.log");
        let mut text = fs::read_to_string(&path).unwrap();
        text.insert_str(0, "{}\nnot json\n");
        fs::write(&path, text + "{\"half").unwrap();
        assert_eq!(numbers(&log.search(&ALL).unwrap()), [1, 0]);
        fs::remove_file(&path).unwrap();
        assert_eq!(log.search(&ALL).unwrap(), AuditFound::default());
    }
}
