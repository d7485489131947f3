//! New Relic: the Insights interface, and NerdGraph, which follows it.
//!
//! NerdGraph is asked when the address ends in `/graphql`, or when the Secret holds a `newrelic_api_key`.

use std::ops::Not as _;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, json, ok, refused, request_to, unreadable};

const NAME: &str = "newrelic";
const INSIGHTS: &str = "https://insights-api.newrelic.com";
const NERDGRAPH: &str = "https://api.newrelic.com/graphql";
/// The GraphQL document; account and query are its variables.
const DOCUMENT: &str =
    "query($account: Int!, $nrql: Nrql!) { actor { account(id: $account) { nrql(query: $nrql) { results } } } }";
/// Members of NerdGraph's results that tell when, not what.
const TIMES: [&str; 4] = ["beginTimeSeconds", "endTimeSeconds", "timestamp", "inspectedCount"];

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| request(&Ask { query: "SELECT * FROM Metric", ..*ask }),
    is_online,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    let account = ask.needed(NAME, "newrelic_account_id", "the key 'newrelic_account_id'")?;
    let new_key = ask.secret("newrelic_api_key");
    let is_nerdgraph = new_key.is_some() || ask.provider.address.trim_end_matches('/').ends_with("/graphql");
    let key = match new_key {
        Some(key) => key,
        None => ask.needed(NAME, "newrelic_query_key", "the key 'newrelic_query_key'")?,
    };
    let nrql = format!("{} SINCE {} seconds ago", ask.query, ask.interval()?.as_secs());
    if !is_nerdgraph {
        let mut url = ask.url(NAME, INSIGHTS, &format!("/v1/accounts/{account}/query"))?;
        url.query_pairs_mut().append_pair("nrql", &nrql);
        return request_to(NAME, Method::GET, &url, &[("X-Query-Key", &key)], "");
    }
    let account: u64 =
        account.parse().map_err(|_| Error::Credentials { provider: NAME, what: "a number as newrelic_account_id" })?;
    let url = ask.url(NAME, NERDGRAPH, "")?;
    let body = json!({"query": DOCUMENT, "variables": {"account": account, "nrql": nrql}}).to_string();
    request_to(NAME, Method::POST, &url, &[("API-Key", &key), ("Content-Type", "application/json")], body)
}

fn value(response: &Response) -> Result<f64, Error> {
    ok(response)?;
    let answer: Answer = json(response)?;
    if let Some(errors) = answer.errors.filter(|errors| !errors.is_empty()) {
        let texts: Vec<_> = errors.iter().filter_map(|error| error["message"].as_str()).collect();
        return Err(unreadable(response, texts.join("; ")));
    }
    match (answer.results, answer.data) {
        (Some(results), _) => match results.as_slice() {
            [only] => match &only["result"] {
                Value::Null => Err(Error::NoValues),
                value => value.as_f64().ok_or_else(|| unreadable(response, "the result is not a number")),
            },
            _ => Err(Error::NoValues),
        },
        (None, Some(data)) => of_nerdgraph(&data),
        (None, None) => Err(Error::NoValues),
    }
}

/// The only number of the only result. A percentile's is one level down.
fn of_nerdgraph(data: &Value) -> Result<f64, Error> {
    let results = data.pointer("/actor/account/nrql/results").and_then(Value::as_array).ok_or(Error::NoValues)?;
    match results.as_slice() {
        [] => Err(Error::NoValues),
        [only] => match numbers(only).as_slice() {
            [] => Err(Error::NoValues),
            [value] => Ok(*value),
            _ => Err(Error::MultipleValues),
        },
        _ => Err(Error::MultipleValues),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => number.as_f64().into_iter().collect(),
        Value::Object(members) => {
            let counted = members.iter().filter(|(name, _)| TIMES.contains(&name.as_str()).not());
            counted.flat_map(|(_, value)| numbers(value)).collect()
        }
        _ => Vec::new(),
    }
}

/// The status alone counts for Insights; NerdGraph tells errors with status 200.
fn is_online(response: &Response) -> Result<(), Error> {
    ok(response)?;
    let answer: Option<Answer> = serde_json::from_slice(response.body()).ok();
    match answer.and_then(|answer| answer.errors).is_some_and(|errors| !errors.is_empty()) {
        true => Err(refused(response)),
        false => Ok(()),
    }
}

#[derive(Deserialize)]
struct Answer {
    /// Of Insights.
    results: Option<Vec<Value>>,
    /// Of NerdGraph.
    data: Option<Value>,
    errors: Option<Vec<Value>>,
}
