//! Amazon CloudWatch. The query is a JSON list of `MetricDataQuery`.

use http::Method;
use reconcile::identity::aws;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Ask, Error, Identity, Login, Request, Response, TIMEOUT, Vendor, json as read, ok, refused, request_to};

const NAME: &str = "cloudwatch";
const SERVICE: &str = "monitoring";
/// Most points that are asked for.
const POINTS: u32 = 20;
/// The members of a `MetricDataQuery`. People write them in any case, as the reference's reader takes them.
const MEMBERS: [&str; 15] = [
    "Id",
    "Expression",
    "Label",
    "ReturnData",
    "Period",
    "AccountId",
    "MetricStat",
    "Metric",
    "Namespace",
    "MetricName",
    "Dimensions",
    "Name",
    "Value",
    "Stat",
    "Unit",
];
/// Errors with status 400 that say that the login is wrong.
const LOGIN_ERRORS: [&str; 6] = [
    "AccessDenied",
    "UnrecognizedClient",
    "Signature",
    "ExpiredToken",
    "MissingAuthentication",
    "InvalidClientTokenId",
];

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| send(ask, &json!({"StartTime": 0, "EndTime": 0, "MetricDataQueries": []})),
    is_online,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    if ask.provider.region.is_empty() {
        return Err(Error::NoRegion);
    }
    let (start, end) = ask.window()?;
    let queries: Vec<Map<String, Value>> =
        serde_json::from_str(ask.query).map_err(|error| Error::Query(error.to_string()))?;
    let queries: Vec<_> = queries.into_iter().map(|query| canonical(Value::Object(query))).collect();
    send(
        ask,
        &json!({"StartTime": start / 1000, "EndTime": end / 1000, "MaxDatapoints": POINTS, "MetricDataQueries": queries}),
    )
}

fn send(ask: &Ask<'_>, body: &Value) -> Result<Request, Error> {
    let region = ask.provider.region.as_str();
    if region.is_empty() {
        return Err(Error::NoRegion);
    }
    ask.interval()?;
    let Some(Login::Aws(keys)) = ask.login else {
        return Err(Error::NoLogin(Identity::Aws));
    };
    let url = ask.url(NAME, &format!("https://{SERVICE}.{region}.{}", aws::domain(region)), "/")?;
    let headers = [
        ("Content-Type", "application/x-amz-json-1.0"),
        ("X-Amz-Target", "GraniteServiceVersion20100801.GetMetricData"),
    ];
    let request = request_to(NAME, Method::POST, &url, &headers, body.to_string())?;
    aws::sign(request, keys, region, SERVICE, ask.now).map_err(|_| Error::Request(NAME))
}

/// The members under their proper names; unknown ones are left out.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter_map(|(name, value)| {
                    let proper = MEMBERS.iter().find(|member| member.eq_ignore_ascii_case(&name))?;
                    Some(((*proper).to_owned(), canonical(value)))
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}

/// The first value of the first result.
fn value(response: &Response) -> Result<f64, Error> {
    ok(response)?;
    let answer: Answer = read(response)?;
    answer.metric_data_results.first().and_then(|result| result.values.first().copied()).ok_or(Error::NoValues)
}

/// A refusal of the empty query shows that the service answers us.
fn is_online(response: &Response) -> Result<(), Error> {
    let body = String::from_utf8_lossy(response.body());
    let is_refused_query =
        response.status() == http::StatusCode::BAD_REQUEST && !LOGIN_ERRORS.iter().any(|error| body.contains(error));
    if response.status().is_success() || is_refused_query { Ok(()) } else { Err(refused(response)) }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    metric_data_results: Vec<Found>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    #[serde(default)]
    values: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_may_be_written_in_any_case() {
        let query =
            json!({"id": "e1", "metricStat": {"metric": {"dimensions": [{"name": "a", "value": "b"}]}, "x": 1}});
        let expected = json!({"Id": "e1", "MetricStat": {"Metric": {"Dimensions": [{"Name": "a", "Value": "b"}]}}});
        assert_eq!(canonical(query), expected);
    }
}
