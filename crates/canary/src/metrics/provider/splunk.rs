//! Splunk Observability (SignalFx): a SignalFlow program over the window, answered as server-sent events.
//!
//! Differs: the original opens a WebSocket; the same interface over HTTP gives the same messages.

use api::flagger::MetricProvider;
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, ok, request_to, unreadable};

const NAME: &str = "splunk";

pub(super) const VENDOR: Vendor = Vendor { name: NAME, timeout: TIMEOUT, request, value, online, is_online: ok };

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    let token = token(ask)?;
    let (start, stop) = ask.window()?;
    let mut url = url(ask, ("api", "stream"), "/v2/signalflow/execute")?;
    let fields = [("start", start.to_string()), ("stop", stop.to_string()), ("immediate", "true".to_owned())];
    url.query_pairs_mut().extend_pairs(fields);
    let headers = [("X-SF-Token", token.as_str()), ("Content-Type", "text/plain"), ("Accept", "text/event-stream")];
    request_to(NAME, Method::POST, &url, &headers, ask.query.to_owned())
}

fn online(ask: &Ask<'_>) -> Result<Request, Error> {
    let token = token(ask)?;
    ask.interval()?;
    let mut url = url(ask, ("stream", "api"), "/v2/metric")?;
    url.query_pairs_mut().append_pair("limit", "1");
    request_to(NAME, Method::GET, &url, &[("X-SF-Token", &token)], "")
}

fn token(ask: &Ask<'_>) -> Result<String, Error> {
    if ask.provider.address.is_empty() {
        return Err(Error::NoAddress(NAME));
    }
    ask.needed(NAME, "sf_token_key", "sf_token_key")
}

/// People give either of the service's two hosts, `api.REALM…` or `stream.REALM…`, and either protocol.
fn url(ask: &Ask<'_>, (from, to): (&str, &str), path: &str) -> Result<Url, Error> {
    let given = ask.provider.address.as_str();
    let address = given.strip_prefix("ws").map_or_else(|| given.to_owned(), |rest| format!("http{rest}"));
    let provider = MetricProvider { address: address.replacen(from, to, 1), ..MetricProvider::default() };
    Ask { provider: &provider, ..*ask }.url(NAME, "", path)
}

/// The last value of the only time series.
fn value(response: &Response) -> Result<f64, Error> {
    ok(response)?;
    let text = String::from_utf8_lossy(response.body());
    let mut values: Vec<(String, f64)> = Vec::new();
    for event in events(&text) {
        match event.name {
            "data" => {
                let message: Message =
                    serde_json::from_str(&event.data).map_err(|error| unreadable(response, error.to_string()))?;
                let payloads = message.data.into_iter();
                values.extend(payloads.filter_map(|payload| Some((payload.time_series, payload.value.as_f64()?))));
            }
            "error" => return Err(unreadable(response, "the program cannot be run")),
            _ => {}
        }
    }
    let (series, value) = values.last().ok_or(Error::NoValues)?;
    if values.iter().any(|(other, _)| other != series) { Err(Error::MultipleValues) } else { Ok(*value) }
}

/// A message with data.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    data: Vec<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "tsId", default)]
    time_series: String,
    #[serde(default)]
    value: Value,
}

/// A server-sent event.
struct Event<'a> {
    name: &'a str,
    data: String,
}

/// Source: the HTML standard, "Server-sent events".
fn events(text: &str) -> Vec<Event<'_>> {
    let mut events = vec![Event { name: "", data: String::new() }];
    for line in text.lines() {
        let Some(event) = events.last_mut() else { break };
        match line.split_once(':') {
            Some(("event", name)) => event.name = name.trim_start(),
            Some(("data", data)) => {
                event.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                event.data.push('\n');
            }
            _ if line.is_empty() => events.push(Event { name: "", data: String::new() }),
            _ => {}
        }
    }
    events
}
