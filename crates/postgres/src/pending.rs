//! Connections that have not logged in yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The connections that are logging in, the oldest first. There are at most so many: one more
/// ends the oldest, so that silent connections, however many, do not keep others out.
#[derive(Debug)]
pub(crate) struct Pending {
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

/// A connection that is logging in; dropped when it has, or has ended.
#[derive(Debug)]
pub(crate) struct Place {
    pending: Arc<Pending>,
    number: u64,
    /// Cancelled when the connection must make room.
    pub(crate) lost: CancellationToken,
}

impl Pending {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            waiting: Mutex::default(),
        })
    }

    /// A place for one more connection.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        let mut waiting = self.waiting.lock();
        while waiting.by_age.len() >= self.most {
            let Some((_, oldest)) = waiting.by_age.pop_first() else {
                break;
            };
            oldest.cancel();
        }
        waiting.last += 1;
        let number = waiting.last;
        let lost = CancellationToken::new();
        waiting.by_age.insert(number, lost.clone());
        Place {
            pending: Arc::clone(self),
            number,
            lost,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.waiting.lock().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let pending = Pending::new(2);
        let first = pending.place();
        let second = pending.place();
        assert!(!first.lost.is_cancelled());
        let third = pending.place();
        assert!(first.lost.is_cancelled());
        drop(second);
        let fourth = pending.place();
        assert!(!third.lost.is_cancelled() && !fourth.lost.is_cancelled());
        drop((first, third, fourth));
        assert!(pending.waiting.lock().by_age.is_empty());
    }
}
