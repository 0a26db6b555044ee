//! Counts of durations by size, for metrics: a few additions for each statement, and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds: a quarter of a millisecond, and four times as much
/// in each step, up to an hour and more. What takes longer is in one bucket more.
const BOUNDS_MICROS: [u64; 13] = {
    let mut bounds = [250; 13];
    let mut step = 1;
    while step < bounds.len() {
        bounds[step] = bounds[step - 1] * 4;
        step += 1;
    }
    bounds
};

/// A histogram that many threads record into.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Durations {
    pub(crate) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> DurationCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6);
        let bounds = bounds.chain([f64::INFINITY]);
        DurationCounts {
            buckets: bounds.zip(self.buckets.iter().map(load)).collect(),
            sum: self.sum(),
        }
    }

    /// All durations together.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
    }
}

/// Durations by size, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DurationCounts {
    /// Upper bounds in seconds, each with how many durations are above the bound before it and not
    /// above this one. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together.
    pub sum: Duration,
}

impl DurationCounts {
    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_has_room_for_it() {
        let durations = Durations::default();
        for micros in BOUNDS_MICROS {
            durations.record(Duration::from_micros(micros));
            durations.record(Duration::from_micros(micros + 1));
        }
        let counts = durations.counts();
        let buckets: Vec<u64> = counts.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(buckets, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!(counts.count(), 26);
        assert_eq!(counts.buckets[0].0, 0.000_25);
        assert!(counts.buckets[13].0.is_infinite());
        let both: u64 = BOUNDS_MICROS.iter().map(|micros| 2 * micros + 1).sum();
        assert_eq!(counts.sum, Duration::from_micros(both));
    }
}
