//! The locks of one relation: who holds which modes, who waits.

use std::collections::BTreeMap;

use super::line::Line;
use crate::mode::ModeSet;
use crate::{LockMode, Owner};

/// How often each mode is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Modes([u32; 8]);

impl Modes {
    pub(crate) fn add(&mut self, mode: LockMode) {
        self.0[mode as usize] += 1;
    }

    pub(crate) fn remove(&mut self, mode: LockMode) {
        let count = &mut self.0[mode as usize];
        debug_assert!(*count > 0, "{mode} given back more often than taken");
        *count = count.saturating_sub(1);
    }

    pub(crate) fn has(&self, mode: LockMode) -> bool {
        self.0[mode as usize] > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Whether a mode held by others than the one who holds `own` conflicts with `mode`.
    pub(crate) fn conflict_beside(&self, own: &Modes, mode: LockMode) -> bool {
        LockMode::ALL
            .into_iter()
            .any(|m| m.conflicts(mode) && self.0[m as usize] > own.0[m as usize])
    }

    /// Whether a mode conflicts with `mode`.
    pub(crate) fn conflict(&self, mode: LockMode) -> bool {
        self.conflict_beside(&Modes::default(), mode)
    }

    pub(crate) fn add_all(&mut self, other: &Modes) {
        for (count, added) in self.0.iter_mut().zip(other.0) {
            *count += added;
        }
    }

    pub(crate) fn subtract(&mut self, other: &Modes) {
        for (count, given) in self.0.iter_mut().zip(other.0) {
            *count -= given;
        }
    }

    /// The modes, each once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LockMode> + '_ {
        LockMode::ALL.into_iter().filter(|mode| self.has(*mode))
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Relation {
    pub(crate) holders: BTreeMap<Owner, Modes>,
    /// The sum over the holders.
    pub(crate) granted: Modes,
    /// First come, first served among those that conflict; each with what it wants here.
    pub(crate) waiters: Line<ModeSet>,
}

impl Relation {
    pub(crate) fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    pub(crate) fn held_by(&self, owner: Owner) -> Modes {
        self.holders.get(&owner).copied().unwrap_or_default()
    }

    pub(crate) fn take(&mut self, owner: Owner, mode: LockMode) {
        self.holders.entry(owner).or_default().add(mode);
        self.granted.add(mode);
    }

    /// Gives one lock back; answers whether `owner` holds no other on this relation.
    pub(crate) fn give_back(&mut self, owner: Owner, mode: LockMode) -> bool {
        let Some(modes) = self.holders.get_mut(&owner) else {
            debug_assert!(false, "{owner:?} gives back a lock that it has not");
            return true;
        };
        modes.remove(mode);
        self.granted.remove(mode);
        let last = modes.is_empty();
        if last {
            self.holders.remove(&owner);
        }
        last
    }

    /// Whether another owner holds what conflicts with `mode`.
    pub(crate) fn held_against(&self, owner: Owner, mode: LockMode) -> bool {
        self.granted.conflict_beside(&self.held_by(owner), mode)
    }
}
