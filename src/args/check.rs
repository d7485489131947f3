//! `slipway check` as typed.

use std::path::PathBuf;

use canary::metrics::GatewayMetrics;

use super::{Output, look::Access};
use crate::deploy::NAMESPACE;

/// `slipway check FILES…`; without files the cluster is looked at.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Files of manifests, folders with `*.yaml` and `*.yml`, or `-` for standard input.
    #[arg(value_name = "FILE", conflicts_with_all = ["pre", "takeover"])]
    pub files: Vec<String>,
    /// Whether slipway could be installed into the cluster.
    #[arg(long)]
    pub pre: bool,
    /// What would change if slipway took the place of Flux's controllers and Flagger.
    #[arg(long, conflicts_with = "pre")]
    pub takeover: bool,
    /// Which cluster.
    #[command(flatten)]
    pub access: Access,
    /// Namespace that slipway runs in.
    #[arg(short, long, default_value = NAMESPACE)]
    pub namespace: String,
    /// Tags that the policies are tried on: one per line, or a JSON list.
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    pub tags: Option<String>,
    /// State file of a running slipway; policies are tried on the tags that it keeps, Alerts on the events.
    #[arg(long, value_name = "FILE", env = "SLIPWAY_STATE")]
    pub state: Option<PathBuf>,
    /// Ask the metrics services of MetricTemplates and Canaries, and say which do not answer or have no data.
    #[arg(long)]
    pub ask: bool,
    /// Prometheus that is asked for metrics without a template, unless the Canary names one.
    #[arg(long, value_name = "URL", env = "SLIPWAY_METRICS_SERVER")]
    pub metrics_server: Option<String>,
    /// Router of Canaries that name no provider themselves.
    #[arg(long, value_name = "NAME", default_value = "istio")]
    pub mesh_provider: String,
    /// Whose builtin metrics are asked where a Gateway serves, as for `slipway run`.
    #[arg(long, value_name = "NAME", default_value = "application", env = "SLIPWAY_GATEWAY_METRICS")]
    pub gateway_metrics: GatewayMetrics,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}
