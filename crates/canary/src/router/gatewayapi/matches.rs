//! Istio-style request matches of the Canary as matches of an HTTPRoute.

use std::collections::BTreeMap;

use api::flagger::{HttpMatch, StringMatch};
use serde_json::{Map, Value, json};

use crate::router::Error;

/// The matches of a Canary's list; those without anything that Gateway API knows are left out.
/// Prefix and suffix matches of headers, and every other form that it cannot express, are errors.
pub fn of(given: &[HttpMatch]) -> Result<Vec<Value>, Error> {
    let mut matches = Vec::new();
    for request in given {
        let mapped = one(request)?;
        if !mapped.is_empty() {
            matches.push(Value::Object(mapped));
        }
    }
    Ok(matches)
}

/// Every request.
pub fn everything() -> Value {
    json!({"path": {"type": "PathPrefix", "value": "/"}})
}

/// Each of `outer` with each of `inner`: paths and methods of `inner`, headers and query of `outer` where it has them.
pub fn merge(outer: &[Value], inner: &[Value]) -> Vec<Value> {
    if inner.is_empty() {
        return outer.to_vec();
    }
    let pairs = outer.iter().flat_map(|outer| inner.iter().map(move |inner| (outer, inner)));
    pairs
        .map(|(outer, inner)| {
            let mut merged = inner.clone();
            for member in ["headers", "queryParams"] {
                if let Some(given) = outer.get(member) {
                    merged[member] = given.clone();
                }
            }
            merged
        })
        .collect()
}

fn one(request: &HttpMatch) -> Result<Map<String, Value>, Error> {
    let mut mapped = Map::new();
    if let Some(uri) = &request.uri {
        mapped.insert("path".into(), path(uri)?);
    }
    if let Some(method) = &request.method {
        let exact = text(&method.exact).ok_or_else(|| unsupported("method", method))?;
        mapped.insert("method".into(), json!(exact));
    }
    for (member, what, given) in
        [("headers", "header", &request.headers), ("queryParams", "query", &request.query_params)]
    {
        if !given.is_empty() {
            mapped.insert(member.into(), values(what, given)?);
        }
    }
    Ok(mapped)
}

fn path(uri: &StringMatch) -> Result<Value, Error> {
    let kinds = [("RegularExpression", &uri.regex), ("Exact", &uri.exact), ("PathPrefix", &uri.prefix)];
    let found = kinds.into_iter().find_map(|(kind, value)| Some((kind, text(value)?)));
    found.map(|(kind, value)| json!({"type": kind, "value": value})).ok_or_else(|| unsupported("path", uri))
}

/// Header or query matches, by name.
fn values(what: &str, given: &BTreeMap<String, StringMatch>) -> Result<Value, Error> {
    let matches = given.iter().map(|(name, value)| {
        let kinds = [("Exact", &value.exact), ("RegularExpression", &value.regex)];
        let found = kinds.into_iter().find_map(|(kind, value)| Some((kind, text(value)?)));
        let (kind, value) = found.ok_or_else(|| unsupported(what, value))?;
        Ok(json!({"type": kind, "name": name, "value": value}))
    });
    matches.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn text(given: &Option<String>) -> Option<&str> {
    given.as_deref().filter(|text| !text.is_empty())
}

fn unsupported(what: &str, given: &StringMatch) -> Error {
    let given = serde_json::to_string(given).unwrap_or_default();
    Error::Invalid(format!(
        "Invalid request matching selectors: Gateway API doesn't support the specified {what} matching selector: {given}"
    ))
}
