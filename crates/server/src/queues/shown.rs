//! What admission holds, as SQL's views show it: with process ids where admission knows owners.

use std::collections::HashMap;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use forebay_admission::{
    Admission, LockView, NAMED_OWNERS, Owner, Owners, QueueId, QueueView, Reason, RelationId,
    WaiterView,
};
use forebay_catalog::Snapshot;
use forebay_engine::{LockRow, LockTarget, QueueStatus, QueueTotals, WaiterRow};

use super::tally::Tally;
use super::why::explanation;

/// The mode that `pg_locks` shows for a slot, as in Greenplum.
const SLOT_MODE: &str = "ExclusiveLock";

/// The living sessions by the names in which they hold.
pub(crate) type Pids = HashMap<Owner, i32>;

pub(crate) fn queues(admission: &Admission, tally: &Tally) -> Vec<QueueStatus> {
    let queues = admission.queues().into_iter();
    queues.map(|queue| status(&queue, tally)).collect()
}

fn status(queue: &QueueView, tally: &Tally) -> QueueStatus {
    let totals = &queue.totals;
    let counted = tally.of(queue.id);
    QueueStatus {
        oid: queue.id.0,
        slots: queue.slots,
        cost: queue.taken.cost.units(),
        memory_bytes: queue.taken.memory_bytes,
        waiters: queue.waiters.len(),
        holders: queue.holdings.len(),
        totals: QueueTotals {
            admitted: totals.admitted,
            waited: totals.waited,
            wait_time_ms: counted.waits.sum().as_secs_f64() * 1000.0,
            stepped_aside: totals.stepped_aside,
            overcommitted: totals.overcommitted,
            passed: totals.passed,
            refused: totals.refused,
            timed_out: counted.timed_out(),
            given_up: totals.given_up,
        },
    }
}

/// Slots and relation locks, held or waited for, of the sessions that are there.
pub(crate) fn locks(admission: &Admission, pids: &Pids) -> Vec<LockRow> {
    let since: HashMap<Owner, SystemTime> = admission
        .waiters()
        .into_iter()
        .map(|(waiter, since)| (waiter.owner, since))
        .collect();
    let row = |owner: &Owner, target, mode, granted: bool| {
        let since = since.get(owner).filter(|_| !granted);
        Some(LockRow {
            pid: *pids.get(owner)?,
            target,
            mode,
            granted,
            since: since.map(|at| DateTime::<Utc>::from(*at)),
        })
    };
    let relation = |lock: &LockView| {
        let target = LockTarget::Relation(lock.relation.0);
        row(&lock.owner, target, lock.mode.as_str(), lock.granted)
    };
    let mut rows: Vec<LockRow> = admission.locks().iter().filter_map(relation).collect();
    for queue in admission.queues() {
        let target = LockTarget::Queue(queue.id.0);
        let holders = queue.holdings.iter().filter(|holding| holding.shares > 0);
        rows.extend(holders.filter_map(|h| row(&h.owner, target, SLOT_MODE, true)));
        let waiters = queue.waiters.iter();
        rows.extend(waiters.filter_map(|w| row(&w.owner, target, SLOT_MODE, false)));
    }
    rows
}

/// Every wait of the sessions that are there, the oldest first.
pub(crate) fn waiters(admission: &Admission, pids: &Pids, snapshot: &Snapshot) -> Vec<WaiterRow> {
    let queues: HashMap<QueueId, QueueView> = admission
        .queues()
        .into_iter()
        .map(|queue| (queue.id, queue))
        .collect();
    let named = |relation: RelationId| relation_name(snapshot, relation);
    let process = |owner: Owner| pids.get(&owner).copied();
    let row = |(waiter, since): (WaiterView, SystemTime)| {
        let place = Place::of(&waiter, &queues);
        let pids_of = |owners: &Owners| owners.named.iter().copied().filter_map(process).collect();
        Some(WaiterRow {
            pid: process(waiter.owner)?,
            target: place.target,
            reason: reason(&waiter.reason),
            explanation: explanation(&waiter, named, process),
            place: waiter.place,
            ahead: pids_of(&place.ahead),
            holders: pids_of(&place.holders),
            since: since.into(),
        })
    };
    admission.waiters().into_iter().filter_map(row).collect()
}

/// A relation as a message names it.
pub(crate) fn relation_name(snapshot: &Snapshot, relation: RelationId) -> String {
    let found = snapshot.relation_by_oid(relation.0);
    found.map_or_else(|| relation.0.to_string(), |r| format!("\"{}\"", r.name))
}

/// Where a wait stands.
struct Place {
    target: LockTarget,
    ahead: Owners,
    holders: Owners,
}

impl Place {
    fn of(waiter: &WaiterView, queues: &HashMap<QueueId, QueueView>) -> Self {
        let (queue, holders) = match &waiter.reason {
            Reason::Lock {
                relation,
                holders,
                ahead,
                ..
            } => {
                return Self {
                    target: LockTarget::Relation(relation.0),
                    ahead: ahead.clone(),
                    holders: holders.clone(),
                };
            }
            // Who is next is ahead; what all of them wait for, others hold.
            Reason::Turn { queue, .. } => (queue, holders_of(queues.get(queue), waiter.owner)),
            Reason::Slots { queue, holders, .. }
            | Reason::Cost { queue, holders, .. }
            | Reason::Idle { queue, holders, .. }
            | Reason::Memory { queue, holders, .. }
            | Reason::HeldBack { queue, holders } => (queue, holders.clone()),
        };
        let waiting = queues.get(queue).map_or(&[][..], |queue| &queue.waiters);
        let ahead = waiting
            .iter()
            .take_while(|other| other.ticket < waiter.ticket);
        Self {
            target: LockTarget::Queue(queue.0),
            ahead: ahead.take(NAMED_OWNERS).map(|other| other.owner).collect(),
            holders,
        }
    }
}

/// The first of those who hold something of a queue.
fn holders_of(queue: Option<&QueueView>, but: Owner) -> Owners {
    let holdings = queue.map_or(&[][..], |queue| &queue.holdings);
    let owners = holdings.iter().map(|holding| holding.owner);
    owners
        .filter(|owner| *owner != but)
        .take(NAMED_OWNERS)
        .collect()
}

/// A reason in a word.
fn reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::Turn { .. } => "turn",
        Reason::Slots { .. } => "slots",
        Reason::Cost { .. } => "cost",
        Reason::Idle { .. } => "idle",
        Reason::Memory { .. } => "memory",
        Reason::HeldBack { .. } => "held back",
        Reason::Lock { .. } => "lock",
    }
}
