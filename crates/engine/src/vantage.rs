//! From where a statement looks at the world.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::prelude::SessionConfig;
use forebay_catalog::Snapshot;

use crate::catalogs::PG_CATALOG;
use crate::{EngineError, Notice, Notices, memory};

/// What functions and system views may know about the session that asks.
///
/// It travels inside DataFusion's configuration, the only thing that both planning and running
/// functions are handed.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// The session's process id, as `pg_backend_pid()` shows it.
    pub pid: i32,
    /// The database name that the client connected with.
    pub database: String,
    /// The role whose rights are in force (`current_user`).
    pub current_user: String,
    /// The role that `SET SESSION AUTHORIZATION` chose, or that logged in (`session_user`).
    pub session_user: String,
    /// Whether `current_user` is a superuser.
    pub superuser: bool,
    /// Schemas in the order in which unqualified names are looked up.
    pub search_path: Vec<String>,
    /// Every setting's current value by its lower-case name (`current_setting`).
    pub settings: Arc<BTreeMap<String, String>>,
    /// The catalog that this statement sees.
    pub snapshot: Arc<Snapshot>,
    /// Where functions put messages for the session's client.
    pub notices: Arc<Notices>,
}

impl SessionFacts {
    /// Warns the session's client, if it wants warnings.
    pub(crate) fn warn(&self, sqlstate: &'static str, message: String) {
        let least = self.settings.get("client_min_messages");
        let notice = Notice {
            severity: "WARNING",
            sqlstate,
            message,
        };
        self.notices.add(notice, least.map_or("", String::as_str));
    }
}

impl SessionFacts {
    /// The schemas that unqualified names are looked up in: `pg_catalog` comes first, unless the
    /// search path says where.
    pub(crate) fn searched_schemas(&self) -> impl Iterator<Item = &str> {
        searched(&self.search_path)
    }
}

/// The schemas that a search path leads to.
pub(crate) fn searched(search_path: &[String]) -> impl Iterator<Item = &str> {
    let named = search_path.iter().any(|s| s == PG_CATALOG);
    let implicit = (!named).then_some(PG_CATALOG);
    implicit
        .into_iter()
        .chain(search_path.iter().map(String::as_str))
}

/// A statement's point of view: facts, options, and the time that `now()` gives.
#[derive(Debug, Clone)]
pub struct Vantage {
    pub(crate) config: SessionConfig,
    pub(crate) facts: Arc<SessionFacts>,
    pub(crate) transaction_start: DateTime<Utc>,
    /// Views that are being resolved around this point of view.
    pub(crate) view_depth: usize,
}

impl Vantage {
    /// Combines a session's facts with its DataFusion options (`datafusion.*` settings).
    ///
    /// # Errors
    /// When an option is unknown to DataFusion or its value is invalid.
    pub fn new(
        base: &SessionConfig,
        facts: SessionFacts,
        options: &[(String, String)],
        time_zone: &str,
        transaction_start: DateTime<Utc>,
    ) -> std::result::Result<Self, EngineError> {
        let facts = Arc::new(facts);
        let mut config = base.clone();
        let target = config.options_mut();
        for (name, value) in options {
            target.set(name, value)?;
        }
        target.execution.time_zone = Some(time_zone.to_owned());
        target.catalog.default_schema = crate::catalogs::SEARCH_PATH_SCHEMA.to_owned();
        target
            .extensions
            .insert(FactsExtension::of(Arc::clone(&facts)));
        Ok(Self {
            config,
            facts,
            transaction_start,
            view_depth: 0,
        })
    }

    /// Nobody's point of view on `snapshot`: relations are described the same to everybody.
    pub(crate) fn nobodys(snapshot: Arc<Snapshot>) -> std::result::Result<Self, EngineError> {
        let facts = SessionFacts {
            pid: 0,
            database: crate::DATABASE.to_owned(),
            current_user: String::new(),
            session_user: String::new(),
            superuser: false,
            search_path: vec!["public".to_owned()],
            settings: Arc::new(BTreeMap::new()),
            snapshot,
            notices: Arc::default(),
        };
        let config = crate::EngineConfig::default().session_config();
        Self::new(&config, facts, &[], "UTC", Utc::now())
    }

    /// The same catalog, search path and depth, with the options that every session starts from.
    pub(crate) fn with_base_options(&self) -> std::result::Result<Self, EngineError> {
        Ok(Self {
            view_depth: self.view_depth,
            ..Self::nobodys(Arc::clone(&self.facts.snapshot))?
        })
    }

    /// The same point of view in a transaction that began at `transaction_start`.
    #[must_use]
    pub fn at(&self, transaction_start: DateTime<Utc>) -> Self {
        Self {
            transaction_start,
            ..self.clone()
        }
    }

    /// The session's time zone.
    pub(crate) fn time_zone(&self) -> &str {
        let zone = &self.config.options().execution.time_zone;
        zone.as_deref().unwrap_or("UTC")
    }

    /// The facts that this vantage was made from.
    #[must_use]
    pub fn facts(&self) -> &SessionFacts {
        &self.facts
    }

    /// The same point of view with unqualified names looked up in `search_path`.
    pub(crate) fn with_search_path(&self, search_path: &[String]) -> Self {
        let mut facts = (*self.facts).clone();
        facts.search_path = search_path.to_vec();
        let facts = Arc::new(facts);
        let mut config = self.config.clone();
        config
            .options_mut()
            .extensions
            .insert(FactsExtension::of(Arc::clone(&facts)));
        Self {
            config,
            facts,
            transaction_start: self.transaction_start,
            view_depth: self.view_depth,
        }
    }

    /// The same point of view, for a plan whose operators have `limit_bytes` together. `width` are
    /// the bytes of the widest rows that are expected ([`Plan::row_width`]).
    ///
    /// [`Plan::row_width`]: crate::Plan::row_width
    #[must_use]
    pub fn within(&self, limit_bytes: u64, width: f64) -> Self {
        let mut config = memory::planned(&self.config, limit_bytes, width);
        config.options_mut().extensions.insert(FactsExtension {
            facts: Arc::clone(&self.facts),
            memory_limit_bytes: Some(limit_bytes),
        });
        Self {
            config,
            ..self.clone()
        }
    }

    /// The point of view of a view's query.
    pub(crate) fn inside_view(&self, search_path: &[String]) -> Self {
        Self {
            view_depth: self.view_depth + 1,
            ..self.with_search_path(search_path)
        }
    }
}

/// Reads the facts back from the options that a function or a system view is called with.
pub(crate) fn facts(options: &ConfigOptions) -> Result<&Arc<SessionFacts>> {
    match options.extensions.get::<FactsExtension>() {
        Some(extension) => Ok(&extension.facts),
        None => exec_err!("this function needs a session"),
    }
}

/// The memory for which a plan is made, in bytes; `None` is ample.
pub(crate) fn memory_limit(options: &ConfigOptions) -> Option<u64> {
    let extension = options.extensions.get::<FactsExtension>()?;
    extension.memory_limit_bytes
}

#[derive(Debug, Clone)]
struct FactsExtension {
    facts: Arc<SessionFacts>,
    memory_limit_bytes: Option<u64>,
}

impl FactsExtension {
    fn of(facts: Arc<SessionFacts>) -> Self {
        Self {
            facts,
            memory_limit_bytes: None,
        }
    }
}

impl ConfigExtension for FactsExtension {
    const PREFIX: &'static str = "forebay_session";
}

impl ExtensionOptions for FactsExtension {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!(
            "parameter \"{}.{key}\" cannot be changed",
            Self::PREFIX
        )))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
