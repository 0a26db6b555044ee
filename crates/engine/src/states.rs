//! Planning states, borrowed one planning at a time.
//!
//! A DataFusion `SessionState` holds the function registries (some four hundred entries), the
//! optimizer rules and the options. Cloning one per statement or keeping one per session would
//! cost time or memory for nothing, because statements of different sessions differ in three
//! fields only: options, catalog, start time. So states are pooled: a planning takes one,
//! sets these three, and gives it back.

use std::ops::Deref;
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;

use crate::catalogs::SnapshotCatalogs;
use crate::system::{OneReading, System};
use crate::tables::TableProviders;
use crate::{EngineConfig, EngineError, Vantage};

/// Idle states kept for the next plannings; more than this many are dropped.
const MAX_IDLE: usize = 64;

/// The pool of planning states.
pub(crate) struct PlanningStates {
    prototype: SessionState,
    system: Arc<System>,
    idle: Mutex<Vec<SessionState>>,
}

impl PlanningStates {
    pub(crate) fn new(
        config: &EngineConfig,
        environment: &Arc<RuntimeEnv>,
        system: Arc<System>,
    ) -> Result<Self, EngineError> {
        let prototype = system.planning_state(config, environment)?;
        Ok(Self {
            prototype,
            system,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The system tables, which are the same for all.
    pub(crate) fn system(&self) -> &System {
        &self.system
    }

    /// Borrows a state that sees the world from `vantage`.
    pub(crate) fn borrow<'a>(
        &'a self,
        vantage: &Vantage,
        providers: &Arc<TableProviders>,
        engine: &crate::Engine,
    ) -> PlanningState<'a> {
        let idle = self.idle.lock().pop();
        let mut state = idle.unwrap_or_else(|| self.prototype.clone());
        *state.config_mut() = vantage.config.clone();
        let reading = Arc::new(OneReading::default());
        state.config_mut().set_extension(reading);
        state.register_catalog_list(Arc::new(SnapshotCatalogs::new(
            vantage.clone(),
            Arc::clone(providers),
            Arc::clone(&self.system),
            engine.clone(),
        )));
        state.mark_start_execution();
        state.execution_props_mut().query_execution_start_time = Some(vantage.transaction_start);
        PlanningState {
            state: Some(state),
            pool: self,
        }
    }
}

/// A borrowed planning state; goes back to the pool when dropped.
pub(crate) struct PlanningState<'a> {
    state: Option<SessionState>,
    pool: &'a PlanningStates,
}

impl Deref for PlanningState<'_> {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        self.state.as_ref().expect("present until dropped")
    }
}

impl Drop for PlanningState<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        // An idle state must not keep a catalog snapshot or a session's facts alive.
        state.register_catalog_list(Arc::new(
            datafusion::catalog::MemoryCatalogProviderList::new(),
        ));
        *state.config_mut() = self.pool.prototype.config().clone();
        let mut idle = self.pool.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(state);
        }
    }
}
