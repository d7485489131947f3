//! The metrics of a rollout: the last value of each against its limits, and the values before.

use api::flagger::{Canary, Metric};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    analysis::{self, Kind},
    trail::{Run, Verdict},
};

/// One metric, as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the metric.
    pub name: String,
    /// Unit of its values; none is known for queries of one's own.
    pub unit: &'static str,
    /// Least good value.
    pub min: Option<f64>,
    /// Greatest good value.
    pub max: Option<f64>,
    /// Last value of the canary and when it was taken; absent before the first.
    pub canary: Option<Sample>,
    /// What the last one came to.
    pub verdict: Option<Verdict>,
    /// How often it failed in this run.
    pub failed: usize,
    /// How often it was measured in this run.
    pub measured: usize,
    /// Why there is no value.
    pub error: Option<String>,
    /// The query, fully rendered; filled in by whoever can ask for it.
    pub query: Option<String>,
    /// The kind of service that answers it; likewise.
    pub source: Option<String>,
}

/// A value and when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The value; none where there was no data.
    pub value: Option<f64>,
    /// When.
    pub at: Timestamp,
}

/// The metrics of the analysis with what the run measured.
pub(super) fn of(canary: &Canary, run: Option<&Run>) -> Vec<Check> {
    let analysis = canary.analysis();
    let order = analysis::order(&analysis.metrics);
    order.into_iter().map(|index| check(&analysis.metrics[index], run)).collect()
}

fn check(metric: &Metric, run: Option<&Run>) -> Check {
    let ticks = run.into_iter().flat_map(|run| &run.ticks);
    let of_metric = |tick: &'_ crate::trail::Tick| {
        tick.checks.iter().find(|check| check.metric == metric.name).map(|check| (tick.at, check.clone()))
    };
    let measured: Vec<_> = ticks.filter_map(of_metric).collect();
    let (min, max) = analysis::bounds(metric);
    let last = measured.last();
    Check {
        name: metric.name.clone(),
        unit: unit_of(metric),
        min,
        max,
        canary: last.map(|(at, check)| Sample { value: check.value, at: *at }),
        verdict: last.map(|(_, check)| check.verdict),
        failed: measured.iter().filter(|(_, check)| check.verdict != Verdict::Passed).count(),
        measured: measured.len(),
        error: last.and_then(|(_, check)| check.problem.clone()),
        query: None,
        source: None,
    }
}

fn unit_of(metric: &Metric) -> &'static str {
    match analysis::kind(metric) {
        Kind::SuccessRate => "%",
        Kind::Duration => "ms",
        Kind::Inline | Kind::Template | Kind::Unusable => "",
    }
}

/// The unit of a Canary's metric.
pub fn unit(canary: &Canary, metric: &str) -> &'static str {
    let given = canary.analysis().metrics.iter().find(|one| one.name == metric).map(unit_of);
    given.unwrap_or_else(|| unit_of(&Metric { name: metric.to_owned(), ..Metric::default() }))
}

/// A value with its unit, short: `97.25 %`, `412 ms`, `1.52 s`.
pub fn quantity(value: f64, unit: &str) -> String {
    let number = |value: f64| {
        let digits = if value.abs() >= 100.0 || value == 0.0 { 0 } else { 2 };
        let text = match value.abs() {
            size if size > 0.0 && size < 0.01 => format!("{value:.4}"),
            _ => format!("{value:.digits$}"),
        };
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        text.to_owned()
    };
    match unit {
        "ms" if value.abs() >= 1000.0 => format!("{} s", number(value / 1000.0)),
        "%" if value.abs() < 100.0 && value.abs() > 99.99 => format!("{value:.3} %"),
        "" => number(value),
        unit => format!("{} {unit}", number(value)),
    }
}
