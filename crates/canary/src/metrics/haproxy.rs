//! The builtin metrics as HAProxy counts them when it serves Slipway's gateway.
//!
//! Servers are named `NAMESPACE_SERVICE_PORT.NUMBER`. HAProxy has no histogram of times: the duration is the greatest mean
//! of any of the canary's pods over their last 1,024 requests, not a 99th percentile.

use super::{Model, builtin::ratio};

const RESPONSES: &str = "haproxy_server_http_responses_total";
const TIMES: &str = "haproxy_server_total_time_average_seconds";

/// Share of the canary's requests that were not answered with 5xx, in percent.
pub fn success_rate(model: &Model) -> String {
    let servers = servers(model);
    ratio(RESPONSES, &format!("{servers}, code!=\"5xx\""), &servers, &model.interval)
}

/// The mean time of the canary's requests, in milliseconds.
pub fn duration(model: &Model) -> String {
    format!("max( {TIMES}{{ {} }} ) * 1000", servers(model))
}

fn servers(model: &Model) -> String {
    format!("server=~\"{}_{}-canary_[0-9]+[.][0-9]+\"", model.namespace, model.service)
}
