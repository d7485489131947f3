//! Whether the canary does as well as the primary: samples of the same window compared, metric by metric, and a score.
//!
//! Pure numbers. The algorithm, its constants and its order of decisions are those of Kayenta's `NetflixACAJudge-v1.0`;
//! source: reference progressive-delivery.md, I.1. What is kept for practice is [`EffectSize::floor`]: more samples make
//! ever smaller shifts significant, so significance alone must not fail a rollout.

pub mod mann_whitney;
pub mod proportion;
pub mod samples;
pub mod score;

use samples::{NanStrategy, Outliers};

/// Which change counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// More is worse.
    Increase,
    /// Less is worse.
    Decrease,
    /// Any change is worse.
    #[default]
    Either,
}

/// How much larger the canary's values are than the primary's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Mean divided by mean; 1 is no difference.
    #[default]
    MeanRatio,
    /// The chance that a value of the canary is the larger one; 0.5 is no difference.
    Cles,
}

/// The differences that are let pass however significant they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectSize {
    /// How it is measured.
    pub measure: Measure,
    /// At least this much more is `High`.
    pub allowed_increase: f64,
    /// At most this much less is `Low`.
    pub allowed_decrease: f64,
    /// At least this much more of a critical metric fails everything.
    pub critical_increase: f64,
    /// At most this much less of a critical metric fails everything.
    pub critical_decrease: f64,
}

impl EffectSize {
    /// Everything that is significant counts: Kayenta's default.
    pub const fn none(measure: Measure) -> Self {
        let equal = match measure {
            Measure::MeanRatio => 1.0,
            Measure::Cles => 0.5,
        };
        Self {
            measure,
            allowed_increase: equal,
            allowed_decrease: equal,
            critical_increase: equal,
            critical_decrease: equal,
        }
    }

    /// Changes of less than a tenth are let pass: the default of rollouts.
    pub const fn floor() -> Self {
        Self { allowed_increase: 1.1, allowed_decrease: 0.9, ..Self::none(Measure::MeanRatio) }
    }
}

/// How one metric is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Which change counts.
    pub direction: Direction,
    /// What becomes of values that are not numbers.
    pub nan: NanStrategy,
    /// What becomes of values far off the others.
    pub outliers: Outliers,
    /// Whether a failure of this metric fails everything.
    pub critical: bool,
    /// Whether silence is a failure.
    pub must_have_data: bool,
    /// What is let pass.
    pub effect: EffectSize,
    /// Share of the estimated difference that the confidence interval must clear.
    pub tolerance: f64,
    /// Confidence of the interval, between 0 and 1.
    pub confidence: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            direction: Direction::Either,
            nan: NanStrategy::Remove,
            outliers: Outliers::Keep,
            critical: false,
            must_have_data: false,
            effect: EffectSize::none(Measure::MeanRatio),
            tolerance: 0.25,
            confidence: 0.98,
        }
    }
}

/// What a metric comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No difference that matters.
    Pass,
    /// The canary's values are larger.
    High,
    /// The canary's values are smaller.
    Low,
    /// One side has no values.
    Nodata,
    /// One side has no values, and must have.
    NodataFail,
}

impl Class {
    /// As Kayenta writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::High => "High",
            Self::Low => "Low",
            Self::Nodata => "Nodata",
            Self::NodataFail => "NodataFailMetric",
        }
    }
}

/// A metric's class, and how far canary and primary differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What it comes to.
    pub class: Class,
    /// Whether it fails everything.
    pub critical: bool,
    /// The effect in the settings' measure; NaN if the primary's mean is zero.
    pub ratio: f64,
}

/// Judges the canary's values against the primary's of the same window.
pub fn classify(canary: &[f64], primary: &[f64], settings: &Settings) -> Verdict {
    let canary = samples::clean(canary, settings.nan, settings.outliers);
    let primary = samples::clean(primary, settings.nan, settings.outliers);
    let verdict = |class, critical, ratio| Verdict { class, critical, ratio };
    if canary.is_empty() || primary.is_empty() {
        return match settings.nan {
            NanStrategy::Replace => verdict(Class::Pass, false, 1.0),
            NanStrategy::Remove if settings.must_have_data && !settings.critical => {
                verdict(Class::NodataFail, false, 1.0)
            }
            NanStrategy::Remove => verdict(Class::Nodata, settings.critical, 1.0),
        };
    }
    let ratio = samples::effect(settings.effect.measure, &canary, &primary);
    if samples::sorted(&canary) == samples::sorted(&primary) || samples::is_one_value(&canary, &primary) {
        return verdict(Class::Pass, false, ratio);
    }
    let (canary, primary) = samples::with_spread(canary, primary);
    let Some(interval) = mann_whitney::interval(&canary, &primary, settings.confidence) else {
        return verdict(Class::Pass, false, ratio);
    };
    let bound = settings.tolerance * interval.estimate.abs();
    let effect = &settings.effect;
    let (up, down) = (settings.direction != Direction::Decrease, settings.direction != Direction::Increase);
    if up && interval.low > bound && (ratio.is_nan() || ratio >= effect.allowed_increase) {
        let critical = settings.critical && (ratio.is_nan() || ratio >= effect.critical_increase);
        return verdict(Class::High, critical, ratio);
    }
    if down && interval.high < -bound && (ratio.is_nan() || ratio <= effect.allowed_decrease) {
        let critical = settings.critical && (ratio.is_nan() || ratio <= effect.critical_decrease);
        return verdict(Class::Low, critical, ratio);
    }
    verdict(Class::Pass, false, ratio)
}

#[cfg(test)]
mod tests;
