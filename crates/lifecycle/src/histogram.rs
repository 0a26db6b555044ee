//! Counts of durations by size, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets: 16 us, and four times as much in each step, up to 17 s. What takes
/// longer is in one bucket more.
const BOUNDS: usize = 11;

/// A histogram that many threads record into.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let bucket = HistogramSnapshot::bounds()
            .position(|bound| duration <= bound)
            .unwrap_or(BOUNDS);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted until now.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)),
        }
    }
}

/// What a [`Histogram`] had counted at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    buckets: [u64; BOUNDS + 1],
    sum: Duration,
}

impl HistogramSnapshot {
    /// The upper bounds of all buckets but the last, which has none.
    pub fn bounds() -> impl Iterator<Item = Duration> {
        (0..BOUNDS).map(|step| Duration::from_micros(16 << (2 * step)))
    }

    /// How many durations are in each bucket; the last one has those above all bounds.
    #[must_use]
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All durations together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_has_room_for_it() {
        let histogram = Histogram::default();
        let bounds: Vec<Duration> = HistogramSnapshot::bounds().collect();
        assert_eq!(bounds.first(), Some(&Duration::from_micros(16)));
        for bound in &bounds {
            histogram.record(*bound);
            histogram.record(*bound + Duration::from_micros(1));
        }
        let found = histogram.snapshot();
        assert_eq!(found.buckets(), [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!(found.count(), 22);
        let sum: Duration = bounds.iter().map(|b| *b * 2).sum();
        assert_eq!(found.sum(), sum + Duration::from_micros(11));
    }
}
