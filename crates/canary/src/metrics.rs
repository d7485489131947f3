//! What is measured: which queries a Canary leads to, how a provider is asked, what its answer says.
//!
//! Pure. The shell sends what [`request`] makes, with the time limit of 5 s, and hands the answer to [`value`].
//! Source: reference progressive-delivery.md, section C.

mod builtin;
mod local;
mod prometheus;
mod templates;

use std::{collections::BTreeMap, time::Duration};

use api::flagger::{Canary, Metric, MetricProvider, MetricTemplate};
use bytes::Bytes;
use serde::Serialize;

pub use builtin::Observer;
pub use templates::Model;

/// Longest time for one query.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Share of requests that did not fail, in percent.
pub const SUCCESS_RATE: &str = "request-success-rate";
/// Time of a request, in milliseconds.
pub const DURATION: &str = "request-duration";

/// Provider types that are known but not built in yet. Every other name is taken for Prometheus, as in the reference (C.4).
const NOT_YET: [&str; 10] = [
    "datadog",
    "cloudwatch",
    "stackdriver",
    "graphite",
    "newrelic",
    "influxdb",
    "dynatrace",
    "keptn",
    "splunk",
    "externalmetrics",
];

/// Data of a Secret, decoded.
pub type Credentials = BTreeMap<String, Vec<u8>>;

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The answer holds nothing to judge by: no series, NaN, no number.
    #[error("no values found")]
    NoValues,
    /// The answer holds several values where one is expected.
    #[error("multiple values returned from provider")]
    MultipleValues,
    /// The server refused.
    #[error("error response: Status {status}: {body}")]
    Response {
        /// Code and reason.
        status: String,
        /// What it said.
        body: String,
    },
    /// The answer is not what the provider's interface promises.
    #[error("error unmarshaling result: {problem}, '{body}'")]
    Unreadable {
        /// What is wrong.
        problem: String,
        /// The answer.
        body: String,
    },
    /// A value is not a number.
    #[error("strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    NotANumber(String),
    /// The Secret lacks a key.
    #[error("{provider} credentials does not contain a {key}")]
    Credentials {
        /// Type of the provider.
        provider: &'static str,
        /// The key.
        key: &'static str,
    },
    /// The address is not a URL.
    #[error("{provider} address {address} is not a valid URL")]
    Address {
        /// Type of the provider.
        provider: &'static str,
        /// The address.
        address: String,
    },
    /// The provider is not built in.
    #[error("metrics provider {0:?} is not supported; use prometheus")]
    Unsupported(String),
    /// The MetricTemplate is not there.
    #[error("Metric template {name} error: not found")]
    NoTemplate {
        /// `name.namespace`
        name: String,
    },
    /// A query cannot be rendered. The text is Go's.
    #[error("{0}")]
    Render(String),
    /// A metric that is not built in has no query.
    #[error("Metric query failed for no usable metrics template and query were configured")]
    NoQuery,
}

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

/// Where a metric's query comes from. A template counts before an inline query, and that before a builtin name.
pub fn source<'a>(canary: &'a Canary, metric: &'a Metric) -> Result<Source<'a>, Error> {
    if let Some(reference) = &metric.template_ref {
        return Ok(Source::Template(reference.namespace_or(canary.namespace()), &reference.name));
    }
    match metric.query.as_deref().filter(|query| !query.is_empty()) {
        Some(query) => Ok(Source::Inline(query)),
        None if [SUCCESS_RATE, DURATION].contains(&metric.name.as_str()) => Ok(Source::Builtin),
        None => Err(Error::NoQuery),
    }
}

/// The query of one metric, fully rendered. `template` is the MetricTemplate that [`source`] names.
pub fn query(
    canary: &Canary,
    metric: &Metric,
    observer: Observer,
    template: Option<&MetricTemplate>,
) -> Result<String, Error> {
    match source(canary, metric)? {
        Source::Builtin => {
            let model = Model::of(canary, metric, metric.interval());
            Ok(if metric.name == SUCCESS_RATE { observer.success_rate(&model) } else { observer.duration(&model) })
        }
        Source::Inline(query) => Model::of(canary, metric, metric.interval()).render(query),
        Source::Template(namespace, name) => {
            let template = template.ok_or_else(|| Error::NoTemplate { name: format!("{name}.{namespace}") })?;
            let interval = metric.interval.as_deref().unwrap_or_default();
            Model::of(canary, metric, interval).render(&template.spec.query)
        }
    }
}

/// All queries of a Canary in the order in which they are asked: builtin and inline ones, then those of templates.
/// `provider` is the routing provider in effect, `templates` the MetricTemplates there are.
pub fn queries(
    canary: &Canary,
    observer: Observer,
    provider: &str,
    templates: &[MetricTemplate],
) -> Result<Vec<Query>, Error> {
    let analysis = canary.analysis();
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for metric in &analysis.metrics {
        let source = source(canary, metric)?;
        let template = match source {
            Source::Template(namespace, name) => find(templates, namespace, name),
            _ => None,
        };
        let query = query(canary, metric, observer, template)?;
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

/// The request that asks a provider. `secret` is the data of its `secretRef`, when it has one.
pub fn request(
    provider: &MetricProvider,
    secret: Option<&Credentials>,
    query: &str,
) -> Result<http::Request<Bytes>, Error> {
    supported(provider)?;
    prometheus::request(provider, secret, query)
}

/// What a provider answered. Never a NaN.
pub fn value(provider: &MetricProvider, response: &http::Response<Bytes>) -> Result<f64, Error> {
    supported(provider)?;
    prometheus::value(response)
}

/// The query whose answer tells whether a provider works, and the value it then has.
pub const ONLINE: (&str, f64) = ("vector(1)", 1.0);

fn supported(provider: &MetricProvider) -> Result<(), Error> {
    if NOT_YET.contains(&provider.kind.as_str()) { Err(Error::Unsupported(provider.kind.clone())) } else { Ok(()) }
}

/// The template of that namespace and name; one without a namespace is taken for any.
fn find<'a>(templates: &'a [MetricTemplate], namespace: &str, name: &str) -> Option<&'a MetricTemplate> {
    templates.iter().find(|template| {
        let metadata = &template.metadata;
        metadata.name.as_deref() == Some(name) && metadata.namespace.as_deref().is_none_or(|found| found == namespace)
    })
}

#[cfg(test)]
mod tests;
