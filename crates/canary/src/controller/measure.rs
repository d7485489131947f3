//! Facts from metrics providers: whether they work, and what they measure.

use std::{sync::PoisonError, time::Duration};

use api::{
    flagger::{Canary, Metric, MetricProvider, MetricTemplate},
    meta::ObjectReference,
};
use reconcile::clock;
use serde_json::Value;

use super::{Rollouts, providers::Inquiry};
use crate::{
    analysis::{self, Kind},
    machine::Measurement,
    metrics::{self, GatewayMetrics, Implementation, Observer, Scene, Source},
    router,
};

/// How long a GatewayClass is taken for unchanged.
const GATEWAY_KEPT: Duration = Duration::from_secs(300);

/// A metric's query and who answers it.
pub(super) struct Resolved {
    pub query: String,
    pub provider: MetricProvider,
    /// Namespace of the provider's Secret.
    pub namespace: String,
    pub observer: Observer,
}

impl Rollouts {
    /// Whether every provider that the analysis names answers at all.
    pub(super) async fn online(&self, canary: &Canary) -> Result<(), String> {
        let analysis = canary.analysis();
        let mut asked: Vec<Inquiry> = Vec::new();
        for metric in &analysis.metrics {
            let Ok(source) = metrics::source(canary, metric) else { continue };
            let (provider, namespace, template) = match source {
                Source::Builtin | Source::Inline(_) => {
                    (metrics::server(canary, &self.options.metrics_server), canary.namespace().to_owned(), None)
                }
                Source::Template(namespace, name) => {
                    let template = self.template(namespace, name).await?;
                    (template.spec.provider, namespace.to_owned(), Some(format!("metric template {name}.{namespace}")))
                }
            };
            let inquiry = Inquiry { provider, namespace, query: None, interval: metric.interval().to_owned() };
            if asked.contains(&inquiry) {
                continue;
            }
            match self.providers.ask(inquiry.clone()).await {
                Measurement::Value(_) => asked.push(inquiry),
                Measurement::NoData(problem) | Measurement::Error(problem) => {
                    let kind = &inquiry.provider.kind;
                    let place = template.map(|template| format!(" in {template}")).unwrap_or_default();
                    return Err(format!("{kind}{place} not available: running query failed: {problem}"));
                }
                Measurement::Invalid(problem) => {
                    let place = template.map(|template| format!("{template} ")).unwrap_or_default();
                    return Err(format!("{place}{problem}"));
                }
            }
        }
        Ok(())
    }

    /// Measures the metric at that place. `objects` are those around the Canary.
    pub(super) async fn measure(&self, canary: &Canary, objects: &[Value], index: usize) -> Measurement {
        self.measure_by(canary, objects, &canary.analysis().metrics[index]).await
    }

    /// Measures that metric, whether it is among the analysis' or not.
    pub(super) async fn measure_by(&self, canary: &Canary, objects: &[Value], metric: &Metric) -> Measurement {
        let Resolved { query, provider, namespace, observer } = match self.resolved(canary, objects, metric).await {
            Ok(resolved) => resolved,
            Err(problem) => return Measurement::Invalid(problem),
        };
        let interval = metric.interval.clone().unwrap_or_default();
        match self.providers.ask(Inquiry { provider, namespace, query: Some(query), interval }).await {
            Measurement::Value(value) if analysis::kind(metric) == Kind::Duration => {
                Measurement::Value(observer.milliseconds(value))
            }
            measured => measured,
        }
    }

    /// The metric's query, fully rendered, and who answers it.
    pub(super) async fn resolved(
        &self,
        canary: &Canary,
        objects: &[Value],
        metric: &Metric,
    ) -> Result<Resolved, String> {
        let source = metrics::source(canary, metric).map_err(|problem| problem.to_string())?;
        let mut observer = Observer::of_canary(canary, &self.options.mesh_provider);
        let (template, provider, namespace): (_, MetricProvider, _) = match source {
            Source::Builtin | Source::Inline(_) => {
                observer = self.observer(canary, observer).await;
                (None, metrics::server(canary, &self.options.metrics_server), canary.namespace())
            }
            Source::Template(namespace, name) => {
                let template = self.template(namespace, name).await?;
                let provider = template.spec.provider.clone();
                (Some(template), provider, namespace)
            }
        };
        let scene = Scene { observer, revision: metrics::revision(canary, objects) };
        let query = metrics::query(canary, metric, scene, template.as_ref());
        let query = query.map_err(|problem| problem.of(source))?;
        Ok(Resolved { query, provider, namespace: namespace.to_owned(), observer })
    }

    /// Whose series the builtin queries read: for a Gateway, those of whatever serves it.
    pub(super) async fn observer(&self, canary: &Canary, named: Observer) -> Observer {
        let is_gateway = router::is_gateway_api(canary, &self.objects.router);
        match (is_gateway, self.options.gateway_metrics) {
            (true, GatewayMetrics::Detect) if self.context.store.is_standalone() => Observer::Local,
            (true, GatewayMetrics::Detect) if named == Observer::Http => {
                self.implementation(canary).await.map_or(named, Observer::Gateway)
            }
            (true, GatewayMetrics::Of(observer)) => observer,
            _ => named,
        }
    }

    /// The implementation that serves the Canary's Gateway, if it is a known one.
    async fn implementation(&self, canary: &Canary) -> Option<Implementation> {
        let gateway = metrics::gateway_of(canary)?;
        let kept = || self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let known = kept().get(&gateway).filter(|(_, until)| *until > now).map(|(known, _)| *known);
        if let Some(known) = known {
            return known;
        }
        let find = async |id: Option<ObjectReference>| match id {
            Some(id) => self.context.store.find(&id).await,
            None => Ok(None),
        };
        let found = async {
            let object = find(Some(gateway.clone())).await?;
            let class = find(object.as_ref().and_then(metrics::class_of)).await?;
            Ok::<_, reconcile::Error>(class.as_ref().and_then(Implementation::of_class))
        };
        match found.await {
            Ok(found) => {
                kept().insert(gateway, (found, now + GATEWAY_KEPT));
                found
            }
            Err(error) => {
                tracing::debug!(%error, %gateway, "what serves the Gateway cannot be told");
                None
            }
        }
    }

    async fn template(&self, namespace: &str, name: &str) -> Result<MetricTemplate, String> {
        let id = format!("{name}.{namespace}");
        match self.context.store.get_cached::<MetricTemplate>(namespace, name).await {
            Ok(Some(template)) => Ok(template),
            Ok(None) => Err(format!("Metric template {id} error: metrictemplate.flagger.app {name:?} not found")),
            Err(error) => Err(format!("Metric template {id} error: {error}")),
        }
    }
}
