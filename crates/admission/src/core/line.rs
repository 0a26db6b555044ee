//! Who waits, in the order in which they came.

use std::collections::VecDeque;

use crate::Ticket;

/// Waits in the order of their tickets, each with a note.
///
/// Tickets count up, so a new wait stands at the end and the order keeps itself. The head is at
/// hand, a place is found by halving, and leaving from the middle moves what is on the shorter side:
/// a few kilobytes in a line of ten thousand.
#[derive(Debug, Clone)]
pub(crate) struct Line<T>(VecDeque<(Ticket, T)>);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Line<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who is next.
    pub(crate) fn head(&self) -> Option<Ticket> {
        self.0.front().map(|(ticket, _)| *ticket)
    }

    /// The newest wait goes to the end. Once is enough: a request may name a relation twice.
    pub(crate) fn join(&mut self, ticket: Ticket, note: T) {
        let last = self.0.back().map(|(last, _)| *last);
        debug_assert!(last <= Some(ticket), "tickets count up");
        if last != Some(ticket) {
            self.0.push_back((ticket, note));
        }
    }

    /// Goes away, from wherever it stands.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let place = self.before(ticket);
        if self.0.get(place).is_some_and(|(here, _)| *here == ticket) {
            self.0.remove(place);
        }
    }

    /// How many came before `ticket`, which need not be in the line.
    pub(crate) fn before(&self, ticket: Ticket) -> usize {
        if self.head().is_none_or(|head| ticket <= head) {
            return 0;
        }
        self.0.partition_point(|(other, _)| *other < ticket)
    }

    /// The first that came no earlier than `ticket`.
    pub(crate) fn from(&self, ticket: Ticket) -> Option<Ticket> {
        self.0.get(self.before(ticket)).map(|(ticket, _)| *ticket)
    }

    pub(crate) fn contains(&self, ticket: Ticket) -> bool {
        self.from(ticket) == Some(ticket)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ticket, &T)> {
        self.0.iter().map(|(ticket, note)| (*ticket, note))
    }

    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.0.iter().map(|(ticket, _)| *ticket)
    }
}
