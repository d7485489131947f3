//! The two-sided Mann-Whitney test: by how much canary and primary differ, with a confidence interval.
//!
//! Source: reference progressive-delivery.md, I.1 step 5. The limits depend on the solver's path in the fourth decimal, so
//! the solver is Brent's, with the reference's tolerance.

use super::samples::{ranks, to_float};

/// By how much the canary's values are larger than the primary's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower limit of confidence.
    pub low: f64,
    /// Upper limit of confidence.
    pub high: f64,
    /// The likeliest difference.
    pub estimate: f64,
}

/// Absolute tolerance of the solver.
const TOLERANCE: f64 = 1e-4;
/// Most steps of the solver.
const STEPS: usize = 1000;

/// The interval; nothing if the values say nothing about it.
pub fn interval(canary: &[f64], primary: &[f64], confidence: f64) -> Option<Interval> {
    let limit = normal_quantile(1.0 - (1.0 - confidence) / 2.0);
    let (least, most) = range(canary, primary)?;
    let root = |target: f64, stops_at_ends: bool| {
        let difference = |shift: f64| wilcoxon(canary, primary, shift, target);
        let (at_least, at_most) = (difference(least)?, difference(most)?);
        if stops_at_ends && at_least <= 0.0 {
            return Some(least);
        }
        if stops_at_ends && at_most >= 0.0 {
            return Some(most);
        }
        brent(difference, (least, at_least), (most, at_most))
    };
    Some(Interval { low: root(limit, true)?, high: root(-limit, true)?, estimate: root(0.0, false)? })
}

/// The least and the greatest difference between a value of the one and one of the other.
fn range(canary: &[f64], primary: &[f64]) -> Option<(f64, f64)> {
    let ends = |values: &[f64]| {
        let least = values.iter().copied().reduce(f64::min)?;
        Some((least, values.iter().copied().reduce(f64::max)?))
    };
    let ((low, high), (other_low, other_high)) = (ends(canary)?, ends(primary)?);
    Some((low - other_high, high - other_low))
}

/// How far the standardized rank sum of the shifted canary is from a target; nothing if all values are equal.
pub fn wilcoxon(canary: &[f64], primary: &[f64], shift: f64, target: f64) -> Option<f64> {
    let (n, m) = (to_float(canary.len()), to_float(primary.len()));
    let joined: Vec<f64> = canary.iter().map(|value| value - shift).chain(primary.iter().copied()).collect();
    let ranked = ranks(&joined);
    let sum: f64 = ranked[..canary.len()].iter().sum();
    let statistic = sum - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let correction = if statistic == 0.0 { 0.0 } else { 0.5 * statistic.signum() };
    let all = n + m;
    let sigma = (n * m / 12.0 * ((all + 1.0) - ties(&ranked) / (all * (all - 1.0)))).sqrt();
    (sigma > 0.0).then(|| (statistic - correction) / sigma - target)
}

/// The sum of t³ − t over groups of t equal ranks.
fn ties(ranked: &[f64]) -> f64 {
    let sorted = super::samples::sorted(ranked);
    let groups = sorted.chunk_by(|a, b| a.total_cmp(b).is_eq());
    groups.map(|group| to_float(group.len())).map(|count| count.powi(3) - count).sum()
}

/// Brent's method between two points with values of different signs.
fn brent(f: impl Fn(f64) -> Option<f64>, (mut a, mut fa): (f64, f64), (mut b, mut fb): (f64, f64)) -> Option<f64> {
    if fa == 0.0 {
        return Some(a);
    }
    if fb == 0.0 {
        return Some(b);
    }
    let (mut c, mut fc) = (a, fa);
    for _ in 0..=STEPS {
        let previous = b - a;
        if fc.abs() < fb.abs() {
            (a, b, c) = (b, c, b);
            (fa, fb, fc) = (fb, fc, fb);
        }
        let tolerance = 2.0 * f64::EPSILON * b.abs() + TOLERANCE / 2.0;
        let mut step = (c - b) / 2.0;
        if step.abs() <= tolerance || fb == 0.0 {
            return Some(b);
        }
        if previous.abs() >= tolerance && fa.abs() > fb.abs() {
            step = interpolated((a, fa), (b, fb), (c, fc), previous, tolerance).unwrap_or(step);
        }
        if step.abs() < tolerance {
            step = tolerance.copysign(step);
        }
        (a, fa) = (b, fb);
        b += step;
        fb = f(b)?;
        if fb > 0.0 && fc > 0.0 || fb < 0.0 && fc < 0.0 {
            (c, fc) = (a, fa);
        }
    }
    None
}

/// A step by secant or inverse quadratic interpolation, if it stays well inside the bracket.
fn interpolated(
    (a, fa): (f64, f64),
    (b, fb): (f64, f64),
    (c, fc): (f64, f64),
    previous: f64,
    tolerance: f64,
) -> Option<f64> {
    let width = c - b;
    // The points are the same ones, not close ones.
    #[allow(clippy::float_cmp)]
    let (p, q) = if a == c {
        let ratio = fb / fa;
        (width * ratio, 1.0 - ratio)
    } else {
        let (q, r, s) = (fa / fc, fb / fc, fb / fa);
        (s * (width * q * (q - r) - (b - a) * (r - 1.0)), (q - 1.0) * (r - 1.0) * (s - 1.0))
    };
    let (p, q) = if p > 0.0 { (p, -q) } else { (-p, q) };
    let is_inside = p < 0.75 * width * q - (tolerance * q).abs() / 2.0 && p < (previous * q / 2.0).abs();
    is_inside.then(|| p / q)
}

/// The point below which a standard normal value lies with that chance. An approximation by Acklam, made exact by one
/// step of Halley's.
pub fn normal_quantile(chance: f64) -> f64 {
    if !(chance > 0.0 && chance < 1.0) {
        return if chance <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let x = approximate_quantile(chance);
    let error = normal(x) - chance;
    let step = error * (2.0 * std::f64::consts::PI).sqrt() * (x * x / 2.0).exp();
    x - step / (1.0 + x * step / 2.0)
}

fn approximate_quantile(chance: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0];
    /// Where the tails begin.
    const TAIL: f64 = 0.024_25;
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, factor| sum * x + factor);
    if chance < TAIL {
        let q = (-2.0 * chance.ln()).sqrt();
        return polynomial(&C, q) / polynomial(&D, q);
    }
    if chance > 1.0 - TAIL {
        return -approximate_quantile(1.0 - chance);
    }
    let q = chance - 0.5;
    q * polynomial(&A, q * q) / polynomial(&B, q * q)
}

/// The chance that a standard normal value is below that point, by its power series; exact for what is asked here.
pub fn normal(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut divisor) = (x, x, 1.0);
    while f64::abs(term) > f64::EPSILON * f64::abs(sum) {
        divisor += 2.0;
        term *= x * x / divisor;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
