//! Datadog's query interface.

use http::Method;
use serde::Deserialize;

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, json, ok, request_to};

const NAME: &str = "datadog";
const ADDRESS: &str = "https://api.datadoghq.com";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| send(ask, "/api/v1/validate", &[]),
    is_online: ok,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    keys(ask)?;
    let (from, to) = ask.window()?;
    let (from, to) = ((from / 1000).to_string(), (to / 1000).to_string());
    send(ask, "/api/v1/query", &[("query", ask.query), ("from", &from), ("to", &to)])
}

fn send(ask: &Ask<'_>, path: &str, fields: &[(&str, &str)]) -> Result<Request, Error> {
    let (api_key, application_key) = keys(ask)?;
    let mut url = ask.url(NAME, ADDRESS, path)?;
    if !fields.is_empty() {
        url.query_pairs_mut().extend_pairs(fields);
    }
    let headers = [("DD-API-KEY", api_key.as_str()), ("DD-APPLICATION-KEY", application_key.as_str())];
    request_to(NAME, Method::GET, &url, &headers, "")
}

/// API key and application key.
fn keys(ask: &Ask<'_>) -> Result<(String, String), Error> {
    let key = |key| ask.needed(NAME, key, key);
    Ok((key("datadog_api_key")?, key("datadog_application_key")?))
}

/// The first and oldest point of the first series: the newest almost always belongs to a bucket that is not full yet.
///
/// Differs: a point that is null is no data; the original takes it for 0.
fn value(response: &Response) -> Result<f64, Error> {
    ok(response)?;
    let answer: Answer = json(response)?;
    let point = answer.series.into_iter().flatten().next().and_then(|series| series.pointlist.into_iter().next());
    point.and_then(|point| point.get(1).copied().flatten()).ok_or(Error::NoValues)
}

#[derive(Deserialize)]
struct Answer {
    series: Option<Vec<Series>>,
}

#[derive(Deserialize)]
struct Series {
    /// Time and value of each point.
    #[serde(default)]
    pointlist: Vec<Vec<Option<f64>>>,
}
