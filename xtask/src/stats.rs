//! The few statistics that the measurements need.
//!
//! Medians and quartiles, because on a machine that others use as well single runs are late by any amount, never early.

use std::time::Duration;

/// The median and the quartiles of some measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest one.
    pub min: f64,
    /// A quarter of them are below.
    pub lower: f64,
    /// Half of them are below.
    pub median: f64,
    /// A quarter of them are above.
    pub upper: f64,
    /// The greatest one.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        assert!(!sorted.is_empty(), "there is nothing to summarize");
        sorted.sort_by(f64::total_cmp);
        Spread {
            min: sorted[0],
            lower: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            upper: quantile(&sorted, 0.75),
            max: sorted[sorted.len() - 1],
        }
    }
}

/// The value that this part of the sorted values is below, interpolated between neighbours.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// The average of ratios: 2 and 1/2 give 1.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = values.into_iter().map(f64::ln).collect();
    assert!(!logarithms.is_empty(), "there is nothing to summarize");
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

/// A duration in milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_odd_and_even_numbers_of_values() {
        let odd = Spread::of([5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(
            (odd.min, odd.lower, odd.median, odd.upper, odd.max),
            (1.0, 2.0, 3.0, 4.0, 5.0)
        );
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!((even.lower, even.median, even.upper), (1.75, 2.5, 3.25));
    }

    #[test]
    fn one_value_is_all_of_its_quartiles() {
        let one = Spread::of([7.0]);
        assert_eq!((one.min, one.median, one.max), (7.0, 7.0, 7.0));
    }

    #[test]
    fn a_ratio_and_its_inverse_cancel_out() {
        assert!((geometric_mean([2.0, 0.5]) - 1.0).abs() < 1e-12);
        assert!((geometric_mean([1.1, 1.1, 1.1]) - 1.1).abs() < 1e-12);
    }
}
