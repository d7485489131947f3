//! What a scraper reads about registries and choices. Flux has none of these.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use reconcile::Metrics;

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    /// Host and port.
    pub host: String,
    /// The answer's status; `error` if there was no answer, `paused` if nothing was sent.
    pub status: String,
    /// What was asked for: `ping`, `token`, `tags`, `manifest`, `referrers` or `blob`.
    pub reason: &'static str,
}

/// Labels of what concerns a host as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HostLabels {
    /// Host and port.
    pub host: String,
}

/// Labels of an ImageRepository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RepositoryLabels {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Labels of a look for a kept cloud login. Source: reference image-automation.md section 3.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LoginLabels {
    /// `cache_hit` or `cache_miss`.
    pub event_type: &'static str,
    /// Kind of the object that needs the login.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it needs the login for.
    pub operation: &'static str,
}

/// Labels of the outcome of a login.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    /// `success` or `failure`.
    pub status: &'static str,
}

/// The numbers. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub requests: Family<RequestLabels, Counter>,
    pub bytes: Family<HostLabels, Counter>,
    pub tags: Family<RepositoryLabels, Gauge<i64>>,
    pub push_to_choice: Histogram,
    pub shared_listings: Counter<u64, AtomicU64>,
    pub login_events: Family<LoginLabels, Counter>,
    pub login_requests: Family<OutcomeLabels, Counter>,
    pub login_evictions: Counter,
    pub kept_logins: Gauge,
}

impl RepositoryLabels {
    /// Those of a look for a kept login.
    pub fn looking(&self, event_type: &'static str) -> LoginLabels {
        let (name, namespace) = (self.name.clone(), self.namespace.clone());
        LoginLabels { event_type, kind: "ImageRepository", name, namespace, operation: "reconcile" }
    }
}

impl Numbers {
    /// Drops what concerns an object that is gone.
    pub fn forget(&self, object: &RepositoryLabels) {
        self.tags.remove(object);
        for event_type in ["cache_hit", "cache_miss"] {
            self.login_events.remove(&object.looking(event_type));
        }
    }

    /// Numbers that the process's page shows.
    pub fn new(metrics: &Metrics) -> Self {
        let numbers = Self {
            requests: Family::default(),
            bytes: Family::default(),
            tags: Family::default(),
            push_to_choice: Histogram::new([
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
            ]),
            shared_listings: Counter::default(),
            login_events: Family::default(),
            login_requests: Family::default(),
            login_evictions: Counter::default(),
            kept_logins: Gauge::default(),
        };
        metrics.register(|registry| {
            let name = "slipway_registry_requests";
            registry.register(name, "Requests to registries and their token servers", numbers.requests.clone());
            let name = "slipway_registry_response_bytes";
            registry.register(name, "Bytes of the answers of registries", numbers.bytes.clone());
            let name = "slipway_image_repository_tags";
            registry.register(name, "Tags that the last scan kept", numbers.tags.clone());
            let name = "slipway_push_to_choice_seconds";
            let help = "Time from a request to scan, such as a registry's notification, to the choice of the new tag";
            registry.register(name, help, numbers.push_to_choice.clone());
            let name = "slipway_shared_listings";
            registry.register(
                name,
                "Scans that took part in another object's listing",
                numbers.shared_listings.clone(),
            );
            // Flux's names.
            let help = "Looks for a kept cloud login";
            registry.register("gotk_token_cache_events", help, numbers.login_events.clone());
            registry.register("gotk_token_cache_requests", "Cloud logins by outcome", numbers.login_requests.clone());
            let help = "Kept cloud logins that made room for others";
            registry.register("gotk_token_cache_evictions", help, numbers.login_evictions.clone());
            registry.register("gotk_token_cached_items", "Cloud logins that are kept", numbers.kept_logins.clone());
        });
        numbers
    }
}
