//! Samples before they are compared: holes, outliers, ranks, and how far two sets are apart.

use super::Measure;

/// What becomes of values that are not numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NanStrategy {
    /// They are left out.
    #[default]
    Remove,
    /// They count as zero, as error counts do that nobody reported.
    Replace,
}

/// What becomes of values far off the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Outliers {
    /// They stay.
    #[default]
    Keep,
    /// Those further than so many interquartile ranges from the quartiles are left out.
    Remove(f64),
}

/// The values to compare.
pub fn clean(values: &[f64], nan: NanStrategy, outliers: Outliers) -> Vec<f64> {
    let values: Vec<f64> = match nan {
        NanStrategy::Remove => values.iter().copied().filter(|value| !value.is_nan()).collect(),
        NanStrategy::Replace => values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect(),
    };
    match outliers {
        Outliers::Keep => values,
        Outliers::Remove(factor) => {
            let far = outlying(&values, factor);
            values.into_iter().zip(far).filter(|(_, far)| !far).map(|(value, _)| value).collect()
        }
    }
}

/// For each value whether it lies strictly outside the fences: so many interquartile ranges from the quartiles, but not
/// within the middle 98 percent.
pub fn outlying(values: &[f64], factor: f64) -> Vec<bool> {
    let at = |percent: f64| percentile(values, percent);
    let (first, third) = (at(25.0), at(75.0));
    let low = (first - factor * (third - first)).min(at(1.0));
    let high = (third + factor * (third - first)).max(at(99.0));
    values.iter().map(|value| *value < low || *value > high).collect()
}

/// The R-7 percentile, interpolated linearly between the closest ranks; NaN without values.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let sorted = sorted(values);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = to_float(last) * percent / 100.0;
    // The place lies between 0 and the number of values.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = (place.floor().max(0.0) as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (place - to_float(below)) * (sorted[above] - sorted[below])
}

/// The values in order; NaN last.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Whether both sides together hold one value only.
pub fn is_one_value(canary: &[f64], primary: &[f64]) -> bool {
    let first = canary.first().or(primary.first());
    canary.iter().chain(primary).all(|value| Some(value) == first)
}

/// The values, with a slight spread if each side holds a single value: without any, ranks say nothing.
///
/// Differs: Kayenta adds noise at random, so that the same samples may be judged in two ways; here the spread is that of
/// the normal distribution's own quantiles.
pub fn with_spread(canary: Vec<f64>, primary: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
    if !is_one_value(&canary, &[]) || !is_one_value(&primary, &[]) {
        return (canary, primary);
    }
    let spread = |values: Vec<f64>| -> Vec<f64> {
        let count = to_float(values.len());
        let quantile = |place: usize| super::mann_whitney::normal_quantile((to_float(place) + 0.5) / count);
        values.iter().enumerate().map(|(place, value)| value + value.abs() * 1e-5 * quantile(place)).collect()
    };
    (spread(canary), spread(primary))
}

/// How much larger the canary's values are.
pub fn effect(measure: Measure, canary: &[f64], primary: &[f64]) -> f64 {
    match measure {
        Measure::MeanRatio => {
            let (canary, primary) = (mean(canary), mean(primary));
            if canary == 0.0 || primary == 0.0 { f64::NAN } else { canary / primary }
        }
        Measure::Cles => {
            let (n, m) = (to_float(canary.len()), to_float(primary.len()));
            let joined: Vec<f64> = canary.iter().chain(primary).copied().collect();
            let own: f64 = ranks(&joined)[..canary.len()].iter().sum();
            (2.0 * own - n * (n + 1.0)) / (2.0 * n * m)
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / to_float(values.len())
}

/// The place of each value in order, from 1; equal values share the mean of their places.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for group in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        let first = order.iter().position(|place| place == &group[0]).unwrap_or_default();
        let shared = to_float(2 * first + group.len() + 1) / 2.0;
        group.iter().for_each(|&place| ranks[place] = shared);
    }
    ranks
}

/// Counts are far below the limit of exact floats.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn to_float(count: usize) -> f64 {
    count as f64
}
