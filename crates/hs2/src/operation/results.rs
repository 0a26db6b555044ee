//! Rows between the plan and the client.

use std::collections::VecDeque;

use datafusion::arrow::record_batch::RecordBatch;

use super::Delivery;

/// Rows that a client may ask to be kept, so that it can have them again.
pub(super) const MAX_CACHED_ROWS: usize = 100_000;

/// Batches that are read ahead of the client.
const MAX_AHEAD: usize = 2;

/// Batches that have come from the plan, up to few; and those that were delivered, where the client
/// wants to begin again.
#[derive(Debug, Default)]
pub(super) struct Results {
    ahead: VecDeque<RecordBatch>,
    /// Rows delivered since the beginning, or the last return to it.
    delivered: u64,
    /// No more rows will come.
    pub(super) ended: bool,
    cache: Option<Cache>,
}

/// Every row so far, for as long as they are not too many.
#[derive(Debug)]
struct Cache {
    batches: Vec<RecordBatch>,
    rows: usize,
    limit: usize,
}

impl Results {
    /// `cached` rows can be had again.
    pub(super) fn new(cached: usize) -> Self {
        let limit = cached.min(MAX_CACHED_ROWS);
        Self {
            cache: (limit > 0).then(|| Cache {
                batches: Vec::new(),
                rows: 0,
                limit,
            }),
            ..Self::default()
        }
    }

    /// There are no rows, and none will come.
    pub(super) fn clear(&mut self) {
        *self = Self {
            ended: true,
            ..Self::default()
        };
    }

    /// Whether another batch should be read now.
    pub(super) fn has_room(&self) -> bool {
        !self.ended && self.ahead.len() < MAX_AHEAD
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        if let Some(cache) = &mut self.cache {
            cache.rows += batch.num_rows();
            cache.batches.push(batch.clone());
            if cache.rows > cache.limit {
                self.cache = None;
            }
        }
        self.ahead.push_back(batch);
    }

    /// Begins again; false when the first rows are no longer there.
    pub(super) fn restart(&mut self) -> bool {
        if self.delivered == 0 {
            return true;
        }
        let Some(cache) = &self.cache else {
            return false;
        };
        self.ahead = cache.batches.iter().cloned().collect();
        self.delivered = 0;
        true
    }

    /// Takes at most `max_rows` of the rows that are there.
    pub(super) fn take(&mut self, max_rows: usize) -> Delivery {
        let offset = self.delivered;
        let mut batches = Vec::new();
        let mut left = max_rows;
        while left > 0
            && let Some(batch) = self.ahead.pop_front()
        {
            let rows = batch.num_rows().min(left);
            if rows < batch.num_rows() {
                let rest = batch.slice(rows, batch.num_rows() - rows);
                self.ahead.push_front(rest);
            }
            batches.push(batch.slice(0, rows));
            left -= rows;
            self.delivered += rows as u64;
        }
        Delivery {
            batches,
            offset,
            has_more: !(self.ended && self.ahead.is_empty()),
            receipt: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn batch(values: std::ops::Range<i32>) -> RecordBatch {
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
        RecordBatch::try_from_iter([("a", values)]).unwrap()
    }

    fn values(delivery: &Delivery) -> Vec<i32> {
        let batches = delivery.batches.iter();
        batches
            .flat_map(|b| b.column(0).as_primitive::<Int32Type>().values().to_vec())
            .collect()
    }

    #[test]
    fn rows_are_cut_as_the_client_wants_them() {
        let mut results = Results::new(0);
        results.push(batch(0..3));
        results.push(batch(3..5));
        assert!(!results.has_room());
        let first = results.take(4);
        assert_eq!(
            (values(&first), first.offset, first.has_more),
            (vec![0, 1, 2, 3], 0, true)
        );
        assert!(results.has_room());
        results.ended = true;
        let second = results.take(10);
        assert_eq!(
            (values(&second), second.offset, second.has_more),
            (vec![4], 4, false)
        );
        let third = results.take(10);
        assert_eq!(
            (values(&third), third.offset, third.has_more),
            (vec![], 5, false)
        );
        assert!(!results.restart());
    }

    #[test]
    fn what_is_cached_can_be_had_again() {
        let mut results = Results::new(10);
        assert!(results.restart(), "nothing is gone yet");
        results.push(batch(0..3));
        results.take(2);
        assert!(results.restart());
        results.ended = true;
        let again = results.take(10);
        assert_eq!((values(&again), again.offset), (vec![0, 1, 2], 0));
    }

    #[test]
    fn too_many_rows_are_not_cached() {
        let mut results = Results::new(4);
        results.push(batch(0..3));
        results.push(batch(3..6));
        results.take(6);
        assert!(!results.restart());
    }
}
