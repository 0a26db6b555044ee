//! Counts of durations by size, for metrics: a few additions for each, and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much larger the bound of a bucket is than the one before.
const STEP: u64 = 4;

/// A histogram that many threads record into. Each bucket's bound is four times that of the one
/// before; what is longer than the largest is in one bucket more.
#[derive(Debug)]
pub struct Histogram {
    smallest_micros: u64,
    /// One for each bound, and the one above all.
    buckets: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Default for Histogram {
    /// For statements and waits: a quarter of a millisecond to an hour and more.
    fn default() -> Self {
        Self::new(Duration::from_micros(250), 13)
    }
}

impl Histogram {
    /// Buckets with so many bounds, of which `smallest` is the smallest.
    ///
    /// # Panics
    /// When the largest would be half a million years, or more.
    #[must_use]
    pub fn new(smallest: Duration, bounds: u32) -> Self {
        let smallest_micros = micros(smallest).max(1);
        let largest = STEP
            .checked_pow(bounds)
            .and_then(|factor| smallest_micros.checked_mul(factor));
        assert!(largest.is_some(), "{bounds} bounds from {smallest:?} on");
        Self {
            smallest_micros,
            buckets: (0..=bounds).map(|_| AtomicU64::default()).collect(),
            sum_micros: AtomicU64::default(),
        }
    }

    /// For work in the background: 16 microseconds to 17 seconds.
    #[must_use]
    pub fn of_background_work() -> Self {
        Self::new(Duration::from_micros(16), 11)
    }

    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let micros = micros(duration);
        let bucket = self.bounds_micros().position(|bound| micros <= bound);
        let bucket = bucket.unwrap_or(self.buckets.len() - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted until now.
    #[must_use]
    pub fn counts(&self) -> DurationCounts {
        #[expect(clippy::cast_precision_loss, reason = "the bounds are round")]
        let bounds = self.bounds_micros().map(|bound| bound as f64 / 1e6);
        let counts = self.buckets.iter().map(|c| c.load(Ordering::Relaxed));
        DurationCounts {
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
            sum: self.sum(),
        }
    }

    /// All durations together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
    }

    /// The bounds, which all buckets but the last have.
    fn bounds_micros(&self) -> impl Iterator<Item = u64> {
        let bounds = std::iter::successors(Some(self.smallest_micros), |bound| Some(bound * STEP));
        bounds.take(self.buckets.len() - 1)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
        for histogram in [Histogram::default(), Histogram::of_background_work()] {
            let bounds: Vec<u64> = histogram.bounds_micros().collect();
            for bound in &bounds {
                histogram.record(Duration::from_micros(*bound));
                histogram.record(Duration::from_micros(*bound + 1));
            }
            let counts = histogram.counts();
            let found: Vec<u64> = counts.buckets.iter().map(|(_, count)| *count).collect();
            let mut expected = vec![2; bounds.len() + 1];
            expected[0] = 1;
            expected[bounds.len()] = 1;
            assert_eq!(found, expected);
            assert_eq!(counts.count(), 2 * bounds.len() as u64);
            let both: u64 = bounds.iter().map(|bound| 2 * bound + 1).sum();
            assert_eq!(counts.sum, Duration::from_micros(both));
        }
    }

    #[test]
    fn bounds_are_in_seconds_and_end_with_infinity() {
        let bounds = |histogram: Histogram| -> Vec<f64> {
            let counts = histogram.counts();
            counts.buckets.iter().map(|(bound, _)| *bound).collect()
        };
        let of_statements = bounds(Histogram::default());
        assert_eq!((of_statements.len(), of_statements[0]), (14, 0.000_25));
        assert_eq!(of_statements[12], 4194.304);
        assert!(of_statements[13].is_infinite());
        let of_work = bounds(Histogram::of_background_work());
        assert_eq!((of_work.len(), of_work[0]), (12, 0.000_016));
        assert!((of_work[10] - 16.777_216).abs() < 1e-9);
    }
}
