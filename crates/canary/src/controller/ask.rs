//! What metrics services say just now, asked as a rollout would ask them: for whoever wants to know before it does.

use api::flagger::{Canary, MetricTemplate};
use reconcile::Context;
use serde_json::Value;

use super::{Options, Rollouts, providers::Inquiry};
use crate::machine::Measurement;

/// Window that is named where no metric names one.
const WINDOW: &str = "1m";

/// Asks metrics services, with the MetricTemplates and Secrets of a store.
pub struct Asker(Rollouts);

impl Asker {
    /// Asks as a controller with these options would.
    pub fn new(context: Context, options: Options) -> Self {
        Self(Rollouts::new(context, options))
    }

    /// Whether the service of a template works: it has a value if so.
    pub async fn service(&self, template: &MetricTemplate) -> Measurement {
        let namespace = template.metadata.namespace.as_deref().unwrap_or("default");
        self.0.providers.ask(Inquiry::new(&template.spec.provider, namespace, None, WINDOW)).await
    }

    /// What the metric at that place of a Canary's analysis comes to. `objects` are those around the Canary.
    pub async fn metric(&self, canary: &Canary, objects: &[Value], index: usize) -> Measurement {
        self.0.measure(canary, objects, index).await
    }
}
