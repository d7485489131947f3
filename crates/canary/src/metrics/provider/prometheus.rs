//! Prometheus' query interface, and whatever else speaks it.

use reconcile::http::escaped;
use serde::Deserialize;
use serde_json::Value;

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, accepted, basic, json, request_to, unreadable};

const NAME: &str = "prometheus";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| request(&Ask { query: "vector(1)", ..*ask }),
    is_online,
};

/// Keys of a Secret that only concern TLS; with nothing else in it, requests carry no login.
const TLS_KEYS: [&str; 5] = ["ca.crt", "tls.crt", "tls.key", "caFile", "certFile"];

/// An instant query. White space in it is collapsed, so that it fits into the log lines of proxies.
fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    if ask.provider.address.is_empty() {
        return Err(Error::Address { provider: NAME, address: String::new() });
    }
    let mut url = ask.url(NAME, "", "/api/v1/query")?;
    let query = collapsed(ask.query);
    url.set_query(Some(&format!("query={}", escaped(&query))));
    let authorization = authorization(ask)?;
    let mut headers: Vec<(&str, &str)> = Vec::new();
    for (name, values) in &ask.provider.headers {
        headers.extend(values.iter().map(|value| (name.as_str(), value.as_str())));
    }
    // The Secret's login counts more than a header of the same name.
    if let Some(authorization) = &authorization {
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        headers.push(("authorization", authorization));
    }
    request_to(NAME, http::Method::GET, &url, &headers, "")
}

/// The query with a blank for each run of white space, at its ends too.
fn collapsed(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    for letter in query.chars() {
        match letter.is_whitespace() {
            true if text.ends_with(' ') => {}
            true => text.push(' '),
            false => text.push(letter),
        }
    }
    text
}

/// The value of the last series. A scalar and the points of a range are errors.
fn value(response: &Response) -> Result<f64, Error> {
    accepted(response)?;
    let answer: Answer = json(response)?;
    if ["scalar", "string"].contains(&answer.data.result_type.as_str()) {
        let problem = format!("the query gives a {}, not a vector; put it into vector()", answer.data.result_type);
        return Err(unreadable(response, problem));
    }
    let Some(result) = answer.data.result else { return Err(Error::NoValues) };
    let series: Vec<Series> =
        serde_json::from_value(result).map_err(|error| unreadable(response, error.to_string()))?;
    let mut last = None;
    for series in &series {
        if !series.values.is_empty() {
            return Err(Error::MultipleValues);
        }
        if let Some(Value::String(text)) = series.value.get(1) {
            last = Some(text.parse::<f64>().map_err(|_| Error::NotANumber(text.clone()))?);
        }
    }
    last.ok_or(Error::NoValues)
}

fn is_online(response: &Response) -> Result<(), Error> {
    match value(response)? {
        1.0 => Ok(()),
        _ => Err(unreadable(response, "vector(1) is not 1")),
    }
}

/// As much of an answer as counts.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    result_type: String,
    result: Option<Value>,
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
fn authorization(ask: &Ask<'_>) -> Result<Option<String>, Error> {
    let Some(secret) = ask.secret else { return Ok(None) };
    if let Some(token) = ask.secret("token") {
        return Ok(Some(format!("Bearer {token}")));
    }
    if !secret.is_empty() && secret.keys().all(|key| TLS_KEYS.contains(&key.as_str())) {
        return Ok(None);
    }
    let username = ask.needed(NAME, "username", "a username")?;
    let password = ask.needed(NAME, "password", "a password")?;
    Ok(Some(basic(&username, &password)))
}
