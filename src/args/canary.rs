//! `slipway canary …`: what was typed.

use canary::metrics::GatewayMetrics;
use clap::Subcommand;

use super::{Output, look::Place};
use crate::commands::kinds;

/// The verbs below `canary`, each in its file in `commands/canary/`.
#[derive(Debug, Subcommand)]
pub enum Canary {
    /// The routing objects for given weights.
    Render(Render),
    /// The weights that routing objects give.
    Weights(Weights),
    /// The metric queries, fully rendered.
    Queries(Queries),
    /// A rehearsal: the Canary against a scripted world.
    Simulate(Simulate),
    /// Open the gate that a rollout waits at, or finish it at once.
    Promote(Promote),
    /// Send all traffic to the primary and give the new revision up; with --to, roll out an earlier image.
    #[command(alias = "abort")]
    Rollback(Rollback),
    /// Hold a rollout where it is.
    Pause(Pause),
    /// Let a paused rollout go on.
    Resume(Steer),
    /// Try the revision that failed again.
    Retry(Steer),
    /// Promote without analysis; pods are still awaited.
    Skip(Steer),
}

/// What all verbs that steer a rollout take.
#[derive(Debug, clap::Args)]
pub struct Steer {
    /// Name of the Canary.
    #[arg(value_parser = name)]
    pub name: String,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Why; kept with the request and shown in its event.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Wait until the rollout has ended.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, default_value = "5m")]
    pub timeout: api::Duration,
}

/// `slipway canary promote NAME`
#[derive(Debug, clap::Args)]
pub struct Promote {
    /// What all take.
    #[command(flatten)]
    pub steer: Steer,
    /// Leave out the remaining steps and checks.
    #[arg(long)]
    pub full: bool,
}

/// `slipway canary rollback NAME`
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// What all take.
    #[command(flatten)]
    pub steer: Steer,
    /// After a promotion: start a rollout of this earlier image (its tag, the whole image, or the digest of the revision that
    /// brought it), and have the ImagePolicies that chose what came after it hold that back.
    #[arg(long, value_name = "VERSION|REVISION")]
    pub to: Option<String>,
}

/// `slipway canary pause NAME`
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// What all take.
    #[command(flatten)]
    pub steer: Steer,
    /// Resume by itself after this time.
    #[arg(long = "for", value_name = "DURATION")]
    pub length: Option<api::Duration>,
}

/// The controller's options about workloads, under Flagger's names.
#[derive(Clone, Debug, clap::Args)]
pub struct Workloads {
    /// Labels of which a target's selector must have one, in order of preference.
    #[arg(long, value_name = "LABEL", value_delimiter = ',', default_value = "app,name,app.kubernetes.io/name")]
    pub selector_labels: Vec<String>,
    /// Prefixes of labels that are copied to the primary; `*` copies all.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub include_label_prefix: Vec<String>,
    /// Whether ConfigMaps and Secrets are tracked, and copied for the primary.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_config_tracking: bool,
}

impl Workloads {
    /// As the canary stage takes them.
    pub fn options(self) -> canary::workload::Options {
        canary::workload::Options {
            selector_labels: self.selector_labels,
            include_label_prefix: self.include_label_prefix.into_iter().filter(|prefix| !prefix.is_empty()).collect(),
            config_tracking: self.enable_config_tracking,
        }
    }
}

/// The controller's options about routing, under Flagger's names.
#[derive(Debug, clap::Args)]
pub struct Router {
    /// Provider of Canaries that name none.
    #[arg(long, default_value = "istio", env = "SLIPWAY_MESH_PROVIDER")]
    pub mesh_provider: String,
    /// `ingressClassName` of the routing objects that have one.
    #[arg(long, value_name = "CLASS", default_value = "")]
    pub ingress_class: String,
    /// Prefix of ingress-nginx's annotations.
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    pub ingress_annotations_prefix: String,
}

/// `slipway canary render -f CANARY.yaml --weights 90,10`
#[derive(Debug, clap::Args)]
pub struct Render {
    /// Manifests with the Canary; `-` reads standard input.
    #[arg(short, long = "file", required = true)]
    pub files: Vec<String>,
    /// Shares of requests for primary and canary, in percent; their sum is 100.
    #[arg(long, value_name = "PRIMARY,CANARY", value_parser = weights)]
    pub weights: (u32, u32),
    /// Send a copy of each request to the canary.
    #[arg(long)]
    pub mirror: bool,
    /// Manifests with the routing objects as they are now.
    #[arg(long, value_name = "FILE")]
    pub existing: Vec<String>,
    /// The controller's options about routing.
    #[command(flatten)]
    pub router: Router,
    /// YAML for people (`table`), or a JSON list.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway canary weights -f CANARY.yaml --existing OBJS.yaml`
#[derive(Debug, clap::Args)]
pub struct Weights {
    /// Manifests with the Canary; `-` reads standard input.
    #[arg(short, long = "file", required = true)]
    pub files: Vec<String>,
    /// Manifests with the routing objects as they are now.
    #[arg(long, value_name = "FILE")]
    pub existing: Vec<String>,
    /// The controller's options about routing.
    #[command(flatten)]
    pub router: Router,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway canary queries -f CANARY.yaml -f TEMPLATES.yaml`
#[derive(Debug, clap::Args)]
pub struct Queries {
    /// Manifests with the Canary and its MetricTemplates; `-` reads standard input.
    #[arg(short, long = "file", required = true)]
    pub files: Vec<String>,
    /// Provider of Canaries that name none.
    #[arg(long, default_value = "istio", env = "SLIPWAY_MESH_PROVIDER")]
    pub mesh_provider: String,
    /// Whose builtin metrics are asked where a Gateway serves: detect, application, slipway, envoy-gateway, istio, cilium,
    /// traefik, nginx-gateway-fabric, kgateway or contour. Detected from the manifests of Gateway and GatewayClass.
    #[arg(long, value_name = "NAME", default_value = "detect", env = "SLIPWAY_GATEWAY_METRICS")]
    pub gateway_metrics: GatewayMetrics,
    /// Builtin metrics as Slipway's own gateway counts them.
    #[arg(long)]
    pub standalone: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway canary simulate -f CANARY.yaml --scenario S.yaml`
#[derive(Debug, clap::Args)]
pub struct Simulate {
    /// Manifests with the Canary, and with the Deployment, scaler, configuration and templates if they matter.
    #[arg(short, long = "file", required = true)]
    pub files: Vec<String>,
    /// The script; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["samples", "prometheus"])]
    pub scenario: Option<String>,
    /// Recorded metrics in place of a script: `{"METRIC": [[unix seconds, value], …]}`.
    #[arg(long, value_name = "FILE", conflicts_with = "prometheus")]
    pub samples: Option<String>,
    /// The Prometheus whose past is played.
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// Where the past begins.
    #[arg(long, value_name = "TIME", conflicts_with = "since", value_parser = super::look::time)]
    pub from: Option<jiff::Timestamp>,
    /// How long ago the past begins.
    #[arg(long, value_name = "DURATION")]
    pub since: Option<api::Duration>,
    /// Where the past ends [default: now]
    #[arg(long, value_name = "TIME", value_parser = super::look::time)]
    pub to: Option<jiff::Timestamp>,
    /// Play the primary's own series, as where no canary ran.
    #[arg(long)]
    pub primary: bool,
    /// The controller's options about routing.
    #[command(flatten)]
    pub router: Router,
    /// The controller's options about workloads.
    #[command(flatten)]
    pub workloads: Workloads,
    /// References to objects of other namespaces are refused.
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// The name of a Canary, also written `canary/NAME`.
fn name(text: &str) -> Result<String, String> {
    if !text.contains('/') {
        return Ok(text.to_owned());
    }
    match kinds::parse_one(text)? {
        (kind, name) if kind.kind == "Canary" => Ok(name),
        (kind, _) => Err(format!("this is about canaries, not {}", kind.plural)),
    }
}

/// `90,10` as two shares of 100.
fn weights(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once(',')
        .and_then(|(primary, canary)| Some((primary.trim().parse::<u32>().ok()?, canary.trim().parse::<u32>().ok()?)));
    match parsed {
        Some((primary, canary)) if primary.checked_add(canary) == Some(100) => Ok((primary, canary)),
        Some(_) => Err("the weights must add up to 100".into()),
        None => Err("two whole numbers are expected, as in 90,10".into()),
    }
}
