//! Admission: what a statement must hold before it may run, and how it gives it back.
//!
//! **In this release everything is granted at once.** There are no resource queues and no lock
//! conflicts yet: they come with the next step. What is here is what the way of a statement calls,
//! in its final shape, so that each statement already takes a [`Slot`], its [`Locks`] and a
//! [`Charge`] in the right order and gives them back whatever happens to it.
//!
//! What always holds: slot, locks and charge are guards. Dropping one is the only way to give it
//! back, so a statement that fails, is cancelled, loses its client or panics cannot keep anything.
//! [`Admission::held`] counts the guards that exist.
//!
//! ```
//! # use forebay_admission::{Admission, AdmissionError, Demand, LockMode, RelationId};
//! # async fn statement(admission: &Admission) -> Result<(), AdmissionError> {
//! let transaction = admission.begin();
//! let slot = admission.slot(transaction.owner(), Some("pg_default")).await?;
//! let wanted = [(RelationId(16384), LockMode::AccessShare)];
//! let _locks = admission.lock(transaction.owner(), &wanted).await?;
//! let demand = Demand { cost: 12.5, memory_bytes: 1 << 20 };
//! let _charge = admission.charge(&slot, demand).await?;
//! // … the statement runs …
//! # Ok(())
//! # }
//! ```

mod front;
mod mode;

pub use front::{
    Admission, AdmissionError, Charge, Demand, Held, Locks, Owner, OwnerGuard, RelationId, Slot,
};
pub use mode::LockMode;
