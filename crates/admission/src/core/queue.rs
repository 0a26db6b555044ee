//! A resource queue: its limits, what is taken of it, who waits.

use std::collections::BTreeSet;

use super::line::Line;
use crate::{Cost, Demand, Limits, Owner, Ticket};

/// What happened in a queue since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Totals {
    /// Statements that were given a slot, or a share of the one that their transaction had: each
    /// once, though it steps aside and comes back, or is a cursor that is read in many parts.
    pub admitted: u64,
    /// Waits that began.
    pub waited: u64,
    /// Statements that stepped aside.
    pub stepped_aside: u64,
    /// Grants beyond a limit.
    pub overcommitted: u64,
    /// Grants out of turn, because the waits before them waited for them.
    pub passed: u64,
    /// Requests refused: the queue was full, or the cost too high.
    pub refused: u64,
    /// Waits that ended without a grant: cancelled, timed out, client gone.
    pub given_up: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    pub(crate) limits: Limits,
    pub(crate) usage: Usage,
    /// Who holds a slot, or a charge that has outlived it.
    pub(crate) holders: BTreeSet<Owner>,
    /// How many of those with a slot wait for something.
    pub(crate) waiting_holders: usize,
    /// Slots that were granted beyond the limit and are not back yet.
    pub(crate) overcommitted: usize,
    /// There were such slots when its waiting holders were last looked at.
    pub(crate) holds_back: bool,
    /// First come, first served.
    pub(crate) waiters: Line<()>,
    /// Those of them whose demand is known.
    pub(crate) demanding: Line<()>,
    pub(crate) totals: Totals,
    /// Goes away when it is empty.
    pub(crate) dropped: bool,
}

/// What is taken of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) slots: usize,
    pub(crate) taken: Demand,
}

impl Usage {
    pub(crate) fn add(&mut self, other: Usage) {
        self.slots += other.slots;
        self.taken = self.taken.plus(other.taken);
    }

    pub(crate) fn subtract(&mut self, other: Usage) {
        self.slots -= other.slots;
        self.taken = self.taken.minus(other.taken);
    }
}

/// What a request would take of a queue, and what its owner has of it already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) slot: bool,
    pub(crate) demand: Option<Demand>,
    pub(crate) own: Usage,
}

/// The first limit that keeps a request from being granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    Slots,
    Cost,
    /// The cost is above `MAX_COST`: it waits until it is alone.
    Idle,
    Memory,
}

impl Need {
    /// Whether its owner has all that it wants: a statement that shares its transaction's slot.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.slot && self.demand.is_none()
    }
}

impl Queue {
    pub(crate) fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty() && self.usage.taken.is_zero()
    }

    /// Holders of slots that do not wait: those that run, or whose client may go on at any moment.
    pub(crate) fn active(&self) -> usize {
        self.usage.slots - self.waiting_holders
    }

    /// Whether somebody who came no later than `arrival` waits for cost or memory.
    pub(crate) fn is_awaited_since(&self, arrival: Ticket) -> bool {
        let limited = self.limits.max_cost.is_some() || self.limits.memory_limit_bytes.is_some();
        limited && self.demanding.head().is_some_and(|first| first <= arrival)
    }

    /// Rule 6: an overcommitted slot must not make more statements run than there are slots. So
    /// while there is one, a holder that waits goes on only when another one does not.
    pub(crate) fn may_resume_holder(&self) -> bool {
        self.overcommitted == 0 || self.has_active_room()
    }

    /// As [`Queue::may_resume_holder`], for a holder that does not wait.
    pub(crate) fn may_go_on(&self) -> bool {
        let limit = self.limits.active_statements;
        self.overcommitted == 0 || limit.is_none_or(|limit| self.active() <= limit as usize)
    }

    /// Whether one more statement may run.
    pub(crate) fn has_active_room(&self) -> bool {
        let limit = self.limits.active_statements;
        limit.is_none_or(|limit| self.active() < limit as usize)
    }
}

impl Limits {
    /// What `need` lacks while `usage` is taken; `None` when it fits.
    pub(crate) fn shortage(&self, usage: Usage, need: &Need) -> Option<Shortage> {
        if need.slot
            && self
                .active_statements
                .is_some_and(|n| usage.slots >= n as usize)
        {
            return Some(Shortage::Slots);
        }
        let demand = need.demand?;
        if let Some(limit) = self.max_cost {
            if demand.cost > limit {
                let alone =
                    usage.slots == need.own.slots && usage.taken.cost == need.own.taken.cost;
                if !alone {
                    return Some(Shortage::Idle);
                }
            } else if demand.cost > Cost::ZERO && usage.taken.cost.plus(demand.cost) > limit {
                return Some(Shortage::Cost);
            }
        }
        if let Some(limit) = self.memory_limit_bytes {
            let used = usage.taken.memory_bytes;
            // What a lowered limit made too large for ever runs when it is alone.
            let asked = demand.memory_bytes;
            if used > 0 && asked > 0 && used.saturating_add(asked) > limit {
                return Some(Shortage::Memory);
            }
        }
        None
    }

    /// Whether a statement of this cost can never run here.
    pub(crate) fn forbids(&self, cost: Cost) -> bool {
        !self.cost_overcommit && self.max_cost.is_some_and(|limit| cost > limit)
    }

    /// By how much granting `need` would go beyond the limits: millionths of the limit that is
    /// passed furthest.
    pub(crate) fn excess(&self, usage: Usage, need: &Need) -> u64 {
        let mut excess = 0;
        if need.slot
            && let Some(limit) = self.active_statements
        {
            excess = excess.max(over(usage.slots as u64 + 1, limit.into()));
        }
        if let Some(demand) = need.demand {
            let after = usage.taken.plus(demand);
            if let Some(limit) = self.max_cost
                && demand.cost > Cost::ZERO
            {
                excess = excess.max(over(after.cost.thousandths(), limit.thousandths()));
            }
            if let Some(limit) = self.memory_limit_bytes
                && demand.memory_bytes > 0
            {
                excess = excess.max(over(after.memory_bytes, limit));
            }
        }
        excess
    }
}

/// The part of `amount` beyond `limit`, in millionths of `limit`; rounded up, so that it is zero
/// only where nothing is beyond.
fn over(amount: u64, limit: u64) -> u64 {
    let beyond = u128::from(amount.saturating_sub(limit));
    let millionths = (beyond * 1_000_000).div_ceil(u128::from(limit.max(1)));
    u64::try_from(millionths).unwrap_or(u64::MAX)
}
