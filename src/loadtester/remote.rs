//! Servers that run tests for us: what is asked of them is JSON.

use std::time::Duration;

use bytes::Bytes;
use reconcile::{Endpoint, Http};
use serde_json::Value;

/// Limits of one answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const LIMIT_BYTES: usize = 1 << 20;

/// Sends a request whose answer is JSON. The error tells nothing of what was sent.
pub async fn ask(http: &Http, request: http::request::Builder, body: Bytes) -> Result<Value, String> {
    let request = request.body(body).map_err(|_| "the metadata makes no request that could be sent")?;
    let host = request.uri().host().unwrap_or_default().to_owned();
    let endpoint = Endpoint { timeout: TIMEOUT, limit: LIMIT_BYTES, ..Endpoint::default() };
    let answer = http.send(request, &endpoint).await.map_err(|error| format!("{host}: {error}"))?;
    if !answer.status().is_success() {
        return Err(format!("{host} answered {}", answer.status()));
    }
    serde_json::from_slice(answer.body()).map_err(|_| format!("the answer of {host} is no JSON"))
}
