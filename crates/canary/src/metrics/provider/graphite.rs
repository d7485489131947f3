//! Graphite's render interface. The query is the query string of the request: `target=…&from=…`.

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, accepted, basic, json, request_to};

const NAME: &str = "graphite";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| request(&Ask { query: "target=test", ..*ask }),
    is_online,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    if ask.provider.address.is_empty() {
        return Err(Error::Address { provider: NAME, address: String::new() });
    }
    let mut url = ask.url(NAME, "", "/render")?;
    let query = ask.query.split_whitespace().collect::<Vec<_>>().join(" ");
    let fields = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "format");
    url.query_pairs_mut().extend_pairs(fields).append_pair("format", "json");
    let mut headers = Vec::new();
    let authorization;
    if ask.secret.is_some() {
        let username = ask.needed(NAME, "username", "a username")?;
        let password = ask.needed(NAME, "password", "a password")?;
        if !username.is_empty() && !password.is_empty() {
            authorization = basic(&username, &password);
            headers.push(("Authorization", authorization.as_str()));
        }
    }
    request_to(NAME, Method::GET, &url, &headers, "")
}

/// The last point of the last target that is not null.
fn value(response: &Response) -> Result<f64, Error> {
    accepted(response)?;
    let targets: Vec<Target> = json(response)?;
    let mut last = None;
    for point in targets.iter().flat_map(|target| target.datapoints.iter()) {
        let (value, _time) = point;
        match value {
            Value::Null => {}
            Value::Number(number) => last = number.as_f64(),
            Value::String(text) => last = Some(text.parse().map_err(|_| Error::NotANumber(text.clone()))?),
            other => return Err(Error::NotANumber(other.to_string())),
        }
    }
    last.ok_or(Error::NoValues)
}

/// A metric that nobody knows has no values; what counts is that the server answers.
fn is_online(response: &Response) -> Result<(), Error> {
    match value(response) {
        Ok(_) | Err(Error::NoValues) => Ok(()),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct Target {
    /// Value and time of each point.
    #[serde(default)]
    datapoints: Vec<(Value, Value)>,
}
