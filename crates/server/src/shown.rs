//! Relations as front ends show them.

use std::sync::Arc;

use forebay_catalog::Relation;
use forebay_engine::{CpuAccount, RelationFacts};

use crate::commands::find_relation;
use crate::{Error, Result, Session};

impl Session {
    /// The table or view `name` (one to three parts), as the next statement would see it; `None`
    /// where there is none, also for the system's own.
    #[must_use]
    pub fn relation(&self, name: &[String]) -> Option<Arc<Relation>> {
        let path = self.settings.search_path(self.current_user());
        find_relation(&self.snapshot(), &path, name).cloned()
    }

    /// What is known of that table or view.
    ///
    /// # Errors
    /// `42P01` when there is none, or what its files or its query fail with.
    pub async fn relation_facts(&mut self, name: &[String]) -> Result<RelationFacts> {
        let vantage = self.vantage()?;
        let relation = self.relation(name).ok_or_else(|| {
            Error::new(
                "42P01",
                format!("relation \"{}\" does not exist", name.join(".")),
            )
        })?;
        let engine = self.server.inner.engine.clone();
        let work = async move { engine.relation_facts(&vantage, &relation).await };
        let here = &self.server.inner.engine;
        Ok(here.on_query_runtime(CpuAccount::Ungoverned, work).await?)
    }
}
