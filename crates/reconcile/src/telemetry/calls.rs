//! What a scraper reads about the calls that the ports for webhooks and events answer, in the words of Flux's controller.
//! Source: slok/go-http-metrics 0.13, `metrics/prometheus`, with notification-controller's prefixes.

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use super::Metrics;
use crate::clock;

/// Bounds of the times in seconds: those of Prometheus' client for Go.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Labels of a call that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    service: &'static str,
    handler: &'static str,
    method: String,
    code: u16,
}

/// Labels of the calls that are under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerLabels {
    service: &'static str,
    handler: &'static str,
}

/// The numbers of one port. Clones share them.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Differs: Flux names the path of each call here. That of a webhook is a secret, and whoever calls made-up ones would
    /// add a series with each.
    handler: &'static str,
    durations: Family<CallLabels, Histogram, fn() -> Histogram>,
    sizes: Family<CallLabels, Histogram, fn() -> Histogram>,
    inflight: Family<HandlerLabels, Gauge>,
}

impl Calls {
    /// The numbers of a port: `gotk_receiver` or `gotk_event`, and the path that it answers.
    pub fn new(metrics: &Metrics, prefix: &str, handler: &'static str) -> Self {
        let durations: Family<_, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let sizes: Family<_, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(100.0, 10.0, 8)));
        let calls = Self { handler, durations, sizes, inflight: Family::default() };
        metrics.register(|registry| {
            let name = |what: &str| format!("{prefix}_http_{what}");
            let help = "The latency of the HTTP requests";
            registry.register(name("request_duration_seconds"), help, calls.durations.clone());
            registry.register(name("response_size_bytes"), "The size of the HTTP responses", calls.sizes.clone());
            let help = "The number of inflight requests being handled at the same time";
            registry.register(name("requests_inflight"), help, calls.inflight.clone());
        });
        calls
    }

    /// Counts a call: its answer tells the status and how many bytes it has.
    pub async fn count<T>(
        &self,
        method: Method,
        answer: impl Future<Output = T>,
        told: impl FnOnce(&T) -> (StatusCode, u64),
    ) -> T {
        let inflight = self.inflight.get_or_create_owned(&HandlerLabels { service: "", handler: self.handler });
        let _under_way = UnderWay::new(inflight);
        let start = clock::instant();
        let answer = answer.await;
        let (status, bytes) = told(&answer);
        // Made-up methods are one: each would be a series of its own.
        let known = matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS");
        let method = if known { method.as_str().to_owned() } else { "other".to_owned() };
        let labels = CallLabels { service: "", handler: self.handler, method, code: status.as_u16() };
        self.durations.get_or_create(&labels).observe(start.elapsed().as_secs_f64());
        self.sizes.get_or_create(&labels).observe(bytes as f64);
        answer
    }
}

/// A call that is under way until this is dropped: also when its caller hangs up.
struct UnderWay(Gauge);

impl UnderWay {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_counted_as_in_flux() {
        let metrics = Metrics::default();
        let calls = Calls::new(&metrics, "gotk_receiver", "/hook/");
        let told = |status: &StatusCode| (*status, 2);
        calls.count(Method::POST, async { StatusCode::OK }, told).await;
        calls.count(Method::from_bytes(b"BREW").expect("a method"), async { StatusCode::NOT_FOUND }, told).await;
        let page = metrics.text();
        for line in [
            r#"gotk_receiver_http_request_duration_seconds_count{service="",handler="/hook/",method="POST",code="200"} 1"#,
            r#"gotk_receiver_http_response_size_bytes_bucket{le="100.0",service="",handler="/hook/",method="POST",code="200"} 1"#,
            r#"gotk_receiver_http_request_duration_seconds_count{service="",handler="/hook/",method="other",code="404"} 1"#,
            r#"gotk_receiver_http_requests_inflight{service="",handler="/hook/"} 0"#,
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
    }
}
