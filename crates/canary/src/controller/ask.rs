//! What metrics services say just now, asked as a rollout would ask them: for whoever wants to know before it does.

use api::flagger::{Canary, Metric, MetricTemplate};
use reconcile::Context;
use serde_json::Value;

use super::{Options, Rollouts, measure::Resolved, providers::Inquiry};
use crate::{
    analysis::{self, Kind},
    machine::Measurement,
    metrics::Query,
    recorded::{self, Sample, Span},
};

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
        let namespace = template.metadata.namespace.clone().unwrap_or_else(|| "default".into());
        let provider = template.spec.provider.clone();
        self.0.providers.ask(Inquiry { provider, namespace, query: None, interval: WINDOW.into() }).await
    }

    /// What the metric at that place of a Canary's analysis comes to. `objects` are those around the Canary.
    pub async fn metric(&self, canary: &Canary, objects: &[Value], index: usize) -> Measurement {
        self.0.measure(canary, objects, index).await
    }

    /// The query of a metric as a rollout asks it. `objects` are those around the Canary.
    pub async fn query(&self, canary: &Canary, objects: &[Value], metric: &Metric) -> Result<Query, String> {
        let Resolved { query, provider, .. } = self.0.resolved(canary, objects, metric).await?;
        Ok(Query { metric: metric.name.clone(), provider: provider.kind, query })
    }

    /// What the metric was for the primary over a span of time, where a Prometheus answers it: the query with the target's
    /// name replaced by the primary's.
    pub async fn primary(
        &self,
        canary: &Canary,
        objects: &[Value],
        metric: &Metric,
        span: Span,
    ) -> Result<Vec<Sample>, String> {
        if matches!(analysis::kind(metric), Kind::Template | Kind::Unusable) {
            return Err("a template's query has no form for the primary".into());
        }
        let Resolved { query, provider, observer, .. } = self.0.resolved(canary, objects, metric).await?;
        let own = recorded::of_primary(canary, &query);
        let own = match own == query {
            // Clusters of Envoy and backends of HAProxy are named after the services, between underscores.
            true => query.replace(&canary.canary_service_name(), &canary.primary_service_name()),
            false => own,
        };
        if own == query {
            return Err("the query names nothing that the primary has too".into());
        }
        let samples = self.0.range_of(&provider.address, &own, span).await?;
        let is_duration = analysis::kind(metric) == Kind::Duration;
        let scaled = |value| if is_duration { observer.milliseconds(value) } else { value };
        Ok(samples.into_iter().map(|(at, value)| (at, scaled(value))).collect())
    }
}
