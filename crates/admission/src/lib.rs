//! What a statement must hold before it may run, and how it gives it back.
//!
//! Resource queues give slots and charges, relations give locks. [`Core`] decides: a state machine
//! without I/O, clock or threads. [`Admission`] is the async front around it: one lock, one waker
//! for each waiter, and guards that give back when they are dropped, which is the only way to give
//! back. The README beside this crate tells the algorithm, its hard cases, and why every wait ends.

mod core;
mod front;
mod guards;
mod map;
mod mode;
mod sync;
mod units;

pub use crate::core::{
    Core, Effect, Effects, Holding, LockTotals, LockView, NAMED_OWNERS, Outcome, Owners, QueueView,
    Reason, Refusal, Totals, WaiterView,
};
pub use front::{Admission, AdmissionError, Held};
pub use guards::{Charge, Locks, OwnerGuard, Slot};
pub use mode::LockMode;
pub use units::{Cost, Demand, Limits, LockRequest, Owner, QueueId, RelationId, Ticket};
