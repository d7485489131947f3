//! What a registry says of its errors, as go-containerregistry, and so Flux, writes it. Pure.
//! Source: go-containerregistry 0.22 `pkg/v1/remote/transport/error.go`, `Error` and `Diagnostic`.

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

/// Most characters of what a registry says: what fits a condition.
const LIMIT: usize = 300;

/// The error document of OCI distribution.
#[derive(Deserialize)]
struct Document {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

/// What went wrong with a request, by its answer: `CODE: message; detail` where the registry says so, else the status, and
/// what a text says.
pub(crate) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let document = serde_json::from_slice::<Document>(body).ok();
    let text = match document.map(|document| document.errors).as_deref() {
        Some([one]) => entry(one),
        Some(several @ [_, ..]) => {
            format!("multiple errors returned: {}", several.iter().map(entry).collect::<Vec<_>>().join("; "))
        }
        _ => {
            let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            // Differs: pages made for browsers are left out.
            match std::str::from_utf8(body).map(str::trim) {
                Ok(text) if !text.is_empty() && (kind.is_empty() || kind.starts_with("text/plain")) => {
                    format!("unexpected status code {status}: {text}")
                }
                _ => format!("unexpected status code {status}"),
            }
        }
    };
    text.chars().filter(|c| !c.is_control()).take(LIMIT).collect()
}

fn entry(entry: &Entry) -> String {
    let Entry { code, message, detail } = entry;
    match detail {
        Value::Null => format!("{code}: {message}"),
        detail => format!("{code}: {message}; {}", go(detail)),
    }
}

/// A value as Go's `%v` writes it.
fn go(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(go).collect())),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            format!("map[{}]", joined(fields.iter().map(|(name, value)| format!("{name}:{}", go(value))).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_with_go_containerregistry() {
        let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"none"}}]}"#;
        let denied = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository","Class":"","Name":"app","Action":"pull"}]}]}"#;
        let two = r#"{"errors":[{"code":"A","message":"a","detail":null},{"code":"B","message":"b","detail":true}]}"#;
        let secure = "Client sent an HTTP request to an HTTPS server.\n";
        for (status, kind, body, expected) in [
            (404, "application/json", unknown, "NAME_UNKNOWN: repository name not known to registry; map[name:none]"),
            (
                401,
                "application/json",
                denied,
                "UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:app Type:repository]]",
            ),
            (400, "application/json", two, "multiple errors returned: A: a; B: b; true"),
            (
                400,
                "text/plain",
                secure,
                "unexpected status code 400 Bad Request: Client sent an HTTP request to an HTTPS server.",
            ),
            (502, "text/html", "<html></html>", "unexpected status code 502 Bad Gateway"),
            (500, "application/json", r#"{"errors":[]}"#, "unexpected status code 500 Internal Server Error"),
            (404, "", "", "unexpected status code 404 Not Found"),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().expect("a value"))]);
            assert_eq!(of(StatusCode::from_u16(status).expect("a status"), &headers, body.as_bytes()), expected);
        }
    }
}
