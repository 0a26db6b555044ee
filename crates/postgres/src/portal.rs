//! Portals of the extended protocol.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use forebay_server::{Error, Prepared, Rows};

use crate::encode::RowEncoder;

/// A statement with its values, and its result once it has been executed.
pub(crate) struct Portal {
    /// `None` for an empty statement.
    pub(crate) prepared: Option<Arc<Prepared>>,
    pub(crate) values: Vec<ScalarValue>,
    /// Result formats as the client asked for them: none, one for all, or one for each column.
    pub(crate) formats: Vec<i16>,
    pub(crate) state: PortalState,
    /// The transaction that it was made in, and ends with.
    pub(crate) transaction: u64,
}

pub(crate) enum PortalState {
    /// Not executed yet.
    New,
    /// Rows are left.
    Open(Box<Rows>, RowEncoder),
    /// Executed to its end.
    Finished,
}

/// The portals of a session by name.
#[derive(Default)]
pub(crate) struct Portals(HashMap<String, Portal>);

impl Portals {
    /// Opens a portal; the unnamed one replaces its predecessor.
    pub(crate) fn open(&mut self, name: String, portal: Portal) -> Result<(), Error> {
        if !name.is_empty() && self.0.contains_key(&name) {
            return Err(Error::new(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        self.0.insert(name, portal);
        Ok(())
    }

    /// The portal `name` of the transaction `transaction`; those of others are gone.
    pub(crate) fn get(&mut self, name: &str, transaction: u64) -> Result<&mut Portal, Error> {
        self.0.retain(|_, portal| portal.transaction == transaction);
        let found = self.0.get_mut(name);
        found.ok_or_else(|| Error::new("34000", format!("portal \"{name}\" does not exist")))
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The transaction has ended, and its portals with it.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
