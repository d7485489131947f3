//! The numbers a scraper reads: one registry, filled by the loop and by the stages.

mod calls;
mod objects;
mod page;
mod process;
mod queue;
mod readiness;

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use serde_json::Value;

pub use calls::Calls;
pub use prometheus_client;
pub use queue::{Queue, Working};
pub use readiness::{Awaited, Readiness};

use self::{objects::Objects, page::Page, queue::Queues};

/// Labels of an object's series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ObjectLabels {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// How a run ended, in the words of controller-runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Well, with nothing more to do.
    Success,
    /// Well, with a time for the next run.
    RequeueAfter,
    /// Not well.
    Error,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

/// Labels of a controller's series: its kind in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndingLabels {
    controller: String,
    result: &'static str,
}

type Durations = Family<ObjectLabels, Histogram, fn() -> Histogram>;
type Addition = Arc<dyn Fn() -> String + Send + Sync>;

/// The process's metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    additions: Arc<Mutex<Vec<Addition>>>,
    reconcile: Durations,
    runs: Family<EndingLabels, Counter>,
    errors: Family<ControllerLabels, Counter>,
    times: Family<ControllerLabels, Histogram, fn() -> Histogram>,
    queues: Queues,
    objects: Objects,
    readiness: Readiness,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let reconcile: Durations = Family::new_with_constructor(reconcile_histogram);
        registry.register(
            "gotk_reconcile_duration_seconds",
            "The duration in seconds of a GitOps Toolkit resource reconciliation",
            reconcile.clone(),
        );
        let runs = Family::default();
        let help = "Total number of reconciliations per controller";
        registry.register("controller_runtime_reconcile", help, Family::clone(&runs));
        let errors = Family::default();
        let help = "Total number of reconciliation errors per controller";
        registry.register("controller_runtime_reconcile_errors", help, Family::clone(&errors));
        let times = Family::new_with_constructor(controller_histogram as fn() -> Histogram);
        let help = "Length of time per reconciliation per controller";
        registry.register("controller_runtime_reconcile_time_seconds", help, times.clone());
        let queues = Queues::new(&mut registry);
        let registry = Arc::new(Mutex::new(registry));
        let (objects, readiness) = (Objects::default(), Readiness::default());
        let additions = Arc::default();
        Self { registry, additions, reconcile, runs, errors, times, queues, objects, readiness }
    }
}

/// Buckets of controller-runtime's own histogram, the coarser half of them.
fn controller_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// A label's value as the text format writes it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Ten exponential buckets from 10 ms to 1800 s. Source: reference image-automation.md section 3.1.
fn reconcile_histogram() -> Histogram {
    let growth = (1800.0_f64 / 0.01).powf(1.0 / 9.0);
    Histogram::new((0..10).map(|step| 0.01 * growth.powi(step)))
}

impl Metrics {
    /// Lets a stage register its own metrics.
    pub fn register(&self, f: impl FnOnce(&mut Registry)) {
        f(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds a page that a stage writes itself in the Prometheus text format, without the end mark.
    pub fn add_page(&self, page: impl Fn() -> String + Send + Sync + 'static) {
        self.additions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(page));
    }

    /// Notes how long a reconcile took.
    pub fn observe_reconcile(&self, labels: &ObjectLabels, seconds: f64) {
        self.reconcile.get_or_create(labels).observe(seconds);
        self.times.get_or_create(&ControllerLabels { controller: labels.kind.to_lowercase() }).observe(seconds);
    }

    /// The series of the loop of this kind, which works on so many objects at once.
    pub fn queue(&self, kind: &str, concurrency: u16) -> Queue {
        self.queues.of(kind, concurrency)
    }

    /// Counts a run of an object of this kind.
    pub fn count(&self, kind: &str, ending: Ending) {
        let controller = kind.to_lowercase();
        if ending == Ending::Error {
            self.errors.get_or_create(&ControllerLabels { controller: controller.clone() }).inc();
        }
        self.runs.get_or_create(&EndingLabels { controller, result: ending.as_str() }).inc();
    }

    /// Takes note of an object as it is now: its condition, whether it is suspended, its revision.
    pub fn note(&self, object: &Value) {
        self.objects.note(object);
    }

    /// Forgets the series of an object that is gone.
    pub fn forget(&self, labels: &ObjectLabels) {
        self.reconcile.remove(labels);
        self.objects.forget(labels);
    }

    /// What this process waits for before it is ready.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// All metrics in the OpenMetrics text format, in pieces.
    pub fn page(&self) -> Vec<Bytes> {
        let mut page = Page::default();
        // To write there cannot fail.
        let _ = encode_registry(&mut page, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = self.objects.write(&mut page);
        let _ = page.write_str(&process::text());
        let additions = self.additions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for addition in additions {
            let _ = page.write_str(&addition());
        }
        let _ = encode_eof(&mut page);
        page.into_pieces()
    }

    /// The same in one.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.page().concat()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_has_flux_names_and_buckets() {
        let metrics = Metrics::default();
        let labels =
            ObjectLabels { kind: "Kustomization".into(), name: "apps".into(), namespace: "flux-system".into() };
        metrics.observe_reconcile(&labels, 0.5);
        metrics.count("Kustomization", Ending::Error);
        let text = metrics.text();
        let count =
            "gotk_reconcile_duration_seconds_count{kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\"} 1";
        assert!(text.contains(count), "{text}");
        assert!(text.contains("le=\"0.01\"") && text.ends_with("# EOF\n"), "{text}");
        for line in [
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"error\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"kustomization\"} 1",
            "controller_runtime_reconcile_time_seconds_count{controller=\"kustomization\"} 1",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        metrics.forget(&labels);
        assert!(!metrics.text().contains("apps"));
    }
}
