//! The numbers a scraper reads: one registry, filled by the loop and by the stages.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

pub use prometheus_client;

/// Labels of an object's series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectLabels {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

type Durations = Family<ObjectLabels, Histogram, fn() -> Histogram>;
type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// The process's metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pages: Arc<Mutex<Vec<Page>>>,
    reconcile: Durations,
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
        Self { registry: Arc::new(Mutex::new(registry)), pages: Arc::default(), reconcile }
    }
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
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(page));
    }

    /// Notes how long a reconcile took.
    pub fn observe_reconcile(&self, labels: ObjectLabels, seconds: f64) {
        self.reconcile.get_or_create(&labels).observe(seconds);
    }

    /// Forgets the series of an object that is gone.
    pub fn forget(&self, labels: &ObjectLabels) {
        self.reconcile.remove(labels);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        drop(registry);
        let end = text.strip_suffix("# EOF\n").map_or(text.len(), str::len);
        text.truncate(end);
        for page in self.pages.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text.push_str(&page());
        }
        text.push_str("# EOF\n");
        text
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
        metrics.observe_reconcile(labels.clone(), 0.5);
        let text = metrics.text();
        let count =
            "gotk_reconcile_duration_seconds_count{kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\"} 1";
        assert!(text.contains(count), "{text}");
        assert!(text.contains("le=\"0.01\"") && text.ends_with("# EOF\n"), "{text}");
        metrics.forget(&labels);
        assert!(!metrics.text().contains("apps"));
    }
}
