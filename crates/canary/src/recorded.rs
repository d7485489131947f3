//! Samples over a span of time from Prometheus: the request, and what its answer says. For comparisons with the primary,
//! and for rehearsals of the past.

use std::time::Duration;

use api::flagger::Canary;
use bytes::Bytes;
use jiff::Timestamp;
use reconcile::http::escaped;
use serde_json::Value;

/// Most samples that Prometheus gives for one series.
const MOST: u64 = 11_000;

/// A span of time and the distance of the samples in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first sample.
    pub from: Timestamp,
    /// The last sample.
    pub to: Timestamp,
    /// Time between samples.
    pub step: Duration,
}

impl Span {
    /// The span of that length which ends now, with as many samples as Prometheus gives at most.
    pub fn before(now: Timestamp, length: Duration, step: Duration) -> Self {
        let least = Duration::from_secs((length.as_secs() / MOST).max(1));
        Self { from: now.saturating_sub(length).unwrap_or(now), to: now, step: step.max(least) }
    }
}

/// One value and its time.
pub type Sample = (Timestamp, f64);

/// Asks a Prometheus for the samples of a query.
pub fn request(address: &str, query: &str, span: Span) -> Result<http::Request<Bytes>, String> {
    let text = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let pairs = [
        ("query", text),
        ("start", span.from.as_second().to_string()),
        ("end", span.to.as_second().to_string()),
        ("step", span.step.as_secs().max(1).to_string()),
    ];
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
    let uri = format!("{}/api/v1/query_range?{}", address.trim_end_matches('/'), pairs.join("&"));
    http::Request::get(&uri).body(Bytes::new()).map_err(|error| format!("{uri}: {error}"))
}

/// The samples of the last series of an answer, oldest first; none if nothing was found.
pub fn samples(response: &http::Response<Bytes>) -> Result<Vec<Sample>, String> {
    let body: Value = serde_json::from_slice(response.body())
        .map_err(|error| format!("Status {} and a body that is no JSON: {error}", response.status()))?;
    if body["status"] != "success" {
        let error = body["error"].as_str().unwrap_or("no reason given");
        return Err(format!("Status {}: {error}", response.status()));
    }
    let series = body.pointer("/data/result").and_then(Value::as_array).and_then(|all| all.last());
    let values = series.and_then(|series| series["values"].as_array()).map_or(&[] as &[Value], Vec::as_slice);
    values.iter().map(|pair| sample(pair).ok_or_else(|| format!("{pair} is no sample"))).collect()
}

fn sample(pair: &Value) -> Option<Sample> {
    let seconds = pair[0].as_f64()?;
    // Prometheus gives milliseconds; times are far below the limit of exact floats.
    #[allow(clippy::cast_possible_truncation)]
    let at = Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok()?;
    let text = pair[1].as_str()?;
    Some((at, text.trim_start_matches('+').parse().ok()?))
}

/// The query with the target's name replaced by the primary's, as KEDA queries are; source: reference
/// progressive-delivery.md, B.9.
pub fn of_primary(canary: &Canary, query: &str) -> String {
    crate::workload::scaler::renamed(query, &canary.spec.target_ref.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_range_is_asked_for_and_read_as_prometheus_documents_it() {
        let from = Timestamp::from_second(1000).unwrap();
        let span = Span { from, to: Timestamp::from_second(1600).unwrap(), step: Duration::from_secs(15) };
        let request = request("http://prometheus:9090/", "sum(rate(x{a=\"b\"}[1m]))\n  by (le)", span).unwrap();
        let uri = "http://prometheus:9090/api/v1/query_range?query=sum%28rate%28x%7Ba%3D%22b%22%7D%5B1m%5D%29%29%20by%20%28le%29&start=1000&end=1600&step=15";
        assert_eq!(request.uri(), uri);
        let answer = |body: Value| samples(&http::Response::new(Bytes::from(body.to_string())));
        let found = answer(json!({"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {}, "values": [[1000, "1"], [1015.5, "NaN"], [1030, "+Inf"]]}]}}));
        let found = found.unwrap();
        assert_eq!((found.len(), found[0], found[2].1), (3, (from, 1.0), f64::INFINITY));
        assert!(found[1].1.is_nan() && found[1].0.as_millisecond() == 1_015_500);
        assert_eq!(answer(json!({"status": "success", "data": {"result": []}})), Ok(Vec::new()));
        let refused = answer(json!({"status": "error", "error": "parse error"}));
        assert_eq!(refused, Err("Status 200 OK: parse error".into()));
    }

    #[test]
    fn a_long_span_gets_no_more_samples_than_prometheus_gives() {
        let now = Timestamp::from_second(10_000_000).unwrap();
        let span = Span::before(now, Duration::from_secs(1_100_000), Duration::from_secs(1));
        assert_eq!(span.step, Duration::from_secs(100));
    }
}
