//! `slipway install` and `slipway uninstall` as typed.

use super::{look::Access, run::Stage};
use crate::deploy::{NAMESPACE, Router};

/// Put slipway into a cluster, or print what would be put there.
#[derive(Debug, clap::Args)]
pub struct Install {
    /// Print the objects as YAML and touch nothing.
    #[arg(long)]
    pub export: bool,
    /// Which cluster.
    #[command(flatten)]
    pub access: Access,
    /// Namespace that slipway runs in.
    #[arg(short, long, default_value = NAMESPACE, value_parser = namespace)]
    pub namespace: String,
    /// Container image [default: this version's]
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub image: Option<String>,
    /// Which controllers run.
    #[arg(
        long,
        alias = "components",
        value_enum,
        value_delimiter = ',',
        default_value = "image,notification,delivery,canary"
    )]
    pub controllers: Vec<Stage>,
    /// Routers that Canaries use: each needs the right to write its own kinds [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub routers: Vec<Router>,
    /// Pods; one of them leads, the others wait.
    #[arg(long, default_value_t = 1)]
    pub replicas: u32,
    /// Router of Canaries that name no provider themselves.
    #[arg(long, value_name = "PROVIDER")]
    pub mesh_provider: Option<String>,
    /// Prometheus that Canaries ask when they name none themselves.
    #[arg(long, value_name = "URL")]
    pub metrics_server: Option<String>,
    /// Look at this namespace alone; no rights in others are asked for.
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub watch_namespace: Option<String>,
    /// Refuse references to objects of other namespaces.
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
    /// Follow ConfigMaps and Secrets of Canaries, which needs the right to write Secrets.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub config_tracking: bool,
    /// Say who may talk to slipway's pods.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub network_policy: bool,
    /// Have the Prometheus operator scrape slipway.
    #[arg(long)]
    pub service_monitor: bool,
    /// Apply the definitions of the kinds too.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub crds: bool,
    /// Whether to wait until slipway is ready.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, default_value = "5m")]
    pub timeout: api::Duration,
    /// More flags of `slipway run`, after two dashes.
    #[arg(last = true, value_name = "FLAG")]
    pub more: Vec<String>,
}

/// Take slipway out of a cluster. What it made for users stays.
#[derive(Debug, clap::Args)]
pub struct Uninstall {
    /// Which cluster.
    #[command(flatten)]
    pub access: Access,
    /// Namespace that slipway runs in.
    #[arg(short, long, default_value = NAMESPACE)]
    pub namespace: String,
    /// Delete the definitions of the kinds too, and with them every Canary, ImagePolicy and so on.
    #[arg(long)]
    pub crds: bool,
    /// Do not ask.
    #[arg(short, long, alias = "silent")]
    pub yes: bool,
    /// Say what would be deleted and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// The name of a namespace. Source: RFC 1123, as Kubernetes takes it.
fn namespace(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| is_inner(byte) || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    match is_name {
        true => Ok(text.to_owned()),
        false => Err("up to 63 lower case letters, digits and inner dashes are expected".into()),
    }
}

/// The reference of an image.
fn image(text: &str) -> Result<String, String> {
    oci::Reference::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
