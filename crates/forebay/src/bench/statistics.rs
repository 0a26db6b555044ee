//! Whether two series of measurements differ by more than chance.

use super::{average, count};

/// The Mann-Whitney U test of `new` against `base` as a standard normal value (normal approximation,
/// with mid-ranks for ties): above 0 where `new` has the larger values, beyond ±1.96 with 5 % error.
pub fn mann_whitney_z(new: &[f64], base: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = new.iter().map(|v| (*v, true)).collect();
    all.extend(base.iter().map(|v| (*v, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut rank_sum = 0.0;
    let mut ties = 0.0;
    let mut start = 0;
    while start < all.len() {
        let alike = all[start..].iter().take_while(|v| v.0 == all[start].0);
        let end = start + alike.count();
        // Ranks count from 1; equal values share the mean of theirs.
        let mid_rank = (start + 1 + end) as f64 / 2.0;
        let ours = all[start..end].iter().filter(|v| v.1).count();
        rank_sum += mid_rank * ours as f64;
        let tied = (end - start) as f64;
        ties += tied.powi(3) - tied;
        start = end;
    }
    let (n, m) = (count(new), count(base));
    let total = n + m;
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    match variance > 0.0 {
        true => (u - n * m / 2.0) / variance.sqrt(),
        false => 0.0,
    }
}

/// Welch's t of `new` against `base`: the difference of the averages in standard errors.
pub fn t_value(new: &[f64], base: &[f64]) -> f64 {
    let error = variance(new) / count(new) + variance(base) / count(base);
    match error > 0.0 {
        true => (average(new) - average(base)) / error.sqrt(),
        false => 0.0,
    }
}

/// The sample's variance.
fn variance(values: &[f64]) -> f64 {
    let average = average(values);
    let squares: f64 = values.iter().map(|v| (v - average).powi(2)).sum();
    squares / (count(values) - 1.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_that_do_not_overlap_differ() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        // U is 25 of 25; (25 - 12.5) / sqrt(25 * 11 / 12).
        let z = 12.5 / (275.0_f64 / 12.0).sqrt();
        assert!((mann_whitney_z(&high, &low) - z).abs() < 1e-12);
        assert!((mann_whitney_z(&low, &high) + z).abs() < 1e-12);
        // Both variances are 2.5.
        assert!((t_value(&high, &low) - 5.0).abs() < 1e-12);
        assert!((t_value(&low, &high) + 5.0).abs() < 1e-12);
    }

    #[test]
    fn equal_series_do_not_differ() {
        let values = [3.0, 1.0, 2.0];
        assert!(mann_whitney_z(&values, &values).abs() < 1e-12);
        assert!(t_value(&values, &values).abs() < 1e-12);
        assert!(mann_whitney_z(&[1.0; 4], &[1.0; 4]).abs() < 1e-12);
        assert!(t_value(&[1.0; 4], &[1.0; 4]).abs() < 1e-12);
    }

    #[test]
    fn ties_share_their_ranks() {
        // Ranks of 1, 2, 2, 3 are 1, 2.5, 2.5, 4.
        let z = mann_whitney_z(&[2.0, 3.0], &[1.0, 2.0]);
        let variance: f64 = 4.0 / 12.0 * (5.0 - 6.0 / 12.0);
        assert!((z - (6.5 - 3.0 - 2.0) / variance.sqrt()).abs() < 1e-12);
    }
}
