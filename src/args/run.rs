//! `slipway run` and `slipway demo` as typed.

use std::{net::SocketAddr, path::PathBuf};

use canary::metrics::GatewayMetrics;
use clap::ValueEnum;

/// Groups of controllers that can be switched on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Stage {
    /// Scanner, policy and updater: Flux's image controllers.
    Image,
    /// Alerts and providers: Flux's notification controller.
    Notification,
    /// Sources and Kustomizations: Flux's source and kustomize controllers.
    Delivery,
    /// Canaries: Flagger.
    Canary,
    /// Standalone only: Deployments as processes, routes as a proxy.
    Local,
}

impl std::fmt::Display for Stage {
    /// As it is typed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// For people.
    #[default]
    Console,
    /// One JSON object per line.
    Json,
}

/// The controller: standalone over folders of manifests, or on Kubernetes.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Folders or files of manifests; standalone. They are only read.
    #[arg(long, value_name = "PATH", num_args = 1.., env = "SLIPWAY_MANIFESTS", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,
    /// The state file; standalone. Made if it is not there.
    #[arg(long, value_name = "FILE", env = "SLIPWAY_STATE")]
    pub state: Option<PathBuf>,
    /// The cluster to work on; inside a cluster its own is taken.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", conflicts_with = "state")]
    pub kubeconfig: Option<PathBuf>,
    /// Where Git mirrors, images and logs are kept; standalone beside the state file.
    #[arg(long, value_name = "FOLDER", env = "SLIPWAY_STORAGE_PATH")]
    pub storage_path: Option<PathBuf>,
    /// Which controllers run; all unless told.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub controllers: Vec<Stage>,
    /// Address of health, metrics and pages [default: 127.0.0.1:8080 standalone, 0.0.0.0:8080 in a cluster]
    #[arg(long, env = "SLIPWAY_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Address of webhooks [default: 0.0.0.0:9292, if it is free]
    #[arg(long, env = "SLIPWAY_RECEIVER_LISTEN")]
    pub receiver_listen: Option<SocketAddr>,
    /// Address at which events of other controllers are taken, in Flux's format; none unless given.
    #[arg(long, env = "SLIPWAY_EVENTS_LISTEN")]
    pub events_listen: Option<SocketAddr>,
    /// Where events are posted to, as Flux's controllers post theirs to the notification controller.
    #[arg(long, value_name = "URL", env = "SLIPWAY_EVENTS_ADDR")]
    pub events_addr: Option<String>,
    /// How long the repetition of an event is not sent again.
    #[arg(long, default_value = "5m")]
    pub rate_limit_interval: api::Duration,
    /// How long a notification is tried before it is given up.
    #[arg(long, default_value = "30m")]
    pub notification_max_age: api::Duration,
    /// Address of the dashboard as people reach it; messages about Canaries link to it.
    #[arg(long, value_name = "URL", env = "SLIPWAY_EXTERNAL_URL")]
    pub external_url: Option<String>,
    /// What the dashboard is for.
    #[arg(long, value_enum, default_value_t, env = "SLIPWAY_DASHBOARD")]
    pub dashboard: Dashboard,
    /// File with the tokens of those who may act on the dashboard, `NAME:TOKEN` a line; needed unless only this machine can connect.
    #[arg(long, value_name = "FILE", env = "SLIPWAY_DASHBOARD_TOKENS")]
    pub dashboard_tokens: Option<PathBuf>,
    /// Prometheus that Canaries ask when they name none themselves.
    #[arg(long, default_value = "http://prometheus:9090", env = "SLIPWAY_METRICS_SERVER")]
    pub metrics_server: String,
    /// Router of Canaries that name no provider themselves.
    #[arg(long, default_value = "istio")]
    pub mesh_provider: String,
    /// Whose builtin metrics are asked where a Gateway serves: detect, application, slipway, haproxy, envoy-gateway, istio, cilium,
    /// traefik, nginx-gateway-fabric, kgateway or contour. Detected from the GatewayClass.
    #[arg(long, value_name = "NAME", default_value = "detect", env = "SLIPWAY_GATEWAY_METRICS")]
    pub gateway_metrics: GatewayMetrics,
    /// The controller's options about the workloads of Canaries.
    #[command(flatten)]
    pub workloads: super::canary::Workloads,
    /// Name of the cluster, shown in the alerts of Canaries.
    #[arg(long, default_value = "", env = "SLIPWAY_CLUSTER_NAME")]
    pub cluster_name: String,
    /// URL that receives the events of Canaries without an event hook of their own.
    #[arg(long, value_name = "URL", env = "EVENT_WEBHOOK_URL")]
    pub event_webhook: Option<String>,
    /// The chat for alerts of Canaries that name none.
    #[command(flatten)]
    pub chat: super::notifier::Chat,
    /// `ingressClassName` of the routing objects that have one.
    #[arg(long, value_name = "CLASS", default_value = "")]
    pub ingress_class: String,
    /// Prefix of ingress-nginx's annotations.
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    pub ingress_annotations_prefix: String,
    /// Who serves Gateways and HTTPRoutes; standalone.
    #[arg(long, value_enum, default_value_t)]
    pub gateway: Gateway,
    /// Its program [default: the one on PATH]
    #[arg(long, value_name = "FILE")]
    pub gateway_program: Option<PathBuf>,
    /// Address of its own pages and metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    pub gateway_admin: SocketAddr,
    /// Shortest analysis interval; shorter ones are raised to it, as Flagger raises them to 10s.
    #[arg(long, default_value = "10s")]
    pub min_analysis_interval: api::Duration,
    /// References to objects of other namespaces are refused.
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
    /// How registries are asked.
    #[command(flatten)]
    pub scanner: super::scanner::Scanner,
    /// How much is logged: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, default_value = "info", env = "SLIPWAY_LOG_LEVEL")]
    pub log_level: String,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    pub log_encoding: LogEncoding,
    /// What concerns the cluster.
    #[command(flatten)]
    pub cluster: super::cluster::Cluster,
}

/// What the dashboard is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Dashboard {
    /// Nothing: there is none, and no API.
    Off,
    /// Looking: whoever can connect sees where rollouts stand.
    #[default]
    Read,
    /// Looking, and steering rollouts.
    Act,
}

/// Who serves Gateways on a machine without a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Gateway {
    /// Slipway itself.
    #[default]
    #[value(alias = "local")]
    Slipway,
    /// HAProxy, which slipway runs and steers over its Runtime API.
    Haproxy,
    /// Envoy, which slipway runs and steers by the files that it watches.
    Envoy,
}

impl Gateway {
    /// As it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slipway => "slipway",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }
}

/// The main job on real parts, on this machine, in under two minutes.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Leave everything running at the end, with its addresses printed, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Work in this folder and leave it there; a temporary one otherwise.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Who serves the traffic: slipway itself (`local`), HAProxy or Envoy.
    #[arg(long, value_enum, default_value_t)]
    pub router: Gateway,
}
