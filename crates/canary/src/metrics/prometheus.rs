//! Prometheus' query interface. Source: reference progressive-delivery.md, C.4.

use std::fmt::Write as _;

use api::flagger::MetricProvider;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{Credentials, Error};

const NAME: &str = "prometheus";

/// An instant query. White space in it is collapsed, so that it fits into the log lines of proxies.
pub fn request(
    provider: &MetricProvider,
    secret: Option<&Credentials>,
    query: &str,
) -> Result<http::Request<Bytes>, Error> {
    let invalid = || Error::Address { provider: NAME, address: provider.address.clone() };
    let address: http::Uri = provider.address.parse().map_err(|_| invalid())?;
    let (Some(scheme), Some(authority)) = (address.scheme_str(), address.authority()) else { return Err(invalid()) };
    if !["http", "https"].contains(&scheme) {
        return Err(invalid());
    }
    let path = address.path().trim_end_matches('/');
    let query = encoded(&query.split_whitespace().collect::<Vec<_>>().join(" "));
    let uri = format!("{scheme}://{authority}{path}/api/v1/query?query={query}");
    let mut request = http::Request::get(uri);
    for (name, values) in &provider.headers {
        for value in values {
            request = request.header(name, value);
        }
    }
    if let Some(secret) = secret {
        request = request.header(http::header::AUTHORIZATION, authorization(secret)?);
    }
    request.body(Bytes::new()).map_err(|_| invalid())
}

/// The value of the last series. Status 400 and above, text that is not JSON, and answers over a range are errors.
pub fn value(response: &http::Response<Bytes>) -> Result<f64, Error> {
    let body = || String::from_utf8_lossy(response.body()).into_owned();
    if response.status().as_u16() >= 400 {
        return Err(Error::Response { status: response.status().to_string(), body: body() });
    }
    let answer: Answer = serde_json::from_slice(response.body())
        .map_err(|error| Error::Unreadable { problem: error.to_string(), body: body() })?;
    let mut last = None;
    for series in &answer.data.result {
        if !series.values.is_empty() {
            return Err(Error::MultipleValues);
        }
        if let Some(Value::String(text)) = series.value.get(1) {
            last = Some(text.trim().parse::<f64>().map_err(|_| Error::NotANumber(text.clone()))?);
        }
    }
    last.filter(|value| !value.is_nan()).ok_or(Error::NoValues)
}

/// As much of an answer as counts.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    /// Time and value of an instant query.
    #[serde(default)]
    value: Vec<Value>,
    /// The same for each point of a range query.
    #[serde(default)]
    values: Vec<Value>,
}

/// `token`, else `username` and `password`.
fn authorization(secret: &Credentials) -> Result<String, Error> {
    let text = |key: &str| secret.get(key).map(|bytes| String::from_utf8_lossy(bytes).trim_end().to_owned());
    if let Some(token) = text("token") {
        return Ok(format!("Bearer {token}"));
    }
    let needed = |key| text(key).ok_or(Error::Credentials { provider: NAME, key });
    let (username, password) = (needed("username")?, needed("password")?);
    Ok(format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
}

/// Percent-encoded, but for what no query component needs to have encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}
