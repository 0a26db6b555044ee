//! From the catalog's resource queues to admission's.
//!
//! The catalog tells of every commit, in the order of the commits and before anybody sees the new
//! snapshot. So admission knows a queue before the first statement can ask for it, and a changed
//! limit wakes who fits at the commit, not when somebody looks.

pub(crate) mod shown;
pub(crate) mod tally;
pub(crate) mod why;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_admission::{Admission, Cost, Limits, QueueId};
use forebay_catalog::{Catalog, QueueAttributes, Snapshot};
use parking_lot::Mutex;

use tally::Tally;

/// Keeps admission's queues those of the catalog for as long as the catalog lives.
pub(crate) async fn keep_in_step(catalog: &Catalog, admission: Admission, tally: Arc<Tally>) {
    let known = Mutex::new(BTreeMap::new());
    catalog
        .observe(move |snapshot| update(&admission, &tally, &mut known.lock(), snapshot))
        .await;
}

/// Brings admission from the queues that it knows to those of `snapshot`.
fn update(
    admission: &Admission,
    tally: &Tally,
    known: &mut BTreeMap<QueueId, Limits>,
    snapshot: &Snapshot,
) {
    let queues = snapshot.resource_queues();
    let wanted: BTreeMap<QueueId, Limits> = queues
        .map(|queue| (QueueId(queue.oid), limits(&queue.attributes)))
        .collect();
    for (queue, limits) in &wanted {
        if known.get(queue) != Some(limits) {
            admission.set_limits(*queue, *limits);
        }
    }
    for queue in known.keys().filter(|queue| !wanted.contains_key(queue)) {
        admission.drop_queue(*queue);
        tally.forget(*queue);
    }
    *known = wanted;
}

/// What of a queue's attributes admission enforces. Priority is the query runtime's, and
/// `QUEUE_TIMEOUT` the waiting statement's.
pub(crate) fn limits(attributes: &QueueAttributes) -> Limits {
    Limits {
        active_statements: attributes.active_statements,
        max_cost: attributes.max_cost.map(Cost::new),
        cost_overcommit: attributes.cost_overcommit,
        min_cost: Cost::new(attributes.min_cost),
        memory_limit_bytes: attributes.memory_limit_kb.map(|kb| kb.saturating_mul(1024)),
        max_queued: attributes.max_queued,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_catalog::{Change, DEFAULT_QUEUE_OID, QueueChange};

    fn change(settings: &[(&str, &str)]) -> QueueChange {
        let mut change = QueueChange::default();
        for (name, value) in settings {
            change.add(name, Some(value)).unwrap();
        }
        change
    }

    /// Catalog and admission agree, whatever was committed.
    fn assert_in_step(admission: &Admission, snapshot: &Snapshot) {
        let theirs: BTreeMap<u32, Limits> = admission
            .queues()
            .iter()
            .map(|queue| (queue.id.0, queue.limits))
            .collect();
        let ours: BTreeMap<u32, Limits> = snapshot
            .resource_queues()
            .map(|queue| (queue.oid, limits(&queue.attributes)))
            .collect();
        assert_eq!(theirs, ours);
    }

    #[tokio::test]
    async fn admission_follows_the_catalog() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(directory.path(), "boss").await.unwrap();
        let admission = Admission::new();
        keep_in_step(&catalog, admission.clone(), Arc::default()).await;
        assert_in_step(&admission, &catalog.snapshot());
        let default = admission.limits(QueueId(DEFAULT_QUEUE_OID)).unwrap();
        assert_eq!(default.active_statements, Some(20));

        let name = || "q".to_owned();
        let settings = [
            ("max_cost", "12.5"),
            ("min_cost", "0.25"),
            ("cost_overcommit", "true"),
            ("memory_limit", "10MB"),
            ("max_queued", "0"),
        ];
        let create = Change::CreateQueue {
            name: name(),
            change: change(&settings),
        };
        let snapshot = catalog.commit(&[create]).await.unwrap();
        assert_in_step(&admission, &snapshot);
        let oid = snapshot.resource_queue("q").unwrap().oid;
        let made = admission.limits(QueueId(oid)).unwrap();
        assert_eq!(made.max_cost, Some(Cost::new(12.5)));
        assert_eq!(made.memory_limit_bytes, Some(10 * 1024 * 1024));

        let alter = Change::AlterQueue {
            name: name(),
            change: change(&[("active_statements", "1")]),
        };
        assert_in_step(&admission, &catalog.commit(&[alter]).await.unwrap());
        let drop = Change::DropQueue { name: name() };
        assert_in_step(&admission, &catalog.commit(&[drop]).await.unwrap());
        assert_eq!(admission.limits(QueueId(oid)), None);
        catalog.close().await;
    }

    #[tokio::test]
    async fn a_raised_limit_wakes_who_waits() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(directory.path(), "boss").await.unwrap();
        let admission = Admission::new();
        keep_in_step(&catalog, admission.clone(), Arc::default()).await;
        let alter = |n: &str| Change::AlterQueue {
            name: "pg_default".to_owned(),
            change: change(&[("active_statements", n)]),
        };
        catalog.commit(&[alter("1")]).await.unwrap();
        let queue = QueueId(DEFAULT_QUEUE_OID);
        let (first, second) = (admission.begin(), admission.begin());
        let slot = admission.slot(&first, queue).await.unwrap();
        let waiting = {
            let (admission, second) = (admission.clone(), second.clone());
            tokio::spawn(async move { admission.slot(&second, queue).await.map(drop) })
        };
        while admission.waiters().is_empty() {
            tokio::task::yield_now().await;
        }
        catalog.commit(&[alter("2")]).await.unwrap();
        waiting.await.unwrap().unwrap();
        drop((slot, first, second));
        catalog.close().await;
    }
}
