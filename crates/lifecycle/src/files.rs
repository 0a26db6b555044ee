//! The files that ended queries are archived in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;

use crate::outage::Outage;
use crate::{
    Archive, AuditEvent, AuditLog, Health, History, HistoryOptions, LogHealth, ProfileLog, Query,
    QueryRecord, Rotation,
};

/// Which files are written.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {
    /// The profile log: a line for each query.
    pub profile_log: bool,
    /// The audit log: a line for each statement.
    pub audit_log: bool,
    /// The bounds of either log.
    pub rotation: Rotation,
    /// The durable history; `None` keeps none.
    pub history: Option<HistoryOptions>,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self {
            profile_log: true,
            audit_log: false,
            rotation: Rotation::default(),
            history: Some(HistoryOptions::default()),
        }
    }
}

/// What to do when an audit event cannot be written.
pub type OnAuditFailure = dyn Fn(&io::Error) + Send + Sync;

/// Archives queries in files below one folder: `profiles/profile.log`, `audit/audit.log` and
/// `history/`.
pub struct ArchiveFiles {
    profile_log: Option<ProfileLog>,
    profile_outage: Outage,
    audit_log: Option<AuditLog>,
    audit_outage: Outage,
    history: Option<Arc<History>>,
    on_audit_failure: Box<OnAuditFailure>,
}

/// How the files are; `None` for what is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveHealth {
    /// The profile log.
    pub profile_log: Option<LogHealth>,
    /// The audit log.
    pub audit_log: Option<LogHealth>,
    /// The history.
    pub history: Option<Health>,
}

impl ArchiveFiles {
    /// Opens the files below `folder`.
    ///
    /// # Errors
    ///
    /// When one of them cannot be made, read or written; with its name and the reason.
    pub fn open(
        folder: &Path,
        options: ArchiveOptions,
        on_audit_failure: Box<OnAuditFailure>,
    ) -> io::Result<Self> {
        let rotation = options.rotation;
        let profile_log = options.profile_log.then(|| Self::profile_log(folder));
        let audit_log = options.audit_log.then(|| folder.join("audit/audit.log"));
        let profile_log = profile_log.map(|path| ProfileLog::open(&path, rotation));
        let audit_log = audit_log.map(|path| AuditLog::open(&path, rotation));
        let history = options
            .history
            .map(|h| History::open(&folder.join("history"), h));
        Ok(Self {
            profile_log: profile_log.transpose()?,
            profile_outage: Outage::new("profiles of the profile log"),
            audit_log: audit_log.transpose()?,
            audit_outage: Outage::new("events of the audit log"),
            history: history.transpose()?.map(Arc::new),
            on_audit_failure,
        })
    }

    /// Where the profile log below `folder` is.
    #[must_use]
    pub fn profile_log(folder: &Path) -> PathBuf {
        folder.join("profiles/profile.log")
    }

    /// The durable history, if there is one.
    pub fn history(&self) -> Option<&Arc<History>> {
        self.history.as_ref()
    }

    /// The audit log, if there is one.
    pub fn audit_log(&self) -> Option<&AuditLog> {
        self.audit_log.as_ref()
    }

    /// How the files are.
    pub fn health(&self) -> ArchiveHealth {
        let profile_log = self.profile_log.as_ref();
        let audit_log = self.audit_log.as_ref();
        ArchiveHealth {
            profile_log: profile_log.map(|_| self.profile_outage.health()),
            audit_log: audit_log.map(|_| self.audit_outage.health()),
            history: self.history.as_ref().map(|history| history.health()),
        }
    }

    fn write_profile(&self, query: &Query) {
        let Some(log) = &self.profile_log else {
            return;
        };
        let payload = query.frozen().encode();
        let written = log.write(Utc::now(), query.id(), payload.as_bytes());
        self.profile_outage
            .note(query.id(), written.as_ref().copied());
    }

    fn write_audit_event(&self, query: &Query, record: &QueryRecord) {
        let Some(log) = &self.audit_log else {
            return;
        };
        let refused = record.sqlstate.as_deref() == Some("42501");
        let event = AuditEvent {
            time: record.start_time,
            query_id: record.query_id,
            session_id: record.session_id,
            role: &record.role,
            effective_role: &record.effective_role,
            client_address: &record.client_address,
            database: &record.database,
            statement_type: &record.statement_type,
            statement: &record.statement,
            objects: &query.facts().objects,
            allowed: !refused,
            status: record.status.as_deref().unwrap_or_default(),
            sqlstate: record.sqlstate.as_deref(),
        };
        let written = log.write(&event);
        self.audit_outage
            .note(query.id(), written.as_ref().copied());
        if let Err(error) = written {
            (self.on_audit_failure)(&error);
        }
    }
}

impl Archive for ArchiveFiles {
    fn registered(&self, serial: u64) {
        if let Some(history) = &self.history {
            history.note_registered(serial);
        }
    }

    fn archive(&self, query: &Query) {
        self.write_profile(query);
        query.set_archived();
        let record = query.record();
        self.write_audit_event(query, &record);
        if let Some(history) = &self.history {
            history.append_of(query, Arc::new(record));
        }
    }

    fn flush(&self) {
        let logs = [
            self.profile_log.as_ref().map(ProfileLog::sync),
            self.audit_log.as_ref().map(AuditLog::sync),
            self.history.as_ref().map(|history| history.close()),
        ];
        for error in logs.into_iter().flatten().filter_map(Result::err) {
            tracing::error!("while closing the archive: {error}");
        }
    }
}
