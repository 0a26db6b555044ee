//! How the files are that ended queries are archived in: a warning on the first page, and JSON.

use chrono::{DateTime, Utc};
use forebay_server::ArchiveHealth;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::app::App;
use crate::format::{self, Foreign};

/// What cannot be written at the moment.
struct Trouble<'a> {
    what: &'static str,
    since: DateTime<Utc>,
    error: &'a str,
    consequence: String,
}

fn troubles(health: &ArchiveHealth) -> Vec<Trouble<'_>> {
    let logs = [
        ("The profile log", &health.profile_log),
        ("The audit log", &health.audit_log),
    ];
    let logs = logs.into_iter().filter_map(|(what, log)| {
        let log = log.as_ref()?;
        Some(Trouble {
            what,
            since: log.failing_since?,
            error: &log.last_trouble.as_ref()?.error,
            consequence: format!(
                "{} lines are missing since the server started.",
                format::count(log.failures)
            ),
        })
    });
    let history = health.history.as_ref().filter(|h| h.is_failing());
    let history = history.and_then(|health| {
        let trouble = health.last_trouble.as_ref()?;
        Some(Trouble {
            what: "The query history",
            since: trouble.time,
            error: &trouble.error,
            consequence: format!(
                "{} queries wait in memory, {} were dropped.",
                format::count(health.pending_rows),
                format::count(health.dropped)
            ),
        })
    });
    logs.chain(history).collect()
}

/// A warning for each file that cannot be written; nothing while all is well.
pub(super) fn warnings(app: &App) -> Markup {
    let health = app.server.archive_health();
    html! {
        @for trouble in troubles(&health) {
            p.problem role="alert" {
                (trouble.what) " cannot be written (" (format::moment(trouble.since)) "): "
                (Foreign(trouble.error)) ". " (trouble.consequence)
            }
        }
    }
}

/// The same for programs.
pub(super) fn json(app: &App) -> Value {
    let health = app.server.archive_health();
    let log = |log: &forebay_server::LogHealth| {
        json!({
            "failures": log.failures,
            "failing_since": log.failing_since.map(format::exact_moment),
            "last_error": log.last_trouble.as_ref().map(|trouble| &trouble.error),
        })
    };
    let history = health.history.as_ref().map(|h| {
        json!({
            "failures": h.failures,
            "failing": h.is_failing(),
            "last_error": h.last_trouble.as_ref().map(|trouble| &trouble.error),
            "queries": h.file_rows,
            "waiting_queries": h.pending_rows,
            "dropped_queries": h.dropped,
            "files": h.files,
            "bytes": h.file_bytes,
        })
    });
    json!({
        "profile_log": health.profile_log.as_ref().map(log),
        "audit_log": health.audit_log.as_ref().map(log),
        "history": history,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_server::{HistoryHealth, LogHealth};

    #[test]
    fn only_what_fails_now_is_told() {
        let mut health = ArchiveHealth {
            profile_log: None,
            audit_log: Some(LogHealth::default()),
            history: Some(HistoryHealth::default()),
        };
        assert!(troubles(&health).is_empty());
        let trouble = forebay_server::Trouble {
            time: Utc::now(),
            error: "no room".to_owned(),
        };
        health.audit_log = Some(LogHealth {
            failures: 1,
            failing_since: None,
            last_trouble: Some(trouble.clone()),
        });
        assert!(troubles(&health).is_empty(), "it is over");
        health.audit_log.as_mut().unwrap().failing_since = Some(trouble.time);
        health.history.as_mut().unwrap().last_trouble = Some(trouble.clone());
        let told: Vec<_> = troubles(&health).iter().map(|t| t.what).collect();
        assert_eq!(told, ["The audit log", "The query history"]);
        health.history.as_mut().unwrap().last_flush = Some(trouble.time);
        assert_eq!(troubles(&health).len(), 1);
    }
}
