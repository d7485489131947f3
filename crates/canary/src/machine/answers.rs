//! The facts a tick may need, and the questions that ask for them.

use std::collections::BTreeMap;

use api::flagger::Phase;

use crate::{judge::proportion::Share, router::Weights};

/// One fact that a tick needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// What the target runs.
    Target,
    /// Make sure that our part of the world is there, and say whether it is. Idempotent; never changes traffic or scale.
    Ensure(Part),
    /// Whether the metrics providers answer at all.
    MetricsOnline,
    /// Whether a workload is ready.
    Ready(Role),
    /// The shares of traffic in effect.
    Weights,
    /// Call the hook at that place of `analysis.webhooks`, reporting that phase.
    Hook(usize, Phase),
    /// Measure the metric at that place of `analysis.metrics`.
    Metric(usize),
    /// Count the requests that the metric at that place was measured on.
    Requests(usize),
    /// The samples by which the metric at that place is compared with the primary's.
    Samples(usize),
    /// The failed requests by which the metric at that place is compared with the primary's.
    Shares(usize),
}

/// Objects that belong to a Canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The primary and canary services.
    Services,
    /// The primary workload with its configuration, if it is missing.
    Primary,
    /// The primary's scaler, if it is missing.
    Scaler,
    /// The apex service, pointing at the primary.
    Apex,
    /// The routing object; weights in effect stay.
    Route,
    /// The primary as a promotion leaves it: a copy of what the target holds now.
    Promotion,
}

/// One of the two workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The copy that serves.
    Primary,
    /// The target, which runs the new revision.
    Canary,
}

/// What the target and the primary run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Digest of the target's template. What comes before its first `-` tells its format.
    pub revision: String,
    /// Checksums of tracked configuration.
    pub configs: BTreeMap<String, String>,
    /// Whether the target has no replicas.
    pub is_at_zero: bool,
    /// Whether the primary's template is the target's, the renaming aside.
    pub equals_primary: bool,
    /// Whether the primary was copied from the revision and configuration in the Canary's status.
    pub is_applied_to_primary: bool,
    /// Whether there is a primary that was copied from another revision or configuration than the target's.
    pub is_primary_outdated: bool,
    /// Whether the target has pods that could serve requests now.
    pub is_serving: bool,
}

/// Whether a workload's pods are as they should be. The texts are complete messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They are.
    Ready,
    /// Not yet.
    Waiting(String),
    /// Not within the deadline.
    Failed(String),
}

/// What a metrics provider said.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    /// A number; never NaN, which is [`Measurement::NoData`].
    Value(f64),
    /// There is nothing to say; the text is the provider's.
    NoData(String),
    /// It could not be asked; the text is the cause.
    Error(String),
    /// The question could not be made up (template, secret); the text is a complete message.
    Invalid(String),
}

/// Values of the same window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// The canary's.
    pub canary: Vec<f64>,
    /// The primary's.
    pub primary: Vec<f64>,
}

/// Failed requests of the same window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// The canary's.
    pub canary: Share,
    /// The primary's.
    pub primary: Share,
}

/// Facts learnt so far in a tick. An `Err` holds a complete message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// To [`Question::Target`].
    pub target: Option<Result<Target, String>>,
    /// To [`Question::Ensure`].
    pub ensured: BTreeMap<Part, Result<(), String>>,
    /// To [`Question::MetricsOnline`].
    pub online: Option<Result<(), String>>,
    /// To [`Question::Ready`].
    pub ready: BTreeMap<Role, Readiness>,
    /// To [`Question::Weights`].
    pub weights: Option<Result<Weights, String>>,
    /// To [`Question::Hook`]; an error holds what the hook said.
    pub hooks: BTreeMap<usize, Result<(), String>>,
    /// To [`Question::Metric`].
    pub metrics: BTreeMap<usize, Measurement>,
    /// To [`Question::Requests`].
    pub requests: BTreeMap<usize, Measurement>,
    /// To [`Question::Samples`].
    pub samples: BTreeMap<usize, Result<Samples, String>>,
    /// To [`Question::Shares`].
    pub shares: BTreeMap<usize, Result<Shares, String>>,
}
