//! What the rounds of a measurement come to.

/// A quartile of sorted values, the nearest one at or below it.
pub(crate) fn quartile(sorted: &[f64], quarter: usize) -> f64 {
    sorted[(sorted.len() - 1) * quarter / 4]
}

/// The median of some values, and half the distance between their quartiles as a share of it.
pub(crate) fn median(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let median = quartile(values, 2);
    let spread = (quartile(values, 3) - quartile(values, 1)) / 2.0 / median;
    (median, spread)
}

/// The least of the sorted values that so many hundredths of them do not exceed.
pub(crate) fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quartiles are values that were measured: the nearest at or below the rank.
    #[test]
    fn quartiles_are_measured_values() {
        let quartiles = |sorted: &[f64]| -> Vec<f64> {
            [1, 2, 3].map(|quarter| quartile(sorted, quarter)).to_vec()
        };
        let sorted = [10.0, 20.0, 30.0, 40.0, 50.0];
        assert_eq!(quartiles(&sorted), vec![20.0, 30.0, 40.0]);
        assert_eq!(quartiles(&sorted[..4]), vec![10.0, 20.0, 30.0]);
        assert_eq!(quartiles(&sorted[..1]), vec![10.0; 3]);
    }

    /// The last percentiles of few values are the highest of them.
    #[test]
    fn percentiles_are_measured_values() {
        let sorted: Vec<f64> = (1..=50).map(f64::from).collect();
        let percentiles = [1, 50, 99, 100].map(|hundredths| percentile(&sorted, hundredths));
        assert_eq!(percentiles.to_vec(), vec![1.0, 25.0, 50.0, 50.0]);
        assert!(percentile(&[], 50).is_nan());
    }

    /// The order of the rounds does not matter.
    #[test]
    fn the_spread_is_a_share_of_the_median() {
        let (median, spread) = median(&mut [50.0, 10.0, 30.0, 20.0, 40.0]);
        assert_eq!((median, spread), (30.0, 20.0 / 2.0 / 30.0));
    }
}
