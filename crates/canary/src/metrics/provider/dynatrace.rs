//! Dynatrace's metrics interface, version 2.

use http::Method;
use serde::Deserialize;

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, json, ok, request_to};

const NAME: &str = "dynatrace";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| send(ask, "/api/v2/metrics", &[("pageSize", "1")]),
    is_online: ok,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    token(ask)?;
    let (from, to) = ask.window()?;
    // Whole seconds, in milliseconds.
    let to = to / 1000 * 1000;
    let fields =
        [("metricSelector", ask.query), ("resolution", "Inf"), ("from", &from.to_string()), ("to", &to.to_string())];
    send(ask, "/api/v2/metrics/query", &fields)
}

fn send(ask: &Ask<'_>, path: &str, fields: &[(&str, &str)]) -> Result<Request, Error> {
    let token = token(ask)?;
    let mut url = ask.url(NAME, "", path)?;
    url.query_pairs_mut().extend_pairs(fields);
    request_to(NAME, Method::GET, &url, &[("Authorization", &format!("Api-Token {token}"))], "")
}

fn token(ask: &Ask<'_>) -> Result<String, Error> {
    if ask.provider.address.is_empty() {
        return Err(Error::NoAddress(NAME));
    }
    ask.needed(NAME, "dynatrace_token", "dynatrace_token")
}

/// The first value of the first result's last series. With the resolution `Inf` there is one.
///
/// Differs: a value that is null is no data; the original takes it for 0.
fn value(response: &Response) -> Result<f64, Error> {
    ok(response)?;
    let answer: Answer = json(response)?;
    let data = answer.result.into_iter().flatten().next().and_then(|result| result.data.into_iter().last());
    data.and_then(|data| data.values.first().copied().flatten()).ok_or(Error::NoValues)
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Vec<Found>>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    values: Vec<Option<f64>>,
}
