//! InfluxDB 2: a Flux query, answered in annotated CSV.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{Ask, Error, Request, Response, Vendor, refused, request_to, unreadable};

const NAME: &str = "influxdb";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: Duration::from_secs(15),
    request,
    value,
    online: |ask| request(&Ask { query: "from(bucket: \"default\") |> range(start: -2h)", ..*ask }),
    is_online,
};

fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    if ask.provider.address.is_empty() {
        return Err(Error::Address { provider: NAME, address: String::new() });
    }
    let mut url = ask.url(NAME, "", "/api/v2/query")?;
    let (mut organisation, mut authorization) = (String::new(), None);
    if ask.secret.is_some() {
        let token = ask.needed(NAME, "token", "an authentication token")?;
        organisation = ask.needed(NAME, "org", "an organisation")?;
        authorization = Some(format!("Token {token}"));
    }
    url.query_pairs_mut().append_pair("org", &organisation);
    let dialect = json!({"annotations": ["datatype", "group", "default"], "delimiter": ",", "header": true});
    let body = json!({"dialect": dialect, "query": ask.query, "type": "flux"}).to_string();
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(authorization.iter().map(|authorization| ("Authorization", authorization.as_str())));
    request_to(NAME, Method::POST, &url, &headers, body)
}

/// The `_value` of the first row, which must be a float.
///
/// Differs: no rows are no data; the original takes them for 0.
fn value(response: &Response) -> Result<f64, Error> {
    if !response.status().is_success() {
        return Err(refused(response));
    }
    let text = String::from_utf8_lossy(response.body());
    let (mut types, mut defaults, mut header) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows(&text) {
        match row.first().map(String::as_str) {
            Some("#datatype") => (types, header) = (row, Vec::new()),
            Some("#default") => defaults = row,
            Some(annotation) if annotation.starts_with('#') => {}
            _ if types.is_empty() => return Err(unreadable(response, "annotations not found")),
            _ if header.is_empty() => header = row,
            _ => return cell(response, &types, &defaults, &header, &row),
        }
    }
    Err(Error::NoValues)
}

/// The value in a row of data.
fn cell(
    response: &Response,
    types: &[String],
    defaults: &[String],
    header: &[String],
    row: &[String],
) -> Result<f64, Error> {
    if header.get(1).is_some_and(|name| name == "error") {
        return Err(unreadable(response, row.get(1).cloned().unwrap_or_default()));
    }
    let column = header.iter().position(|name| name == "_value").ok_or(Error::NoValues)?;
    let text = |row: &[String]| row.get(column).filter(|text| !text.is_empty()).cloned();
    let text = text(row).or_else(|| text(defaults)).ok_or(Error::NoValues)?;
    match types.get(column).map(String::as_str) {
        Some("double") => text.parse().map_err(|_| Error::NotANumber(text)),
        kind => Err(unreadable(response, format!("_value is a {}, not a double", kind.unwrap_or_default()))),
    }
}

fn is_online(response: &Response) -> Result<(), Error> {
    match value(response) {
        Err(Error::Response { .. }) => Err(refused(response)),
        _ => Ok(()),
    }
}

/// The rows of a CSV text, empty ones left out. Source: RFC 4180.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut is_quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (is_quoted, c) {
            (true, '"') if rest.peek() == Some(&'"') => cell.extend(rest.next()),
            (_, '"') => is_quoted = !is_quoted,
            (true, c) => cell.push(c),
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\r') => {}
            (false, '\n') => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (false, c) => cell.push(c),
        }
    }
    row.push(cell);
    rows.push(row);
    rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
    rows
}
