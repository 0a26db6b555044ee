//! Slot, locks and charge: what the way of a statement asks of admission.

use std::sync::Arc;
use std::time::Duration;

use forebay_admission::{
    Admission, AdmissionError, Charge, Demand, LockMode, LockRequest, Locks, Owner, QueueId,
    Refusal, RelationId, Slot,
};
use forebay_catalog::{QueueAttributes, Snapshot};
use forebay_engine::{CpuAccount, Plan};
use forebay_sql::{Class, Statement};

use crate::planning::Planning;
use crate::running::{Holds, Running};
use crate::waiting::Wanted;
use crate::{Error, Result, Session};

/// What a charge leads to.
pub(crate) enum Charged {
    /// The statement may run with this.
    Fits(Holds),
    /// It does not fit: the slot goes back, and the statement waits with its demand.
    Lacks(Slot, Demand),
}

/// A statement that has to step aside.
pub(crate) struct Aside {
    pub(crate) queue: GoverningQueue,
    pub(crate) slot: Slot,
    pub(crate) demand: Demand,
    pub(crate) plan: EarlierPlan,
}

/// A plan from before a wait.
pub(crate) struct EarlierPlan {
    plan: Plan,
    /// How much of the work of planning was done before.
    cache_hits: u32,
    /// The catalog that it was made with.
    snapshot: Arc<Snapshot>,
}

impl EarlierPlan {
    pub(crate) fn new(plan: Plan, cache_hits: u32, planning: &Planning) -> Self {
        let snapshot = Arc::clone(&planning.vantage.facts().snapshot);
        Self {
            plan,
            cache_hits,
            snapshot,
        }
    }

    /// The plan as [`Planning::plan`] gave it, if nothing in the catalog has changed since.
    pub(crate) fn still_right(self, planning: &Planning) -> Option<(Plan, u32)> {
        let now = &planning.vantage.facts().snapshot;
        Arc::ptr_eq(&self.snapshot, now).then_some((self.plan, self.cache_hits))
    }
}

/// The charge of a plan on its queue, for which it has this demand. A statement that has stepped aside comes with its charge;
/// only if its new plan needs more it is charged anew. One below `MIN_COST` gives its slot back.
pub(crate) fn charge(
    admission: &Admission,
    queue: Option<&GoverningQueue>,
    holds: Holds,
    demand: Demand,
) -> Result<Charged> {
    let (
        Some(queue),
        Holds {
            slot: Some(slot),
            charge,
        },
    ) = (queue, holds)
    else {
        return Ok(Charged::Fits(Holds::default()));
    };
    if admission.exempts(queue.id, demand.cost) {
        return Ok(Charged::Fits(Holds::default()));
    }
    let covers = |charge: &Charge| {
        let held = charge.demand();
        held.cost >= demand.cost && held.memory_bytes >= demand.memory_bytes
    };
    let charge = match charge.filter(covers) {
        Some(charge) => Some(charge),
        None => admission.charge(&slot, demand)?,
    };
    Ok(match charge {
        Some(charge) => Charged::Fits(Holds {
            slot: Some(slot),
            charge: Some(charge),
        }),
        None => Charged::Lacks(slot, demand),
    })
}

/// The resource queue of a statement, as the catalog and the session's settings have it.
#[derive(Debug, Clone)]
pub(crate) struct GoverningQueue {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    attributes: QueueAttributes,
}

impl GoverningQueue {
    pub(crate) fn attributes(&self) -> &QueueAttributes {
        &self.attributes
    }

    pub(crate) fn has_min_cost(&self) -> bool {
        self.attributes.min_cost > 0.0
    }

    /// On whose threads its statements run.
    pub(crate) fn account(&self) -> CpuAccount {
        CpuAccount::Queue(self.id.0)
    }

    fn wanted(&self) -> Wanted {
        Wanted::Queue {
            name: Arc::clone(&self.name),
            timeout: self.attributes.queue_timeout_ms.map(Duration::from_millis),
        }
    }
}

impl Session {
    /// The slot of a governed statement; superusers and ungoverned statements need none.
    pub(crate) async fn slot(
        &self,
        queue: Option<&GoverningQueue>,
        running: &Running,
    ) -> Result<Holds> {
        let Some(queue) = queue else {
            return Ok(Holds::default());
        };
        let admission = &self.server.inner.admission;
        let wait = admission.slot(&self.handle.owner, queue.id);
        let slot = self.admission_wait(running, &queue.wanted(), wait).await?;
        running.took(&slot);
        Ok(Holds {
            slot: Some(slot),
            charge: None,
        })
    }

    /// Slot and charge of a statement whose demand is known; below `MIN_COST` it needs neither.
    pub(crate) async fn slot_and_charge(
        &self,
        queue: &GoverningQueue,
        demand: Demand,
        running: &Running,
    ) -> Result<Holds> {
        let admission = &self.server.inner.admission;
        if admission.exempts(queue.id, demand.cost) {
            return Ok(Holds::default());
        }
        let wait = admission.slot_and_charge(&self.handle.owner, queue.id, demand);
        let (slot, charge) = self.admission_wait(running, &queue.wanted(), wait).await?;
        running.took(&slot);
        Ok(Holds {
            slot: Some(slot),
            charge: Some(charge),
        })
    }

    /// A share of the slot that a cursor's statement has: who reads from the cursor runs it.
    pub(crate) async fn cursor_share(&self, cursor: &str, running: &Running) -> Result<Holds> {
        // That there is no such cursor is for the `FETCH` to say.
        let Ok(rows) = self.portals.get(cursor) else {
            return Ok(Holds::default());
        };
        let queue = rows.read().await.queue();
        let slot = self.share(queue, running).await?;
        Ok(Holds { slot, charge: None })
    }

    /// A share of the slot that the transaction has of `queue` already. It may have to wait while
    /// others run on slots that were given beyond the limit.
    pub(crate) async fn share(
        &self,
        queue: Option<QueueId>,
        running: &Running,
    ) -> Result<Option<Slot>> {
        let snapshot = self.snapshot();
        // A queue that was dropped limits nobody.
        let known = queue.and_then(|queue| snapshot.resource_queue_by_oid(queue.0));
        let Some(queue) = known else {
            return Ok(None);
        };
        let wanted = Wanted::Queue {
            name: queue.name.as_str().into(),
            timeout: queue.attributes.queue_timeout_ms.map(Duration::from_millis),
        };
        let wait = self
            .server
            .inner
            .admission
            .share(&self.handle.owner, QueueId(queue.oid));
        let slot = self.admission_wait(running, &wanted, wait).await?;
        running.took(&slot);
        Ok(Some(slot))
    }

    /// The resource queue that governs a statement, which the role in force decides. What only
    /// asks the catalog needs no slot.
    pub(crate) fn governing_queue(&self, class: &Class) -> Option<GoverningQueue> {
        let all = self.setting("resource_select_only") == "off";
        let governed = class.governed || (all && class.dml);
        let governed = governed && !self.asks_catalog(class);
        governed.then(|| self.queue_of_role()).flatten()
    }

    /// Whether it reads the server's own views and no others, though names like theirs may be
    /// those of a user's relations.
    fn asks_catalog(&self, class: &Class) -> bool {
        class.system_only && self.relations_of(class).is_empty()
    }

    /// On whose threads everything is done for the role in force: what takes a slot, what needs
    /// none, such as a question to the catalog, and what is no statement yet.
    pub(crate) fn role_account(&self) -> CpuAccount {
        let queue = self.queue_of_role();
        queue.map_or(CpuAccount::Ungoverned, |queue| queue.account())
    }

    /// The resource queue that governs what the role in force does.
    pub(crate) fn queue_of_role(&self) -> Option<GoverningQueue> {
        if self.is_superuser() || self.setting("resource_scheduler") == "off" {
            return None;
        }
        let snapshot = self.snapshot();
        let role = snapshot.role(self.current_user())?;
        let queue = snapshot.resource_queue_by_oid(role.resource_queue)?;
        Some(GoverningQueue {
            id: QueueId(queue.oid),
            name: queue.name.as_str().into(),
            attributes: queue.attributes,
        })
    }

    /// Gives back slot and locks, and waits for slot and charge together.
    pub(crate) async fn step_aside(
        &self,
        aside: Aside,
        locks: Option<Locks>,
        running: &Running,
    ) -> Result<(Holds, Option<EarlierPlan>)> {
        let admission = &self.server.inner.admission;
        let wanted = aside.queue.wanted();
        let wait = admission.step_aside(aside.slot, locks, aside.demand);
        let (slot, charge) = self.admission_wait(running, &wanted, wait).await?;
        running.took(&slot);
        let holds = Holds {
            slot: Some(slot),
            charge: Some(charge),
        };
        Ok((holds, Some(aside.plan)))
    }

    /// The locks on the relations that the statement names and that exist; the others are the
    /// planner's to report. What a name means may change while the statement waits: then it locks
    /// what the name means now.
    pub(crate) async fn lock(
        &mut self,
        class: &Class,
        statement: &Statement,
        running: &Running,
    ) -> Result<Option<Locks>> {
        let nowait = matches!(statement, Statement::LockTable { nowait: true, .. });
        let mut wanted = self.relations_of(class);
        while !wanted.is_empty() {
            let locks = self.take_locks(wanted.clone(), nowait, running).await?;
            let now = self.relations_of(class);
            if now == wanted {
                return Ok(Some(locks));
            }
            wanted = now;
        }
        Ok(None)
    }

    async fn take_locks(
        &self,
        wanted: Vec<LockRequest>,
        nowait: bool,
        running: &Running,
    ) -> Result<Locks> {
        let admission = &self.server.inner.admission;
        let owner = &self.handle.owner;
        if nowait {
            let locks = admission.lock_now(owner, wanted);
            return locks.map_err(|error| self.admission_error(error));
        }
        let timeout = self.settings.timeout("lock_timeout");
        let wait = admission.lock(owner, wanted);
        self.admission_wait(running, &Wanted::Locks { timeout }, wait)
            .await
    }

    /// What the statement locks, as its names are understood now.
    fn relations_of(&self, class: &Class) -> Vec<LockRequest> {
        let snapshot = self.snapshot();
        let path = self.settings.search_path(self.current_user());
        let relations = class.relations.iter().filter_map(|used| {
            let relation = crate::commands::find_relation(&snapshot, &path, &used.name)?;
            Some((RelationId(relation.oid), admission_mode(used.mode)))
        });
        relations.collect()
    }

    /// A relation as a message names it.
    pub(crate) fn relation_name(&self, relation: RelationId) -> String {
        let snapshot = self.snapshot();
        let found = snapshot.relation_by_oid(relation.0);
        found.map_or_else(|| relation.0.to_string(), |r| format!("\"{}\"", r.name))
    }

    /// Names processes and relations where admission knows numbers only.
    pub(crate) fn admission_error(&self, error: AdmissionError) -> Error {
        let mut told = Error::from(error.clone());
        match error.0 {
            Refusal::LockNotAvailable { relation } => {
                let relation = self.relation_name(relation);
                told.message = format!("could not obtain lock on relation {relation}");
            }
            Refusal::Deadlock { cycle } => {
                told.detail = Some(self.cycle_text(&cycle));
                told.hint = Some("Lock the relations in one order in all transactions.".to_owned());
            }
            _ => {}
        }
        told
    }

    /// One line for each wait of a cycle.
    fn cycle_text(&self, cycle: &[(Owner, RelationId)]) -> String {
        let pid = |owner: &Owner| match self.server.inner.sessions.pid_of(*owner) {
            Some(pid) => format!("process {pid}"),
            None => "a process that has ended".to_owned(),
        };
        let holders = cycle.iter().skip(1).chain(cycle.first());
        let lines = cycle
            .iter()
            .zip(holders)
            .map(|((waiter, relation), (holder, _))| {
                let (waiter, holder) = (pid(waiter), pid(holder));
                let relation = self.relation_name(*relation);
                format!("{waiter} waits for relation {relation}, locked by {holder}.")
            });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn admission_mode(mode: forebay_sql::LockMode) -> LockMode {
    use forebay_sql::LockMode as Sql;
    match mode {
        Sql::AccessShare => LockMode::AccessShare,
        Sql::RowShare => LockMode::RowShare,
        Sql::RowExclusive => LockMode::RowExclusive,
        Sql::ShareUpdateExclusive => LockMode::ShareUpdateExclusive,
        Sql::Share => LockMode::Share,
        Sql::ShareRowExclusive => LockMode::ShareRowExclusive,
        Sql::Exclusive => LockMode::Exclusive,
        Sql::AccessExclusive => LockMode::AccessExclusive,
    }
}
