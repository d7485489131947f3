//! Google Cloud Monitoring, once Stackdriver: a query in MQL.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Ask, Error, Identity, Login, Request, Response, TIMEOUT, Vendor, json as read, ok, refused, request_to};

const NAME: &str = "stackdriver";
const ADDRESS: &str = "https://monitoring.googleapis.com";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| request(&Ask { query: "", ..*ask }),
    is_online,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    let project = ask.needed(NAME, "project", "a project id")?;
    let Some(Login::Google(token)) = ask.login else {
        return Err(Error::NoLogin(Identity::Google));
    };
    let url = ask.url(NAME, ADDRESS, &format!("/v3/projects/{project}/timeSeries:query"))?;
    let headers = [("Authorization", &*format!("Bearer {token}")), ("Content-Type", "application/json")];
    request_to(NAME, Method::POST, &url, &headers, json!({"query": ask.query}).to_string())
}

/// The first value of the first series' newest point.
///
/// Differs: a whole number counts; the original takes it for 0.
fn value(response: &Response) -> Result<f64, Error> {
    ok(response)?;
    let answer: Answer = read(response)?;
    let points = answer.time_series_data.into_iter().next().map(|series| series.point_data).unwrap_or_default();
    let value = points.into_iter().next().and_then(|point| point.values.into_iter().next()).ok_or(Error::NoValues)?;
    match (value.double_value, value.int64_value) {
        (Some(value), _) => Ok(value),
        (None, Some(text)) => text.parse().map_err(|_| Error::NotANumber(text)),
        (None, None) => Err(Error::NoValues),
    }
}

/// A refusal of the empty query shows that the service answers us.
fn is_online(response: &Response) -> Result<(), Error> {
    let is_refused_query = response.status() == http::StatusCode::BAD_REQUEST
        && String::from_utf8_lossy(response.body()).contains("INVALID_ARGUMENT");
    if response.status().is_success() || is_refused_query { Ok(()) } else { Err(refused(response)) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    time_series_data: Vec<Series>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    #[serde(default)]
    point_data: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    #[serde(default)]
    values: Vec<Typed>,
}

/// JSON writes whole numbers of 64 bits as text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    double_value: Option<f64>,
    int64_value: Option<String>,
}
