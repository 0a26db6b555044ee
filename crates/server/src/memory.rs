//! How much memory a statement gets: Greenplum's rules.

use forebay_admission::{Charge, Cost, Demand};
use forebay_catalog::{QueueAttributes, Snapshot};
use forebay_engine::{MemoryGrant, MemorySource, Plan};
use forebay_sql::Class;

use crate::Session;

/// The least that a queue gives for a cost, in bytes, unless its `MEMORY_LIMIT` is less: a cheap
/// statement sorts and groups as well.
const LEAST_BYTES: u64 = 4 * 1024 * 1024;

/// What a question to the catalog gets which is no superuser's, in bytes, unless the session says:
/// no queue governs it, so nothing else keeps it from taking what others need. It is the default
/// that Greenplum has for `statement_mem`.
const CATALOG_BYTES: u64 = 125 * 1024 * 1024;

/// What decides how much memory a statement gets.
#[derive(Debug, Clone)]
pub(crate) struct MemoryRule {
    /// Of the queue that governs it.
    queue: Option<QueueAttributes>,
    /// `statement_mem`, at most `max_statement_mem`; `None` leaves it to the queue.
    statement_mem_bytes: Option<u64>,
    temp_file_limit_bytes: Option<u64>,
    superuser: bool,
}

impl MemoryRule {
    /// What `plan` costs, where it matters.
    pub(crate) fn cost_of(&self, plan: &Plan) -> f64 {
        self.queue.map_or(0.0, |_| plan.cost())
    }

    /// What a plan of this cost takes of its queue.
    pub(crate) fn demand(&self, cost: f64) -> Demand {
        Demand {
            cost: Cost::new(cost),
            memory_bytes: self.bytes(cost).unwrap_or_default(),
        }
    }

    /// An equal part of `MEMORY_LIMIT` for each slot, or, where only cost is limited, the part
    /// that its cost has of `MAX_COST`; or what the session says.
    fn bytes(&self, cost: f64) -> Option<u64> {
        let limit = self.queue_limit_bytes();
        if let Some(wanted) = self.statement_mem_bytes {
            return Some(limit.map_or(wanted, |limit| wanted.min(limit)));
        }
        let limit = limit?;
        let queue = self.queue.as_ref()?;
        Some(match (queue.active_statements, queue.max_cost) {
            (Some(slots), _) => limit / u64::from(slots.max(1)),
            (None, Some(most)) => part(limit, cost / most).max(LEAST_BYTES.min(limit)),
            (None, None) => limit,
        })
    }

    fn queue_limit_bytes(&self) -> Option<u64> {
        let kilobytes = self.queue.as_ref()?.memory_limit_kb?;
        Some(kilobytes.saturating_mul(1024))
    }

    /// What a plan of this cost may use, with the charge that it has taken. Only what a queue
    /// counts against its `MEMORY_LIMIT` is set aside.
    pub(crate) fn grant(&self, charge: Option<&Charge>, cost: f64) -> MemoryGrant {
        let charged = charge.map(|charge| charge.demand().memory_bytes);
        let source = match (self.queue_limit_bytes(), charged) {
            (Some(_), Some(_)) => MemorySource::Granted,
            (Some(_), None) => MemorySource::Exempt,
            (None, _) if self.superuser => MemorySource::Reserve,
            (None, _) => MemorySource::Rest,
        };
        MemoryGrant {
            limit_bytes: charged.filter(|b| *b > 0).or_else(|| self.bytes(cost)),
            source,
            temp_file_limit_bytes: self.temp_file_limit_bytes,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share between nothing and all"
)]
fn part(limit: u64, share: f64) -> u64 {
    (limit as f64 * share.clamp(0.0, 1.0)) as u64
}

impl Session {
    /// What decides how much memory a statement of `class` gets that `queue` governs.
    pub(crate) fn memory_rule(&self, class: &Class, queue: Option<&QueueAttributes>) -> MemoryRule {
        let superuser = self.is_superuser();
        let asked = self.settings.bytes("statement_mem");
        let wanted = match asked {
            0 => (queue.is_none() && class.system_only && !superuser).then_some(CATALOG_BYTES),
            asked => Some(asked),
        };
        let most = self.settings.bytes("max_statement_mem");
        MemoryRule {
            queue: queue.copied(),
            statement_mem_bytes: wanted.map(|wanted| wanted.min(most)),
            temp_file_limit_bytes: self.settings.size_limit("temp_file_limit"),
            superuser,
        }
    }

    /// Warns who has raised a `MEMORY_LIMIT`, if queues promise more than there is.
    pub(crate) fn warn_of_memory_limits(&mut self) {
        let server = self.server.inner.engine.memory_limit_bytes();
        if let Some(warning) = overpromised(&self.snapshot(), server) {
            self.notice("WARNING", "01000", warning);
        }
    }
}

/// What to say when all resource queues together may grant more than the server has.
pub(crate) fn overpromised(snapshot: &Snapshot, server_bytes: u64) -> Option<String> {
    let queues = snapshot.resource_queues();
    let limits = queues.filter_map(|queue| queue.attributes.memory_limit_kb);
    let sum_kb = limits.fold(0, u64::saturating_add);
    (sum_kb > server_bytes / 1024).then(|| {
        format!(
            "the MEMORY_LIMITs of all resource queues together ({} MB) are more than the server \
             has for statements ({} MB); lower them, or raise --memory-limit",
            sum_kb / 1024,
            server_bytes / (1024 * 1024)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;

    fn queue(slots: Option<u32>, max_cost: Option<f64>, limit_mb: Option<u64>) -> QueueAttributes {
        QueueAttributes {
            active_statements: slots,
            max_cost,
            memory_limit_kb: limit_mb.map(|mb| mb * 1024),
            ..QueueAttributes::default()
        }
    }

    fn rule(queue: QueueAttributes, statement_mem_mb: Option<u64>) -> MemoryRule {
        MemoryRule {
            queue: Some(queue),
            statement_mem_bytes: statement_mem_mb.map(|mb| mb * MB),
            temp_file_limit_bytes: None,
            superuser: false,
        }
    }

    #[test]
    fn memory_is_a_part_of_the_queues() {
        let slots = rule(queue(Some(4), None, Some(100)), None);
        assert_eq!(slots.bytes(1e9), Some(25 * MB));
        let both = rule(queue(Some(4), Some(10.0), Some(100)), None);
        assert_eq!(both.bytes(1.0), Some(25 * MB));
        let cost = rule(queue(None, Some(1000.0), Some(100)), None);
        assert_eq!(cost.bytes(500.0), Some(50 * MB));
        assert_eq!(cost.bytes(2000.0), Some(100 * MB));
        assert_eq!(cost.bytes(1.0), Some(LEAST_BYTES));
        let unlimited = rule(queue(Some(4), Some(10.0), None), None);
        assert_eq!(unlimited.bytes(1.0), None);
        assert_eq!(unlimited.demand(1.0).memory_bytes, 0);
    }

    #[test]
    fn statement_mem_replaces_the_part_up_to_the_queues_limit() {
        for (wanted, gets) in [(1, 1), (60, 60), (100, 100), (101, 100)] {
            let rule = rule(queue(Some(4), None, Some(100)), Some(wanted));
            assert_eq!(rule.bytes(1.0), Some(gets * MB));
            assert_eq!(rule.demand(1.0).memory_bytes, gets * MB);
        }
        let unlimited = rule(queue(Some(4), None, None), Some(60));
        assert_eq!(unlimited.bytes(1.0), Some(60 * MB));
    }

    #[test]
    fn only_what_a_queue_counts_is_set_aside() {
        let exempt = rule(queue(Some(4), None, Some(100)), None).grant(None, 1.0);
        assert_eq!(exempt.source, MemorySource::Exempt);
        assert_eq!(exempt.limit_bytes, Some(25 * MB));
        let unlimited = rule(queue(Some(4), None, None), None);
        let rest = unlimited.grant(None, 1.0);
        assert_eq!((rest.source, rest.limit_bytes), (MemorySource::Rest, None));
        let wanted = rule(queue(Some(4), None, None), Some(7)).grant(None, 1.0);
        assert_eq!(wanted.source, MemorySource::Rest);
        assert_eq!(wanted.limit_bytes, Some(7 * MB));
        let superuser = MemoryRule {
            superuser: true,
            queue: None,
            ..unlimited
        };
        assert_eq!(superuser.grant(None, 1.0).source, MemorySource::Reserve);
    }
}
