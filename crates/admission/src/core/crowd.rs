//! Who stands against whom at one relation, for all its waits in one go.

use super::explain::Against;
use super::{Core, NAMED_OWNERS, Owners};
use crate::map::Map;
use crate::{LockMode, Owner, RelationId, Ticket};

/// What [`Core::against`] answers for each wait of a relation, worked out by going once along the
/// holders and once along the line. `explain.rs` needs it where everybody is explained.
pub(super) struct Crowd {
    relation: RelationId,
    /// For each mode: who holds what conflicts, in order.
    holders: [Vec<Owner>; LockMode::ALL.len()],
    /// For each wait and mode that it wants: whose conflicting requests came first.
    ahead: Map<(Ticket, LockMode), Owners>,
}

impl Crowd {
    pub(super) fn new(core: &Core, relation: RelationId) -> Self {
        let entry = &core.relations[&relation];
        let holders = LockMode::ALL.map(|mode| {
            let holders = entry.holders.iter();
            let against = holders.filter(|(_, modes)| modes.conflict(mode));
            against.map(|(owner, _)| *owner).collect()
        });
        let mut so_far: [Owners; LockMode::ALL.len()] = Default::default();
        let mut ahead = Map::default();
        for (ticket, wanted) in entry.waiters.iter() {
            let wait = &core.waits[&ticket];
            for mode in wait.modes_on(relation) {
                ahead.insert((ticket, mode), so_far[mode as usize].clone());
            }
            for mode in LockMode::ALL.into_iter().filter(|m| wanted.conflicts(*m)) {
                so_far[mode as usize].add(wait.owner);
            }
        }
        Self {
            relation,
            holders,
            ahead,
        }
    }

    /// Who stands against a wait that wants `mode`.
    pub(super) fn against(&self, core: &Core, ticket: Ticket, mode: LockMode) -> Against {
        let wait = &core.waits[&ticket];
        if wait.passes_others() {
            // It does not mind all of those before it.
            return core.against(ticket, self.relation, mode);
        }
        let all = &self.holders[mode as usize];
        let count = all.len() - usize::from(all.binary_search(&wait.owner).is_ok());
        let others = all.iter().copied().filter(|owner| *owner != wait.owner);
        let named: Vec<Owner> = others.take(NAMED_OWNERS).collect();
        let others = count - named.len();
        let holders = Owners { named, others };
        (holders, self.ahead[&(ticket, mode)].clone())
    }
}
