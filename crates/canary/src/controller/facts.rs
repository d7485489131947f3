//! Facts from other servers: hooks and metrics.

use std::time::Duration;

use api::flagger::{Canary, CanaryStatus, HookType, MetricProvider, MetricTemplate, Phase};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Secret;
use reconcile::{Endpoint, clock};
use serde_json::Value;

use super::Rollouts;
use crate::{
    analysis::{self, Kind},
    hooks,
    machine::Measurement,
    metrics::{self, Credentials, Observer, Source},
    router::Provider,
};

/// First wait before a hook is called again; it doubles up to [`LONGEST_WAIT`]. Source: reference D.2.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Most bytes of a hook's answer that are read.
const ANSWER_LIMIT: usize = 64 << 10;

impl Rollouts {
    /// Calls a hook and says whether it agrees; an error holds what it said.
    pub(super) async fn call(
        &self,
        canary: &Canary,
        status: &CanaryStatus,
        index: usize,
        phase: Phase,
    ) -> Result<(), String> {
        let analysis = canary.analysis();
        let hook = &analysis.webhooks[index];
        self.post(hook, &hooks::payload(canary, status, hook, phase)).await
    }

    /// Sends an event to the event hooks. What they answer only matters to the log.
    pub(super) async fn call_event_hooks(&self, canary: &Canary, event: &crate::events::Event) {
        for hook in canary.analysis().hooks(HookType::Event) {
            let payload = hooks::event_payload(canary, hook, event, clock::now());
            if let Err(problem) = self.post(hook, &payload).await {
                tracing::warn!(hook = hook.name, problem, "event hook failed");
            }
        }
    }

    async fn post(&self, hook: &api::flagger::Hook, payload: &Value) -> Result<(), String> {
        let endpoint = Endpoint {
            timeout: hook.timeout(),
            limit: ANSWER_LIMIT,
            insecure_skip_verify: hook.disable_tls,
            ..Endpoint::default()
        };
        let (mut attempt, mut wait) = (0, FIRST_WAIT);
        loop {
            let outcome = self.context.http.send(hooks::request(hook, payload)?, &endpoint).await;
            let status = outcome.as_ref().map(|response| response.status().as_u16());
            if attempt >= hook.retries() || !status.is_ok_and(hooks::may_retry) && outcome.is_ok() {
                return match outcome {
                    Ok(response) => {
                        let body = String::from_utf8_lossy(response.body()).trim().to_owned();
                        let reason = if body.is_empty() { response.status().to_string() } else { body };
                        hooks::verdict(hook, response.status().as_u16(), &reason)
                    }
                    Err(error) => Err(format!("POST {}: {error}", hook.url)),
                };
            }
            attempt += 1;
            clock::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Whose series the builtin queries read.
    fn observer(&self, canary: &Canary) -> Observer {
        let is_gateway = matches!(Provider::of(canary, &self.objects.router), Provider::GatewayApi(_));
        match is_gateway && self.context.store.is_standalone() {
            true => Observer::Local,
            false => Observer::of(canary.spec.provider.as_deref(), &self.options.mesh_provider),
        }
    }

    /// Whether every provider that the analysis names answers at all.
    pub(super) async fn online(&self, canary: &Canary) -> Result<(), String> {
        let analysis = canary.analysis();
        let mut asked: Vec<MetricProvider> = Vec::new();
        for metric in &analysis.metrics {
            let Ok(source) = metrics::source(canary, metric) else { continue };
            let (provider, namespace) = match source {
                Source::Builtin | Source::Inline(_) => {
                    (metrics::server(canary, &self.options.metrics_server), canary.namespace().to_owned())
                }
                Source::Template(namespace, name) => {
                    let template = self.template(namespace, name).await?;
                    (template.spec.provider, namespace.to_owned())
                }
            };
            if asked.contains(&provider) {
                continue;
            }
            let (query, expected) = metrics::ONLINE;
            match self.query(&provider, &namespace, query).await {
                Measurement::Value(value) if (value - expected).abs() < f64::EPSILON => {}
                Measurement::Value(value) => return Err(format!("{} answered {value} to {query}", provider.address)),
                Measurement::NoData(problem) | Measurement::Error(problem) => {
                    return Err(format!("{} not available: running query failed: {problem}", provider.kind));
                }
                Measurement::Invalid(problem) => return Err(problem),
            }
            asked.push(provider);
        }
        Ok(())
    }

    /// Measures the metric at that place.
    pub(super) async fn measure(&self, canary: &Canary, index: usize) -> Measurement {
        let analysis = canary.analysis();
        let metric = &analysis.metrics[index];
        let source = match metrics::source(canary, metric) {
            Ok(source) => source,
            Err(problem) => return Measurement::Invalid(problem.to_string()),
        };
        let observer = self.observer(canary);
        let (template, provider, namespace) = match source {
            Source::Builtin | Source::Inline(_) => {
                (None, metrics::server(canary, &self.options.metrics_server), canary.namespace())
            }
            Source::Template(namespace, name) => match self.template(namespace, name).await {
                Ok(template) => {
                    let provider = template.spec.provider.clone();
                    (Some(template), provider, namespace)
                }
                Err(problem) => return Measurement::Invalid(problem),
            },
        };
        let query = match metrics::query(canary, metric, observer, template.as_ref()) {
            Ok(query) => query,
            Err(problem) => return Measurement::Invalid(invalid(source, &problem)),
        };
        match self.query(&provider, namespace, &query).await {
            // The application measures in seconds, everybody else in milliseconds. Source: reference C.3.
            Measurement::Value(value) if analysis::kind(metric) == Kind::Duration && observer == Observer::Http => {
                Measurement::Value(value * 1000.0)
            }
            measured => measured,
        }
    }

    async fn template(&self, namespace: &str, name: &str) -> Result<MetricTemplate, String> {
        let id = format!("{name}.{namespace}");
        match self.context.store.get::<MetricTemplate>(namespace, name).await {
            Ok(Some(template)) => Ok(template),
            Ok(None) => Err(format!("Metric template {id} error: metrictemplates.flagger.app {name:?} not found")),
            Err(error) => Err(format!("Metric template {id} error: {error}")),
        }
    }

    async fn query(&self, provider: &MetricProvider, namespace: &str, query: &str) -> Measurement {
        let secret = match &provider.secret_ref {
            None => None,
            Some(reference) => match self.credentials(namespace, &reference.name).await {
                Ok(credentials) => Some(credentials),
                Err(problem) => return Measurement::Invalid(problem),
            },
        };
        let request = match metrics::request(provider, secret.as_ref(), query) {
            Ok(request) => request,
            Err(problem) => return Measurement::Error(problem.to_string()),
        };
        let endpoint = Endpoint {
            timeout: metrics::TIMEOUT,
            insecure_skip_verify: provider.insecure_skip_verify,
            ..Endpoint::default()
        };
        let response: http::Response<Bytes> = match self.context.http.send(request, &endpoint).await {
            Ok(response) => response,
            Err(error) => return Measurement::Error(format!("request failed: {error}")),
        };
        match metrics::value(provider, &response) {
            Ok(value) => Measurement::Value(value),
            Err(problem @ metrics::Error::NoValues) => Measurement::NoData(problem.to_string()),
            Err(problem) => Measurement::Error(problem.to_string()),
        }
    }

    /// The data of a Secret.
    pub(super) async fn credentials(&self, namespace: &str, name: &str) -> Result<Credentials, String> {
        let secret: Secret = match self.context.store.get(namespace, name).await {
            Ok(Some(secret)) => secret,
            Ok(None) => return Err(format!("secret {name}.{namespace} error: not found")),
            Err(error) => return Err(format!("secret {name}.{namespace} error: {error}")),
        };
        let data = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0));
        let text = secret.string_data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
        Ok(data.chain(text).collect())
    }
}

/// The event's text when a query cannot be made up.
fn invalid(source: Source<'_>, problem: &metrics::Error) -> String {
    match source {
        Source::Template(namespace, name) => {
            format!("Metric template {name}.{namespace} query render error: {problem}")
        }
        _ => problem.to_string(),
    }
}
