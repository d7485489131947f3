//! What a rollout went through: every measured value with its bounds and verdict, what moved, when, and because of what.
//!
//! Pure: [`entry`] says what is kept of a tick, [`record`] adds it to a run. The shell keeps the runs in the store's
//! database ([`records`]), on a cluster also in a ConfigMap ([`published`]); `slipway describe canary` shows them.

pub mod published;

mod earlier;
mod stored;

use api::flagger::{Canary, Metric, Phase};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use earlier::{Earlier, earlier, kept, parts};
pub use stored::{BUCKET, Head, TICKS, key, prefix, records, runs, surplus};

use crate::{
    analysis,
    machine::{Answers, Decision, Effect, Measurement, Outcome},
};

/// Runs kept per Canary: the current one and the last ten.
pub const KEPT: usize = 11;
/// Ticks kept per run. A run that waits for days keeps its beginning and its end.
const MOST: usize = 400;

/// One run: from a new revision to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Digest of the revision that was tried.
    pub revision: String,
    /// Its first container's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The first container's image of the primary when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_image: Option<String>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Phase it ended in, or is in.
    pub phase: Phase,
    /// What happened, oldest first.
    pub ticks: Vec<Tick>,
}

/// One tick of a run in which something happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tick {
    /// When.
    pub at: Timestamp,
    /// Phase after it.
    pub phase: Phase,
    /// Reported weight after it, in percent.
    pub weight: i64,
    /// Iterations after it.
    pub iterations: i64,
    /// Failed checks of the run after it.
    pub failed_checks: i64,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Why what moved moved: the texts of the tick's events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// One measured value and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the metric.
    pub metric: String,
    /// The value; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Least good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What it came to.
    pub verdict: Verdict,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a measurement comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Good enough.
    Passed,
    /// Not good enough.
    Failed,
    /// The provider has no value.
    NoData,
    /// The provider could not be asked.
    Error,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NoData => "no data",
            Self::Error => "error",
        })
    }
}

impl std::fmt::Display for Check {
    /// The value against its bounds, and the verdict: `98.5 (min 99): failed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |value: f64| format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let bound = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {}", number(value)));
        let bounds: Vec<String> = bound("min", self.min).into_iter().chain(bound("max", self.max)).collect();
        let bounds = if bounds.is_empty() { String::new() } else { format!(" ({})", bounds.join(", ")) };
        match self.value {
            Some(value) => write!(f, "{}{bounds}: {}", number(value), self.verdict),
            None => write!(f, "{}{bounds}", self.verdict),
        }
    }
}

impl Run {
    /// What people are told of the run beside words: the image, and each metric as it was measured last.
    ///
    /// Differs: Flagger's messages name neither, which its users ask for.
    pub fn facts(&self) -> Vec<(String, String)> {
        let image = self.image.iter().map(|image| ("image".to_owned(), image.clone()));
        let measured = self.ticks.iter().rev().find(|tick| !tick.checks.is_empty());
        let checks = measured.into_iter().flat_map(|tick| &tick.checks);
        image.chain(checks.map(|check| (check.metric.clone(), check.to_string()))).collect()
    }
}

/// What is kept of a tick; nothing if nothing happened that is worth it.
pub fn entry(canary: &Canary, answers: &Answers, decision: &Decision, now: Timestamp) -> Option<Tick> {
    let (before, after) = (canary.status(), &decision.status);
    let is_idle = before.phase.is_settled() && after.phase.is_settled();
    let is_initial = matches!(after.phase, Phase::Unset | Phase::Initializing | Phase::Terminating);
    if is_idle || is_initial || matches!(before.phase, Phase::Unset | Phase::Initializing) {
        return None;
    }
    let analysis = canary.analysis();
    let order = analysis::order(&analysis.metrics);
    let measured = order.iter().filter_map(|index| Some((&analysis.metrics[*index], answers.metrics.get(index)?)));
    let event = |effect: &Effect| match effect {
        Effect::Event(event) => Some(event.text.clone()),
        _ => None,
    };
    let tick = Tick {
        at: now,
        phase: after.phase,
        weight: after.canary_weight,
        iterations: after.iterations,
        failed_checks: after.failed_checks,
        checks: measured.map(|(metric, measured)| check(metric, measured)).collect(),
        events: decision.effects.iter().filter_map(event).collect(),
    };
    let moved =
        (before.phase, before.canary_weight, before.iterations) != (after.phase, after.canary_weight, after.iterations);
    (moved || !tick.checks.is_empty() || !tick.events.is_empty()).then_some(tick)
}

/// Whether the decision belongs to this run, not to a new one.
pub fn goes_on(run: &Run, canary: &Canary, decision: &Decision) -> bool {
    let is_same = run.revision == decision.status.last_applied_spec;
    run.ended.is_none() && (is_same || canary.status().phase == Phase::Waiting)
}

/// The run with one tick more: the last one if it goes on, else a new one. `images` are those of the target and of the primary.
pub fn record(
    last: Option<Run>,
    canary: &Canary,
    images: (Option<String>, Option<String>),
    decision: &Decision,
    tick: Tick,
) -> Run {
    let after = &decision.status;
    let mut run = last.filter(|run| goes_on(run, canary, decision)).unwrap_or_else(|| Run {
        image: images.0,
        from_image: images.1,
        began: tick.at,
        ..Run::default()
    });
    run.revision.clone_from(&after.last_applied_spec);
    run.phase = after.phase;
    if after.phase.is_settled() || decision.outcome == Some(Outcome::Failed) {
        run.ended = Some(tick.at);
    }
    if run.ticks.len() >= MOST {
        run.ticks.remove(MOST / 2);
    }
    run.ticks.push(tick);
    run
}

fn check(metric: &Metric, measured: &Measurement) -> Check {
    let (min, max) = analysis::bounds(metric);
    let (value, verdict, problem) = match measured {
        Measurement::Value(value) if value.is_nan() => (None, Verdict::NoData, None),
        Measurement::Value(value) => {
            let is_good = min.is_none_or(|min| *value >= min) && max.is_none_or(|max| *value <= max);
            (Some(*value), if is_good { Verdict::Passed } else { Verdict::Failed }, None)
        }
        Measurement::NoData(problem) => (None, Verdict::NoData, Some(problem.clone())),
        Measurement::Error(problem) | Measurement::Invalid(problem) => (None, Verdict::Error, Some(problem.clone())),
    };
    // JSON knows no infinity.
    let value = value.filter(|value| value.is_finite());
    Check { metric: metric.name.clone(), value, min, max, verdict, problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulate::{self, Scenario};

    #[test]
    fn a_run_keeps_every_value_and_what_it_led_to() {
        let canary = crate::cases::canary(&json!({"spec": {"provider": "istio", "analysis": {
            "interval": "10s", "threshold": 2, "stepWeight": 50, "maxWeight": 50,
            "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}}}));
        let script = json!([{"image": "app:1"}, {"tick": 1}, {"image": "app:2"}, {"tick": 3}, {"metrics": {"request-success-rate": 98.5}},
            {"tick": 2}, {"image": "app:3"}, {"metrics": {"request-success-rate": null}}, {"tick": 9}]);
        let runs = simulate::trail(canary, Vec::new(), &Scenario::parse(&script).unwrap(), Default::default());
        assert_eq!(runs.len(), 2);
        let first = &runs[0];
        assert_eq!(
            (first.phase, first.image.as_deref(), first.from_image.as_deref()),
            (Phase::Succeeded, Some("app:2"), Some("app:1"))
        );
        let values: Vec<_> =
            first.ticks.iter().flat_map(|tick| &tick.checks).map(|check| (check.value, check.verdict)).collect();
        assert_eq!(values, [(Some(100.0), Verdict::Passed)]);
        let second = &runs[1];
        assert_eq!((second.phase, second.ended.is_some()), (Phase::Failed, true));
        let verdicts: Vec<_> = second.ticks.iter().flat_map(|tick| &tick.checks).map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::NoData; 2]);
        assert!(
            second.ticks.last().is_some_and(|tick| tick.events.iter().any(|text| text.starts_with("Canary failed!")))
        );
        let named = |fact: &str| first.facts().into_iter().find(|(name, _)| name == fact).map(|(_, value)| value);
        assert_eq!(named("image").as_deref(), Some("app:2"));
        assert_eq!(named("request-success-rate").as_deref(), Some("100 (min 99): passed"));
        assert_eq!(second.facts().last().map(|(_, value)| value.as_str()), Some("no data (min 99)"));
        let written = serde_json::to_value(second).unwrap();
        assert_eq!(serde_json::from_value::<Run>(written).unwrap(), *second);
    }

    #[test]
    fn a_run_that_never_ends_stays_small() {
        let canary = crate::cases::canary(
            &json!({"spec": {"provider": "istio", "analysis": {"interval": "10s", "threshold": 10_000,
            "stepWeight": 50, "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}}}),
        );
        let script = json!([{"image": "app:1"}, {"tick": 1}, {"image": "app:2"}, {"tick": 2}, {"metrics": {"request-success-rate": 1}},
            {"tick": 1000}]);
        let runs = simulate::trail(canary, Vec::new(), &Scenario::parse(&script).unwrap(), Default::default());
        let [run] = runs.as_slice() else { panic!("{} runs", runs.len()) };
        assert_eq!((run.ticks.len(), run.ticks[0].weight, run.ticks[MOST - 1].failed_checks), (MOST, 0, 1000));
        assert!(serde_json::to_vec(run).unwrap().len() < 200_000);
    }
}
