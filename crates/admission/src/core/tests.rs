//! The hard cases, each as a script: see [`script`].

mod deadlocks;
mod lessons;
mod limits;
mod script;
mod turns;
mod views;

use super::*;
use crate::LockMode;
use script::run;

fn totals(core: &Core, queue: u32) -> Totals {
    let queues = core.queues();
    let queue = queues.iter().find(|q| q.id == QueueId(queue));
    queue.expect("it is there").totals
}

/// A core with one queue of `slots`, and owners from 0 on that ask for it, one after the other.
fn crowded(slots: u32, owners: u64) -> Core {
    let mut core = Core::default();
    let mut effects = Effects::new();
    let limits = Limits {
        active_statements: Some(slots),
        ..Limits::default()
    };
    core.set_limits(QueueId(0), limits, &mut effects);
    for owner in (0..owners).map(Owner) {
        core.begin(owner);
        let _ = core.slot(owner, QueueId(0), None, &mut effects);
    }
    core
}
