//! Flagger's metrics. Source: reference progressive-delivery.md, G.1. The `name` label is the target's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use api::flagger::{Canary, Phase};
use reconcile::{
    Metrics,
    telemetry::prometheus_client::{
        encoding::EncodeLabelSet,
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    },
};

use crate::machine::{Answers, Decision, Measurement, Outcome};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rollout {
    name: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Workload {
    workload: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Measured {
    name: String,
    namespace: String,
    metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    name: String,
    namespace: String,
    deployment_strategy: &'static str,
    analysis_status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Namespace {
    namespace: String,
}

type Float = Gauge<f64, AtomicU64>;

/// Whether a Canary is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Seen,
    Gone,
}

/// The numbers of all rollouts.
pub(super) struct Numbers {
    known: Mutex<BTreeMap<String, BTreeSet<String>>>,
    total: Family<Namespace, Gauge>,
    status: Family<Rollout, Gauge>,
    weight: Family<Workload, Gauge>,
    analysis: Family<Measured, Float>,
    duration: Family<Rollout, Histogram, fn() -> Histogram>,
    successes: Family<Ended, Counter>,
    failures: Family<Ended, Counter>,
}

/// The buckets that Prometheus' own clients use.
fn seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl Numbers {
    pub(super) fn register(metrics: &Metrics, mesh_provider: &str) -> Self {
        let numbers = Self {
            known: Mutex::default(),
            total: Family::default(),
            status: Family::default(),
            weight: Family::default(),
            analysis: Family::default(),
            duration: Family::new_with_constructor(seconds),
            successes: Family::default(),
            failures: Family::default(),
        };
        let info = Info::new(vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("mesh_provider", mesh_provider.to_owned()),
        ]);
        metrics.register(|registry| {
            registry.register("flagger_canary_total", "Total number of canary objects", numbers.total.clone());
            registry.register("flagger", "Flagger version and mesh provider information", info);
            let help = "Last canary analysis result: 0 - running, 1 - successful, 2 - failed";
            registry.register("flagger_canary_status", help, numbers.status.clone());
            registry.register(
                "flagger_canary_weight",
                "The virtual service destination weight current value",
                numbers.weight.clone(),
            );
            let help = "Last canary analysis result per metric";
            registry.register("flagger_canary_metric_analysis", help, numbers.analysis.clone());
            let help = "Seconds spent performing canary analysis";
            registry.register("flagger_canary_duration_seconds", help, numbers.duration.clone());
            registry.register(
                "flagger_canary_successes",
                "Total number of canary successes",
                numbers.successes.clone(),
            );
            registry.register("flagger_canary_failures", "Total number of canary failures", numbers.failures.clone());
        });
        numbers
    }

    /// Notes a tick.
    pub(super) fn note(&self, canary: &Canary, answers: &Answers, decision: &Decision, took: Duration) {
        let (name, namespace) = (canary.spec.target_ref.name.clone(), canary.namespace().to_owned());
        let rollout = Rollout { name: name.clone(), namespace: namespace.clone() };
        self.status.get_or_create(&rollout).set(match decision.status.phase {
            Phase::Progressing => 0,
            Phase::Failed => 2,
            _ => 1,
        });
        self.count(canary, Change::Seen);
        self.duration.get_or_create(&rollout).observe(took.as_secs_f64());
        if let Some(Ok(weights)) = &answers.weights {
            let at = |workload: String| Workload { workload, namespace: namespace.clone() };
            self.weight.get_or_create(&at(name.clone())).set(i64::from(weights.canary));
            self.weight.get_or_create(&at(canary.primary_name())).set(i64::from(weights.primary));
        }
        let analysis = canary.analysis();
        for (index, measured) in &answers.metrics {
            if let (Measurement::Value(value), Some(metric)) = (measured, analysis.metrics.get(*index)) {
                let labels = Measured { name: name.clone(), namespace: namespace.clone(), metric: metric.name.clone() };
                let is_duration = crate::analysis::kind(metric) == crate::analysis::Kind::Duration;
                self.analysis.get_or_create(&labels).set(if is_duration { value / 1000.0 } else { *value });
            }
        }
        let Some(outcome) = decision.outcome else { return };
        let analysis_status = if outcome == Outcome::Skipped { "skipped" } else { "completed" };
        let labels = Ended { name, namespace, deployment_strategy: analysis.strategy().as_str(), analysis_status };
        match outcome {
            Outcome::Promoted | Outcome::Skipped => self.successes.get_or_create(&labels).inc(),
            Outcome::Failed => self.failures.get_or_create(&labels).inc(),
        };
    }

    /// Counts the Canaries of each namespace.
    fn count(&self, canary: &Canary, change: Change) {
        let namespace = canary.namespace().to_owned();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let names = known.entry(namespace.clone()).or_default();
        let changed =
            if change == Change::Seen { names.insert(canary.name().to_owned()) } else { names.remove(canary.name()) };
        if changed {
            let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
            self.total.get_or_create(&Namespace { namespace }).set(count);
        }
    }

    /// Drops the series of a Canary that is gone.
    pub(super) fn forget(&self, canary: &Canary) {
        let (name, namespace) = (canary.spec.target_ref.name.clone(), canary.namespace().to_owned());
        let rollout = Rollout { name: name.clone(), namespace: namespace.clone() };
        self.count(canary, Change::Gone);
        self.status.remove(&rollout);
        self.duration.remove(&rollout);
        for workload in [name.clone(), canary.primary_name()] {
            self.weight.remove(&Workload { workload, namespace: namespace.clone() });
        }
        for metric in &canary.analysis().metrics {
            let metric = metric.name.clone();
            self.analysis.remove(&Measured { name: name.clone(), namespace: namespace.clone(), metric });
        }
    }
}
