//! The builtin metrics as Slipway's own gateway counts them, for machines without a cluster.
//!
//! The gateway (crate `local`) names its series as Envoy does: `envoy_cluster_upstream_rq{envoy_cluster_name,
//! envoy_response_code,namespace}` and `envoy_cluster_upstream_rq_time_bucket{…,le}` in milliseconds, with
//! `envoy_cluster_name` = `NAMESPACE_SERVICE_PORT`. So a canary's requests are told from the primary's by the backend service.

use super::{
    Model,
    builtin::{quantile, ratio},
};

const REQUESTS: &str = "envoy_cluster_upstream_rq";
const TIMES: &str = "envoy_cluster_upstream_rq_time_bucket";

/// Share of the canary's requests that were not answered with 5xx, in percent.
pub fn success_rate(model: &Model) -> String {
    let cluster = cluster(model);
    ratio(REQUESTS, &format!("{cluster}, envoy_response_code!~\"5.*\""), &cluster, &model.interval)
}

/// The 99th percentile of the time of the canary's requests, in milliseconds.
pub fn duration(model: &Model) -> String {
    quantile(TIMES, &cluster(model), &model.interval)
}

fn cluster(model: &Model) -> String {
    format!("envoy_cluster_name=~\"{}_{}-canary_[0-9]+\"", model.namespace, model.service)
}
