//! For front ends whose clients run several statements of one session at once.
//!
//! A [`Session`] runs one statement after the other, in its own transaction. A client that may have
//! many of them open gets a session that keeps its place, settings and role, and a companion of it
//! for each statement: a session with the same settings and a transaction of its own, which takes no
//! place of its own in the limits on sessions.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use forebay_lifecycle::QueryId;
use forebay_sql::Parsed;

use crate::interrupt::Interrupt;
use crate::limits::KeptBytes;
use crate::portals::Portals;
use crate::repeated::Repeated;
use crate::session::{Vantages, stored_values};
use crate::sessions::NewHandle;
use crate::transaction::Transaction;
use crate::way::Request;
use crate::{Error, Prepared, Response, Result, Rows, Session};

impl Session {
    /// A session with the same identity and settings, for one statement beside others.
    #[must_use]
    pub fn companion(&self) -> Self {
        let sessions = &self.server.inner.sessions;
        let new = NewHandle {
            owner: self.server.inner.admission.begin(),
            user: self.handle.user.clone(),
            superuser: self.handle.superuser,
            database: self.handle.database.clone(),
            application_name: self.setting("application_name").to_owned(),
            client_address: self.handle.client_address.clone(),
            client_port: self.handle.client_port,
        };
        let handle = sessions.open_companion(new, self.handle.pid);
        Self {
            server: self.server.clone(),
            portals: Portals::new(Arc::clone(&handle)),
            kept: KeptBytes::default(),
            handle,
            identity: self.identity.clone(),
            settings: self.settings.clone(),
            transaction: Transaction::None,
            prepared: std::collections::HashMap::new(),
            repeated: Repeated::default(),
            vantages: Vantages::default(),
            notices: Arc::default(),
            in_script: false,
            told: std::collections::HashMap::new(),
            hides_plans: false,
        }
    }

    /// Gives a setting a value, as `SET` does.
    ///
    /// # Errors
    /// An unknown setting, a value that it does not take, or one for superusers.
    pub fn put_setting(&mut self, name: &str, value: &str) -> Result<()> {
        self.change_setting(name, Some(&stored_values(name, value)), false)
    }

    /// From now on statements of the session are shown without a plan: they are queries of the system
    /// catalog that stand for what its client has asked for in other words.
    pub fn hide_plans(&mut self) {
        self.hides_plans = true;
    }

    /// The role that logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.identity.login_role
    }

    /// The resource queue that governs the session's statements, if one does.
    #[must_use]
    pub fn resource_queue(&self) -> Option<Arc<str>> {
        self.queue_of_role().map(|queue| queue.name)
    }

    /// Whether there is such a schema.
    #[must_use]
    pub fn has_schema(&self, name: &str) -> bool {
        let snapshot = self.snapshot();
        snapshot.schema(name).is_some()
            || ["information_schema", "pg_catalog", "gp_toolkit", "forebay"].contains(&name)
    }

    /// Runs a prepared statement, without parameters, as the query `id`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn execute_as(
        &mut self,
        id: QueryId,
        prepared: &Arc<Prepared>,
        parsed: &Arc<Parsed>,
    ) -> Result<Response> {
        self.run(Request {
            id: Some(id),
            prepared: Some(Arc::clone(prepared)),
            ..Request::plain(Arc::clone(parsed))
        })
        .await
    }

    /// Book-keeps the query `id`, whose rows the front end has made.
    pub fn answer_with(
        &mut self,
        id: QueryId,
        text: &Arc<str>,
        statement_type: &'static str,
        rows: RecordBatch,
    ) -> Rows {
        let running = self.register(Some(id), text, statement_type);
        Rows::of_batch(rows, running, statement_type)
    }

    /// Book-keeps the query `id`, which has failed before it could run.
    pub fn refuse(
        &mut self,
        id: QueryId,
        text: &Arc<str>,
        statement_type: &'static str,
        error: &Error,
    ) {
        let running = self.register(Some(id), text, statement_type);
        running.finish(Err(error));
    }

    /// Waits until the session is to end: at once, or, where it is told so first, once it has nothing
    /// to do. Cancel safe.
    pub fn end_requested(&self) -> impl Future<Output = EndRequest> + use<> {
        let handle = Arc::clone(&self.handle);
        async move {
            tokio::select! {
                biased;
                interrupt = handle.termination.interrupted() => EndRequest::AtOnce(interrupt),
                _ = handle.drain.interrupted() => EndRequest::WhenIdle,
            }
        }
    }
}

/// How a session is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndRequest {
    /// Whatever it does, for this reason.
    AtOnce(Interrupt),
    /// Once nothing runs: the server stops.
    WhenIdle,
}
