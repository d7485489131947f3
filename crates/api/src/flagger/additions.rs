//! What a Canary may ask for beyond Flagger's schema. All of it stands in one annotation, so that the schema stays valid and
//! Flagger, should it take the object back, passes over it. Everything is off unless asked for.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{Analysis, Canary, Strategy};

/// Annotation that holds the [`Additions`], in YAML.
pub const ADDITIONS: &str = "slipway.dev/analysis";

/// The content of the annotation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Additions {
    /// How failed checks are counted.
    pub failures: Failures,
    /// What becomes of the first deployment, which has no predecessor.
    pub first_deployment: FirstDeployment,
    /// Weights one after the other, each with its own time and metrics; in place of `stepWeight` and `stepWeights`.
    pub steps: Vec<BakedStep>,
    /// More about metrics, by name.
    pub metrics: BTreeMap<String, MetricAddition>,
}

/// How failed checks are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failures {
    /// Over the whole run, as Flagger counts.
    #[default]
    Cumulative,
    /// In a row: a check that passes begins anew.
    Consecutive,
}

/// What becomes of the first deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FirstDeployment {
    /// It serves once its pods are ready, as with Flagger.
    #[default]
    Trust,
    /// Its checks must pass once before it counts as promoted; until then the target keeps its pods.
    Analyse,
}

/// One weight and how long it is looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BakedStep {
    /// Share of traffic, in percent, 1 to 100.
    pub weight: i64,
    /// Least time at this weight; the checks go on meanwhile.
    #[serde(default)]
    pub bake: Option<crate::Duration>,
    /// Names of the metrics that are judged at this weight; all when absent.
    #[serde(default)]
    pub metrics: Option<Vec<String>>,
}

/// What a rollout does when a metric has no data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoData {
    /// The check fails, as with Flagger.
    #[default]
    Fail,
    /// Nothing moves until there is data.
    Hold,
    /// The metric counts as passed.
    Pass,
}

/// More about one metric.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricAddition {
    /// What silence means. An error of the provider is no silence.
    pub no_data: NoData,
    /// Longest time that silence holds the rollout; then the check fails. None: for as long as it takes.
    pub deadline: Option<crate::Duration>,
    /// PromQL that counts the canary's requests in the metric's window.
    pub requests: Option<String>,
    /// Fewer requests than this are no data.
    pub min_requests: f64,
    /// Judges the canary's samples by the primary's of the same window.
    pub compare: Option<Comparison>,
    /// Judges the canary's share of failed requests by the primary's.
    pub errors: Option<ErrorShare>,
}

/// A comparison of samples with those of the primary, by Mann-Whitney's test.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Comparison {
    /// PromQL of the canary's samples.
    pub canary: String,
    /// PromQL of the primary's; the canary's with the target's name replaced when empty.
    pub primary: String,
    /// Length of the window.
    pub window: crate::Duration,
    /// Time between samples.
    pub step: crate::Duration,
    /// `increase`, `decrease` or `either`: which change is bad.
    pub direction: String,
    /// A mean of less than this many times the primary's passes, however certain the difference is.
    pub allowed_increase: f64,
    /// A mean of more than this many times the primary's passes.
    pub allowed_decrease: f64,
    /// Fewer samples of either side are no data.
    pub min_samples: usize,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            canary: String::new(),
            primary: String::new(),
            window: crate::Duration(Duration::from_secs(600)),
            step: crate::Duration(Duration::from_secs(15)),
            direction: "increase".into(),
            allowed_increase: 1.1,
            allowed_decrease: 0.9,
            min_samples: 10,
        }
    }
}

/// A comparison of shares of failed requests. All queries are PromQL that counts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorShare {
    /// The canary's failed requests.
    pub failed: String,
    /// All of the canary's requests.
    pub total: String,
    /// The primary's failed requests; the canary's query with the target's name replaced when absent.
    #[serde(default)]
    pub primary_failed: Option<String>,
    /// All of the primary's requests; likewise.
    #[serde(default)]
    pub primary_total: Option<String>,
    /// Difference of the shares that passes, from 0 to 1.
    #[serde(default)]
    pub margin: f64,
    /// How certain the difference must be, from 0 to 1.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// Fewer requests of either side are no data.
    #[serde(default = "least")]
    pub min_requests: f64,
}

const fn confidence() -> f64 {
    0.98
}

const fn least() -> f64 {
    100.0
}

impl Canary {
    /// What the annotation asks for; an error says what in it cannot be read.
    pub fn additions(&self) -> Result<Additions, String> {
        let Some(text) = self.metadata.annotations.as_ref().and_then(|all| all.get(ADDITIONS)) else {
            return Ok(Additions::default());
        };
        let problem = |problem: String| format!("annotation {ADDITIONS}: {problem}");
        let value = crate::manifest::parse(text).map_err(|(line, text)| problem(format!("line {line}: {text}")))?;
        if value.is_null() {
            return Ok(Additions::default());
        }
        let additions: Additions = crate::manifest::typed(&value).map_err(problem)?;
        additions.check(&self.analysis()).map_err(problem)?;
        Ok(additions)
    }
}

impl Additions {
    /// The analysis with the steps in place of its own.
    pub fn applied(&self, analysis: &Analysis) -> Analysis {
        let mut analysis = analysis.clone();
        if !self.steps.is_empty() {
            analysis.step_weight = None;
            analysis.step_weights = self.steps.iter().map(|step| step.weight).collect();
        }
        analysis
    }

    /// The step at that weight.
    pub fn step(&self, weight: u32) -> Option<&BakedStep> {
        self.steps.iter().find(|step| step.weight == i64::from(weight))
    }

    fn check(&self, analysis: &Analysis) -> Result<(), String> {
        let mut before = 0;
        for step in &self.steps {
            if !(before + 1..=100).contains(&step.weight) {
                return Err(format!("steps: weight {} does not lie above {before} and up to 100", step.weight));
            }
            before = step.weight;
        }
        if !self.steps.is_empty() && analysis.strategy() != Strategy::Canary {
            return Err(format!("steps: they go with weights, not with the strategy {}", analysis.strategy()));
        }
        let known = |name: &String| analysis.metrics.iter().any(|metric| metric.name == *name);
        let named = self.steps.iter().filter_map(|step| step.metrics.as_ref()).flatten();
        if let Some(name) = named.chain(self.metrics.keys()).find(|name| !known(name)) {
            return Err(format!("{name}: spec.analysis.metrics has no metric of that name"));
        }
        let directions = self.metrics.values().filter_map(|metric| metric.compare.as_ref()).map(|one| &one.direction);
        match directions.into_iter().find(|word| !["increase", "decrease", "either"].contains(&word.as_str())) {
            Some(word) => Err(format!("direction {word:?}: use increase, decrease or either")),
            None => Ok(()),
        }
    }
}
