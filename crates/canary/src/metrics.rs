//! What is measured: which queries a Canary leads to, how a provider is asked, what its answer says.
//!
//! Pure. The shell sends what [`provider::request`] makes and hands the answer to [`provider::value`].
//! Source: reference progressive-delivery.md, section C.

mod builtin;
mod error;
mod gateway;
mod haproxy;
mod local;
pub mod promql;
pub mod provider;
mod templates;

use api::flagger::{Canary, Metric, MetricProvider, MetricTemplate};
use serde::Serialize;
use serde_json::Value;

pub use builtin::{Observer, provider_name};
pub use error::Error;
pub use gateway::{GatewayMetrics, Implementation, class_of, gateway_of};
pub use templates::Model;

/// One query of an analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// Name of the metric in the Canary.
    pub metric: String,
    /// Who measures: the routing provider for a builtin metric, `prometheus` for an inline query, else the template's type.
    pub provider: String,
    /// Fully rendered.
    pub query: String,
}

/// Where a metric's query comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'a> {
    /// The Canary names a builtin metric; asked of the metrics server.
    Builtin,
    /// The Canary holds the query; asked of the metrics server.
    Inline(&'a str),
    /// A MetricTemplate of that namespace and name; asked of its provider.
    Template(&'a str, &'a str),
}

/// Where the query of a metric with one source comes from; see [`Metric::by_source`].
pub fn source<'a>(canary: &'a Canary, metric: &'a Metric) -> Result<Source<'a>, Error> {
    if let Some(reference) = &metric.template_ref {
        return Ok(Source::Template(reference.namespace_or(canary.namespace()), &reference.name));
    }
    match metric.inline_query() {
        Some(query) => Ok(Source::Inline(query)),
        None if metric.is_builtin() => Ok(Source::Builtin),
        None => Err(Error::NoQuery),
    }
}

/// What queries depend on beside the Canary.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Whose series the builtin queries read.
    pub observer: Observer,
    /// The latest revision of a Knative Service; see [`revision`].
    pub revision: Option<&'a str>,
}

/// The latest revision of a Canary's target, if that is a Knative Service among `objects`.
pub fn revision<'a>(canary: &Canary, objects: impl IntoIterator<Item = &'a Value>) -> Option<&'a str> {
    let target = &canary.spec.target_ref;
    let is_knative = target.kind == "Service" && target.api_version.starts_with("serving.knative.dev/");
    let is_target = |one: &&Value| {
        one["kind"] == target.kind && one["apiVersion"] == target.api_version && one["metadata"]["name"] == target.name
    };
    let service = objects.into_iter().filter(|_| is_knative).find(is_target)?;
    service.pointer("/status/latestCreatedRevisionName").and_then(Value::as_str)
}

/// The query of one metric, fully rendered. `template` is the MetricTemplate that [`source`] names.
pub fn query(
    canary: &Canary,
    metric: &Metric,
    scene: Scene<'_>,
    template: Option<&MetricTemplate>,
) -> Result<String, Error> {
    let model = |interval| Model::of(canary, metric, scene.revision, interval);
    match source(canary, metric)? {
        Source::Builtin if metric.name == Metric::SUCCESS_RATE => {
            Ok(scene.observer.success_rate(&model(metric.interval())))
        }
        Source::Builtin => Ok(scene.observer.duration(&model(metric.interval()))),
        Source::Inline(query) => model(metric.interval()).render(query),
        Source::Template(namespace, name) => {
            let template = template.ok_or_else(|| Error::NoTemplate { name: format!("{name}.{namespace}") })?;
            model(metric.interval.as_deref().unwrap_or_default()).render(&template.spec.query)
        }
    }
}

/// A metric that nobody can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Unaskable {
    /// Its place in `spec.analysis.metrics`.
    pub index: usize,
    /// Why.
    pub problem: Error,
}

/// All queries of a Canary in the order in which they are asked: builtin and inline ones, then those of templates.
/// `provider` is the routing provider in effect, `templates` the MetricTemplates there are.
///
/// # Errors
/// The first metric that has no query.
pub fn queries(
    canary: &Canary,
    scene: Scene<'_>,
    provider: &str,
    templates: &[MetricTemplate],
) -> Result<Vec<Query>, Unaskable> {
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for (index, metric) in &canary.metrics() {
        let unaskable = |problem| Unaskable { index: *index, problem };
        let source = source(canary, metric).map_err(unaskable)?;
        let template = match source {
            Source::Template(namespace, name) => template(templates, namespace, name),
            _ => None,
        };
        let query = query(canary, metric, scene, template).map_err(unaskable)?;
        let (list, provider) = match (source, template) {
            (Source::Template(..), Some(template)) => (&mut then, template.spec.provider.kind.clone()),
            (Source::Inline(_), _) => (&mut first, "prometheus".to_owned()),
            _ => (&mut first, provider.to_owned()),
        };
        list.push(Query { metric: metric.name.clone(), provider, query });
    }
    first.append(&mut then);
    Ok(first)
}

/// The provider that answers builtin and inline queries: Prometheus at the Canary's `metricsServer`, else at `option`.
pub fn server(canary: &Canary, option: &str) -> MetricProvider {
    let given = canary.spec.metrics_server.as_deref().filter(|address| !address.is_empty());
    let address = given.unwrap_or(option).to_owned();
    MetricProvider { kind: "prometheus".into(), address, ..MetricProvider::default() }
}

/// The template of that namespace and name; one without a namespace is taken for any.
pub fn template<'a>(templates: &'a [MetricTemplate], namespace: &str, name: &str) -> Option<&'a MetricTemplate> {
    templates.iter().find(|template| {
        let metadata = &template.metadata;
        metadata.name.as_deref() == Some(name) && metadata.namespace.as_deref().is_none_or(|found| found == namespace)
    })
}

#[cfg(test)]
mod tests;
