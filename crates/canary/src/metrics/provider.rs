//! The services that answer queries. Each has a file of its own with two pure functions, what is asked and what the answer
//! says, and one line in `VENDORS`.
//!
//! Source: reference progressive-delivery.md, C.4.

mod cloudwatch;
mod datadog;
mod dynatrace;
mod externalmetrics;
mod graphite;
mod influxdb;
pub mod keptn;
mod newrelic;
mod prometheus;
mod splunk;
mod stackdriver;

use std::{collections::BTreeMap, time::Duration};

use api::flagger::MetricProvider;
use bytes::Bytes;
use jiff::Timestamp;
use reconcile::{http::basic, identity::aws::Keys};
use serde::de::DeserializeOwned;
use url::Url;

use super::Error;

/// Data of a Secret, decoded.
pub type Credentials = BTreeMap<String, Vec<u8>>;
/// What a provider is sent.
pub type Request = http::Request<Bytes>;
/// What a provider answers.
pub type Response = http::Response<Bytes>;

/// Everything a request is made of.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who is asked.
    pub provider: &'a MetricProvider,
    /// Data of the provider's Secret, if it names one.
    pub secret: Option<&'a Credentials>,
    /// Our own login. A provider that needs one answers [`Error::NoLogin`] without it.
    pub login: Option<&'a Login>,
    /// The rendered query.
    pub query: &'a str,
    /// The metric's interval as written; some providers look back ten of it.
    pub interval: &'a str,
    /// The end of the window.
    pub now: Timestamp,
}

/// Who we are to a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Amazon's keys, which sign the request.
    Aws(Keys),
    /// Google's access token.
    Google(String),
}

/// Whose login a provider needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Amazon's, for the provider's region.
    Aws,
    /// Google's, of the Secret's `serviceAccountKey`, else of the machine.
    Google,
}

/// One service.
struct Vendor {
    /// `spec.provider.type`.
    name: &'static str,
    /// Longest time for one request.
    timeout: Duration,
    request: fn(&Ask<'_>) -> Result<Request, Error>,
    value: fn(&Response) -> Result<f64, Error>,
    /// The request whose answer tells whether the service works.
    online: fn(&Ask<'_>) -> Result<Request, Error>,
    is_online: fn(&Response) -> Result<(), Error>,
}

/// Longest time for one request, unless a vendor says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Windows of providers that average over time reach back this many intervals.
const WINDOWS: i64 = 10;
/// Most bytes of an answer that an error repeats.
const EXCERPT: usize = 300;

/// The vendors. The first stands for every name that is not here, as in the reference. Keptn is asked by objects, not here.
const VENDORS: [Vendor; 10] = [
    prometheus::VENDOR,
    datadog::VENDOR,
    cloudwatch::VENDOR,
    stackdriver::VENDOR,
    newrelic::VENDOR,
    graphite::VENDOR,
    influxdb::VENDOR,
    dynatrace::VENDOR,
    splunk::VENDOR,
    externalmetrics::VENDOR,
];

/// The request that asks a provider. One without host goes to the cluster's own API.
pub fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    (vendor(ask.provider).request)(ask)
}

/// What a provider answered. Never a NaN.
pub fn value(provider: &MetricProvider, response: &Response) -> Result<f64, Error> {
    let value = (vendor(provider).value)(response)?;
    if value.is_nan() { Err(Error::NoValues) } else { Ok(value) }
}

/// The request whose answer tells whether a provider works.
pub fn online(ask: &Ask<'_>) -> Result<Request, Error> {
    (vendor(ask.provider).online)(ask)
}

/// Whether the answer to [`online`] is that of a provider that works.
pub fn is_online(provider: &MetricProvider, response: &Response) -> Result<(), Error> {
    (vendor(provider).is_online)(response)
}

/// Longest time for one request to a provider.
pub fn timeout(provider: &MetricProvider) -> Duration {
    vendor(provider).timeout
}

fn vendor(provider: &MetricProvider) -> &'static Vendor {
    VENDORS.iter().find(|vendor| vendor.name == provider.kind).unwrap_or(&VENDORS[0])
}

impl Ask<'_> {
    /// The text under a key of the Secret. White space at its end comes from the tool that made it and does not count.
    fn secret(&self, key: &str) -> Option<String> {
        let bytes = self.secret?.get(key)?;
        Some(String::from_utf8_lossy(bytes).trim_end().to_owned())
    }

    /// The same where the provider cannot do without; `what` says it in the error.
    fn needed(&self, provider: &'static str, key: &str, what: &'static str) -> Result<String, Error> {
        self.secret(key).ok_or(Error::Credentials { provider, what })
    }

    /// The provider's address, else `usual`, with `path` after it.
    fn url(&self, provider: &'static str, usual: &str, path: &str) -> Result<Url, Error> {
        let given = self.provider.address.as_str();
        let address = if given.is_empty() { usual } else { given };
        let invalid = || Error::Address { provider, address: without_login(address) };
        let mut url = Url::parse(address).map_err(|_| invalid())?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
            return Err(invalid());
        }
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(None);
        Ok(url)
    }

    /// The metric's interval.
    fn interval(&self) -> Result<Duration, Error> {
        self.interval.parse().map(api::Duration::get).map_err(Error::Interval)
    }

    /// Beginning and end of the window that ends now, in milliseconds since 1970.
    fn window(&self) -> Result<(i64, i64), Error> {
        let interval = i64::try_from(self.interval()?.as_millis()).unwrap_or(i64::MAX);
        let now = self.now.as_millisecond();
        Ok((now.saturating_sub(interval.saturating_mul(WINDOWS)), now))
    }
}

/// A request to `url`.
fn request_to(
    provider: &'static str,
    method: http::Method,
    url: &Url,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Request, Error> {
    let mut builder = http::Request::builder().method(method);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.uri(url.as_str()).body(body.into()).map_err(|_| Error::Request(provider))
}

/// The answer, if it is a 200.
fn ok(response: &Response) -> Result<(), Error> {
    if response.status() == http::StatusCode::OK { Ok(()) } else { Err(refused(response)) }
}

/// The answer, if its status is below 400.
fn accepted(response: &Response) -> Result<(), Error> {
    if response.status().as_u16() < 400 { Ok(()) } else { Err(refused(response)) }
}

/// The error of a server that refuses.
fn refused(response: &Response) -> Error {
    Error::Response { status: response.status().to_string(), body: excerpt(response) }
}

/// The body as JSON of a known shape.
fn json<T: DeserializeOwned>(response: &Response) -> Result<T, Error> {
    serde_json::from_slice(response.body()).map_err(|error| unreadable(response, error.to_string()))
}

/// The error of an answer that is not what was promised.
fn unreadable(response: &Response, problem: impl Into<String>) -> Error {
    Error::Unreadable { problem: problem.into(), body: excerpt(response) }
}

/// The beginning of a body, for an error.
fn excerpt(response: &Response) -> String {
    let text = String::from_utf8_lossy(response.body());
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// An address that is no URL, without what stands before an `@`.
fn without_login(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests;
