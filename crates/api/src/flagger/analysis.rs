//! `spec.analysis`: how a new revision is judged. Source: reference progressive-delivery.md, sections A.4 and A.5.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{HttpMatch, number};
use crate::meta::NamespacedReference;

/// Interval between ticks when none, or an unreadable one, is given.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// Shortest interval between ticks, unless the controller is told otherwise.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// How a new revision is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Analysis {
    /// Time between ticks, as written; see [`Analysis::interval`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interval: String,
    /// Failed checks that cause a rollback, as written; see [`Analysis::threshold`].
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i64>,
    /// Above zero: blue/green, or A/B testing with `match`.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub iterations: Option<i64>,
    /// Send copies of requests to the canary before real ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mirror: bool,
    /// Share of requests mirrored, in percent; zero means all.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub mirror_weight: Option<i64>,
    /// Weight at which the canary is promoted; ignored with `stepWeights`.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<i64>,
    /// Weight added each tick.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub step_weight: Option<i64>,
    /// Weights one after the other.
    #[serde(deserialize_with = "number::list", skip_serializing_if = "Vec::is_empty")]
    pub step_weights: Vec<i64>,
    /// Weight given back to the primary each tick of the promotion; zero: all at once.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub step_weight_promotion: Option<i64>,
    /// Share of the primary's replicas that must be available, in percent; 100 when absent.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub primary_ready_threshold: Option<i64>,
    /// Share of the canary's replicas that must be available, in percent; 100 when absent.
    #[serde(deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub canary_ready_threshold: Option<i64>,
    /// Who is told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// What is measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Hooks: gates, tests, load.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Hook>,
    /// Requests of an A/B test that go to the canary.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Keep a user on the version they saw first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
}

/// How traffic moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// By weight.
    Canary,
    /// All at once after a number of iterations.
    BlueGreen,
    /// By what a request carries.
    AbTesting,
}

impl Strategy {
    /// As metrics label it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blue-green",
            Self::AbTesting => "ab-testing",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of the analysis' alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Least severity that is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The AlertProvider.
    pub provider_ref: NamespacedReference,
}

/// How bad news is; later is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Everything goes well. An empty text is read as this too.
    #[default]
    #[serde(alias = "")]
    Info,
    /// Somebody is waited for.
    Warn,
    /// A rollout failed.
    Error,
}

impl Severity {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One thing measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// `request-success-rate`, `request-duration`, or any name with a query.
    pub name: String,
    /// Window of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Deprecated bound; see `thresholdRange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Bounds, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_range: Option<ThresholdRange>,
    /// Deprecated inline PromQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The MetricTemplate with the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateReference>,
    /// Values of `variables` in the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template_variables: BTreeMap<String, String>,
}

impl Metric {
    /// Share of requests that did not fail, in percent.
    pub const SUCCESS_RATE: &str = "request-success-rate";
    /// Time of a request, in milliseconds.
    pub const DURATION: &str = "request-duration";

    /// Whether it is measured by a query that comes with the routing provider.
    pub fn is_builtin(&self) -> bool {
        [Self::SUCCESS_RATE, Self::DURATION].contains(&self.name.as_str())
    }

    /// The query in the Canary, if one is given.
    pub fn inline_query(&self) -> Option<&str> {
        self.query.as_deref().filter(|query| !query.is_empty())
    }

    /// From how many sources it is measured: its name, a query and a template are one each.
    pub fn sources(&self) -> usize {
        let (has_query, has_template) = (self.inline_query().is_some(), self.template_ref.is_some());
        // Most have one, and their names need not be compared.
        usize::from(has_query)
            + usize::from(has_template)
            + usize::from((has_query || has_template) && self.is_builtin())
    }

    /// One metric for each source; all of them have to be good. Source: Flagger 1.44 `pkg/controller/scheduler_metrics.go`.
    pub fn by_source(&self) -> Vec<Self> {
        if self.sources() <= 1 {
            return vec![self.clone()];
        }
        let builtin = self.is_builtin().then(|| Self { query: None, template_ref: None, ..self.clone() });
        let inline = self.inline_query().map(|_| Self { template_ref: None, ..self.clone() });
        let template = self.template_ref.as_ref().map(|_| Self { query: None, ..self.clone() });
        [builtin, inline, template].into_iter().flatten().collect()
    }
}

/// A MetricTemplate, perhaps of another namespace.
pub type TemplateReference = NamespacedReference;

/// Inclusive bounds; an absent side is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRange {
    /// Least good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookType {
    /// In every check; the type when none is given.
    #[default]
    #[serde(alias = "")]
    Rollout,
    /// Gate before the target is scaled up.
    ConfirmRollout,
    /// Before the first traffic.
    PreRollout,
    /// Gate before each increase of traffic.
    ConfirmTrafficIncrease,
    /// Gate before the promotion.
    ConfirmPromotion,
    /// After the end, whatever it is.
    PostRollout,
    /// Asks whether to roll back.
    Rollback,
    /// Receives every event.
    Event,
}

impl HookType {
    /// As it is written in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
            Self::Event => "event",
        }
    }
}

/// An HTTP call in the course of a rollout. Source: reference progressive-delivery.md, section D.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// When it is called.
    #[serde(rename = "type", default)]
    pub kind: HookType,
    /// For people and events.
    #[serde(default)]
    pub name: String,
    /// Where to.
    #[serde(default)]
    pub url: String,
    /// Whether waiting for approval sends no alert.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute_alert: bool,
    /// Longest time for one call, as written; see [`Hook::timeout`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Further attempts after a connection error, 5xx or 429.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// Whether certificates go unchecked.
    #[serde(rename = "disableTLS", default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_tls: bool,
    /// Sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Keeps a user on the version they saw first, with a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// Name of the canary's cookie.
    #[serde(default)]
    pub cookie_name: String,
    /// Name of the primary's cookie; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_cookie_name: Option<String>,
    /// `Domain` attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `HttpOnly` attribute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http_only: bool,
    /// `Max-Age` attribute in seconds; 86,400 when absent or zero.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i64>,
    /// `Partitioned` attribute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioned: bool,
    /// `Path` attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `SameSite` attribute: `Strict`, `Lax` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<String>,
    /// `Secure` attribute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
}

impl SessionAffinity {
    /// `Max-Age` of the canary's cookie, in seconds.
    pub fn max_age(&self) -> i64 {
        self.max_age.filter(|&seconds| seconds != 0).unwrap_or(86_400)
    }
}

impl Analysis {
    /// Time between ticks: 60 s when absent or unreadable, never below `least` ([`MIN_INTERVAL`] in Flagger).
    pub fn interval(&self, least: Duration) -> Duration {
        // Go reads negative durations; they end at the least one too.
        let text = self.interval.strip_prefix('-').map_or(self.interval.as_str(), |_| "0");
        text.parse().map_or(DEFAULT_INTERVAL, crate::Duration::get).max(least)
    }

    /// Failed checks that cause a rollback, at least 1.
    pub fn threshold(&self) -> i64 {
        self.threshold.unwrap_or_default().max(1)
    }

    /// Iterations before the promotion; zero for weighted canaries.
    pub fn iterations(&self) -> i64 {
        self.iterations.unwrap_or_default().max(0)
    }

    /// The strategy: `match` with iterations is A/B testing, iterations alone blue/green, everything else weighted.
    pub fn strategy(&self) -> Strategy {
        match (self.iterations() > 0, self.matches.is_empty()) {
            (false, _) => Strategy::Canary,
            (true, true) => Strategy::BlueGreen,
            (true, false) => Strategy::AbTesting,
        }
    }

    /// Weight at which the canary is promoted, in percent.
    pub fn max_weight(&self) -> i64 {
        match (self.step_weights.last(), self.max_weight) {
            (Some(&last), _) => last.min(100),
            (None, Some(max)) if max > 0 => max,
            _ => 100,
        }
    }

    /// Share of the primary's replicas that must be available, in percent.
    pub fn primary_ready_threshold(&self) -> i64 {
        self.primary_ready_threshold.unwrap_or(100)
    }

    /// Share of the canary's replicas that must be available, in percent.
    pub fn canary_ready_threshold(&self) -> i64 {
        self.canary_ready_threshold.unwrap_or(100)
    }

    /// Hooks of one type, in order.
    pub fn hooks(&self, kind: HookType) -> impl Iterator<Item = &Hook> {
        self.webhooks.iter().filter(move |hook| hook.kind == kind)
    }
}

impl Alert {
    /// Whether news of that severity is sent. Differs: an absent severity means `info`, as the documentation says; the original sends nothing.
    pub fn receives(&self, severity: Severity) -> bool {
        severity >= self.severity.unwrap_or_default()
    }
}

impl Metric {
    /// Window of a builtin or inline query; a template's query gets the written one, or nothing.
    pub fn interval(&self) -> &str {
        self.interval.as_deref().filter(|text| !text.is_empty()).unwrap_or("1m")
    }
}

impl Hook {
    /// Longest time for one call: 10 s when absent, unreadable or shorter than two characters.
    pub fn timeout(&self) -> Duration {
        let written = self.timeout.as_deref().filter(|text| text.len() >= 2);
        written.and_then(|text| text.parse().ok()).map_or(Duration::from_secs(10), crate::Duration::get)
    }

    /// Further attempts after the first.
    pub fn retries(&self) -> u32 {
        u32::try_from(self.retries.unwrap_or_default()).unwrap_or_default()
    }
}
