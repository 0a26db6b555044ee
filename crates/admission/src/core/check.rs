//! What always holds, checked after each step in debug builds.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::queue::Usage;
use super::relation::Modes;
use super::{Core, Want};
use crate::Ticket;

impl Core {
    /// Panics if the totals are not those of the parts (conservation), a limit is passed without an
    /// overcommit, or a wait is in one list and not in the other.
    ///
    /// # Panics
    /// As said; never, if the core is right.
    pub fn check(&self) {
        for id in self.queues.keys() {
            self.check_queue(*id);
        }
        for (id, relation) in &self.relations {
            let mut granted = Modes::default();
            for (owner, modes) in &relation.holders {
                assert!(!modes.is_empty(), "an empty holder");
                assert!(
                    self.parties[owner].relations.contains(id),
                    "a lock without owner"
                );
                for mode in modes.iter() {
                    let others = relation.holders.iter().filter(|(o, _)| *o != owner);
                    let mut against = others.filter(|(_, m)| m.conflict(mode));
                    assert!(against.next().is_none(), "conflicting locks on {id:?}");
                }
                granted.add_all(modes);
            }
            assert_eq!(granted, relation.granted, "locks of {id:?}");
        }
        for (owner, party) in &self.parties {
            for relation in &party.relations {
                let holders = &self.relations[relation].holders;
                assert!(holders.contains_key(owner), "an owner without its lock");
            }
            if let Some(ticket) = party.wait {
                assert_eq!(self.waits[&ticket].owner, *owner);
            }
        }
        let passing = self.waits.values().filter(|wait| wait.passes_others());
        assert_eq!(passing.count(), self.passing);
        for (ticket, wait) in &self.waits {
            assert_eq!(self.parties[&wait.owner].wait, Some(*ticket));
            match &wait.want {
                Want::Slot { queue, .. } => assert!(self.queues[queue].waiters.contains(*ticket)),
                Want::Locks { locks, .. } => {
                    for (relation, _) in locks {
                        assert!(self.relations[relation].waiters.contains(*ticket));
                    }
                }
            }
        }
    }

    fn check_queue(&self, id: crate::QueueId) {
        let queue = &self.queues[&id];
        let mut usage = Usage::default();
        let (mut overcommitted, mut waiting) = (0, 0);
        for (owner, party) in &self.parties {
            let Some(hold) = party.holds.get(id) else {
                assert!(!queue.holders.contains(owner));
                continue;
            };
            assert!(queue.holders.contains(owner) && !hold.is_empty());
            usage.slots += hold.usage().slots;
            usage.taken = usage.taken.plus(hold.charged);
            overcommitted += usize::from(hold.overcommitted);
            waiting += usize::from(hold.shares > 0 && party.wait.is_some());
        }
        assert_eq!(usage, queue.usage, "what is taken of {id:?}");
        assert_eq!(overcommitted, queue.overcommitted);
        assert_eq!(waiting, queue.waiting_holders);
        for ticket in queue.waiters.tickets() {
            let Want::Slot { demand, .. } = &self.waits[&ticket].want else {
                panic!("a queue has a wait for locks");
            };
            assert_eq!(demand.is_some(), queue.demanding.contains(ticket));
        }
        let mut demanding = queue.demanding.tickets();
        assert!(demanding.all(|ticket| queue.waiters.contains(ticket)));
    }

    /// As [`Core::check`], and that nobody waits who could be granted: no wake-up is lost.
    ///
    /// # Panics
    /// As said; never, if the core is right.
    pub fn check_settled(&self) {
        self.check();
        for (ticket, wait) in &self.waits {
            let grantable = match &wait.want {
                Want::Slot { queue, demand, .. } => {
                    let nothing = self.need(wait.owner, *queue, *demand).is_nothing();
                    let head = self.queues[queue].waiters.head() == Some(*ticket);
                    (head || nothing) && self.admissible(*ticket)
                }
                Want::Locks { locks, .. } => {
                    self.may_resume(wait.owner)
                        && self.lockable(wait.owner, locks, Some(*ticket)).is_ok()
                }
            };
            assert!(!grantable, "{:?} waits and could go on", wait.owner);
        }
    }

    /// How many waits there are.
    #[must_use]
    pub fn waiter_count(&self) -> usize {
        self.waits.len()
    }

    /// How many transactions there are.
    #[must_use]
    pub fn owner_count(&self) -> usize {
        self.parties.len()
    }

    /// Whether nobody holds or wants anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.parties.is_empty() && self.waits.is_empty() && self.relations.is_empty()
    }
}

/// Cores that will behave the same have the same hash: of tickets only the order counts, and what
/// has happened does not count at all.
impl Hash for Core {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (id, queue) in &self.queues {
            (id, queue.limits, queue.dropped, queue.holds_back).hash(state);
        }
        let parties: BTreeMap<_, _> = self.parties.iter().collect();
        for (owner, party) in parties {
            owner.hash(state);
            for (queue, hold) in party.holds.iter() {
                let waiters = &self.queues[&queue].demanding;
                let older = waiters.before(Ticket(hold.arrival.0 + 1));
                (queue, hold.shares, hold.overcommitted, hold.charged, older).hash(state);
            }
            for relation in &party.relations {
                (relation, self.relations[relation].held_by(*owner)).hash(state);
            }
        }
        let waits: BTreeMap<_, _> = self.waits.iter().collect();
        let order: BTreeMap<_, usize> = waits.keys().copied().zip(0..).collect();
        for wait in waits.values() {
            wait.owner.hash(state);
            match &wait.want {
                Want::Slot { queue, demand, .. } => (queue, demand).hash(state),
                Want::Locks { locks, passes } => {
                    let passes: Vec<_> = passes.iter().filter_map(|t| order.get(t)).collect();
                    (locks, passes).hash(state);
                }
            }
        }
        self.suspicious.hash(state);
    }
}
