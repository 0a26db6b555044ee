//! Which serial numbers of a run of the server have been archived.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many ranges are kept apart. Queries are archived almost in the order in which they were
/// registered, so there are about as many as queries run at the same time.
const MAX_RANGES: usize = 1000;

/// A set of numbers from 1, kept as ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serials {
    /// First and last number of each range. They neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
    /// Numbers that are missing from ranges which were joined to keep to the bound.
    forgotten: u64,
}

impl Extend<u64> for Serials {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, serials: T) {
        serials.into_iter().for_each(|serial| self.insert(serial));
    }
}

impl Serials {
    pub(super) fn insert(&mut self, serial: u64) {
        if serial == 0 {
            return;
        }
        let mut first = serial;
        let mut last = serial;
        if let Some((&start, &end)) = self.ranges.range(..=serial).next_back() {
            if end >= serial {
                // It came after its gap was given up.
                self.forgotten = self.forgotten.saturating_sub(1);
                return;
            }
            if end + 1 == serial {
                first = start;
            }
        }
        if let Some(end) = serial
            .checked_add(1)
            .and_then(|next| self.ranges.remove(&next))
        {
            last = end;
        }
        self.ranges.insert(first, last);
        if self.ranges.len() > MAX_RANGES {
            self.join_lowest();
        }
    }

    /// Gives up the lowest gap between two ranges.
    fn join_lowest(&mut self) {
        let Some((start, end)) = self.ranges.pop_first() else {
            return;
        };
        let Some((next, last)) = self.ranges.pop_first() else {
            return;
        };
        self.forgotten += next - end - 1;
        self.ranges.insert(start, last);
    }

    /// How many numbers are missing up to `registered`, or up to the largest number here.
    pub(super) fn missing(&self, registered: u64) -> u64 {
        let largest = self.ranges.last_key_value().map_or(0, |(_, last)| *last);
        let present: u64 = self
            .ranges
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum();
        largest.max(registered) - present + self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Serials {
        let mut serials = Serials::default();
        numbers
            .into_iter()
            .for_each(|number| serials.insert(number));
        serials
    }

    #[test]
    fn ranges_join_in_whatever_order_numbers_come() {
        for order in [
            [1, 2, 3, 4],
            [4, 3, 2, 1],
            [1, 3, 2, 4],
            [2, 4, 3, 1],
            [1, 4, 2, 3],
        ] {
            let serials = of(order);
            assert_eq!(serials.ranges, BTreeMap::from([(1, 4)]), "{order:?}");
            assert_eq!((serials.missing(0), serials.missing(6)), (0, 2));
        }
    }

    #[test]
    fn gaps_are_counted_from_one() {
        assert_eq!(of([]).missing(0), 0);
        assert_eq!(of([]).missing(3), 3);
        assert_eq!(of([3, 5, 5, 0]).missing(1), 3);
        assert_eq!(of([u64::MAX, 1]).missing(0), u64::MAX - 2);
    }

    #[test]
    fn memory_is_bounded_and_the_count_stays_right() {
        let every_other: Vec<u64> = (1..=4 * MAX_RANGES as u64).filter(|n| n % 2 == 0).collect();
        let mut serials = of(every_other.iter().copied());
        assert_eq!(serials.ranges.len(), MAX_RANGES);
        assert_eq!(serials.missing(0), 2 * MAX_RANGES as u64);
        // Those that come late are found again.
        (1..=4 * MAX_RANGES as u64)
            .filter(|n| n % 2 == 1)
            .for_each(|n| serials.insert(n));
        assert_eq!(serials.missing(0), 0);
    }
}
