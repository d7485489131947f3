//! `slipway canary …`: what was typed.

use canary::metrics::GatewayMetrics;
use clap::Subcommand;

use super::Output;

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
    #[arg(long, value_name = "FILE")]
    pub scenario: String,
    /// Provider of Canaries that name none.
    #[arg(long, default_value = "istio", env = "SLIPWAY_MESH_PROVIDER")]
    pub mesh_provider: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
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
