//! What the flags of `slipway run` mean: one [`Config`], checked before anything is started.

pub mod cluster;

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use canary::metrics::GatewayMetrics;
use delivery::dependency::ReadyExpr;

use crate::{
    args::{
        run::{Dashboard, LogEncoding, Run, Stage},
        scanner::Scanner,
    },
    dashboard,
    serve::hooks,
};

/// With what every file of SQLite begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Where objects live.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// On this machine.
    Standalone {
        /// The state file.
        state: PathBuf,
        /// Folders or files of manifests.
        manifests: Vec<PathBuf>,
    },
    /// In a cluster: the one of this kubeconfig, or the one we run in.
    Cluster {
        /// The kubeconfig file.
        kubeconfig: Option<PathBuf>,
        /// Which part of it, how fast, and how one of several replicas is chosen.
        settings: cluster::Cluster,
    },
}

impl Place {
    /// Who acts for Kustomizations that name no service account.
    pub fn default_service_account(&self) -> Option<String> {
        match self {
            Self::Standalone { .. } => None,
            Self::Cluster { settings, .. } => settings.default_service_account.clone(),
        }
    }

    /// Field managers whose changes of applied objects are undone like kubectl's.
    pub fn override_managers(&self) -> Vec<String> {
        match self {
            Self::Standalone { .. } => Vec::new(),
            Self::Cluster { settings, .. } => settings.override_managers.clone(),
        }
    }
}

/// What `slipway run` is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where objects live.
    pub place: Place,
    /// Which groups of controllers run.
    pub stages: BTreeSet<Stage>,
    /// Folder for mirrors, images, logs.
    pub storage: PathBuf,
    /// Address of health, metrics and pages.
    pub listen: SocketAddr,
    /// Address of webhooks.
    pub receiver_listen: hooks::Place,
    /// Where events of other controllers are taken.
    pub events_listen: Option<SocketAddr>,
    /// Where events are posted to.
    pub events_addr: Option<String>,
    /// What alerts and Receivers are told.
    pub notification: notification::Settings,
    /// Prometheus for Canaries that name none.
    pub metrics_server: String,
    /// Router for Canaries that name none.
    pub mesh_provider: String,
    /// Whose builtin metrics are asked where a Gateway serves.
    pub gateway_metrics: GatewayMetrics,
    /// About the workloads of Canaries.
    pub workloads: canary::workload::Options,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Receiver of the events of Canaries.
    pub event_webhook: Option<String>,
    /// Receiver of the alerts of Canaries.
    pub notifier: Option<canary::controller::Notifier>,
    /// `ingressClassName` of routing objects.
    pub ingress_class: String,
    /// Prefix of ingress-nginx's annotations.
    pub ingress_annotations_prefix: String,
    /// Who serves Gateways standalone.
    pub gateway: local::Choice,
    /// Shortest analysis interval.
    pub min_analysis_interval: Duration,
    /// Whether references across namespaces are refused.
    pub no_cross_namespace_refs: bool,
    /// How registries are asked.
    pub scanner: scanner::Options,
    /// What the expression of a Kustomization's dependency is beside the check of its Ready condition.
    pub ready_expr: ReadyExpr,
    /// Flags of Flux's that were given and mean nothing here.
    pub idle_flags: Vec<&'static str>,
    /// The dashboard.
    pub dashboard: dashboard::Options,
    /// Filter of the log.
    pub log_level: String,
    /// Form of the log.
    pub log_encoding: LogEncoding,
}

impl Config {
    /// Reads the flags. Errs where they contradict each other or name what is not there.
    pub fn new(args: Run) -> anyhow::Result<Self> {
        check_addresses(&args)?;
        let standalone = args.state.is_some() || !args.manifests.is_empty();
        let (listen, dashboard) = pages(&args, standalone)?;
        let place = if standalone {
            let state = args.state.context("--manifests needs --state FILE, where slipway keeps what it writes")?;
            own(&state)?;
            for path in &args.manifests {
                ensure!(path.exists(), "--manifests {}: no such file or folder", path.display());
            }
            Place::Standalone { state, manifests: args.manifests }
        } else {
            let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
            ensure!(
                args.kubeconfig.is_some() || in_cluster,
                "nothing to work on: give --manifests FOLDER --state FILE, or --kubeconfig FILE"
            );
            Place::Cluster { kubeconfig: args.kubeconfig, settings: cluster::Cluster::new(args.cluster)? }
        };
        let stages = stages(&args.controllers, standalone)?;
        let storage = args.storage_path.unwrap_or_else(|| default_storage(&place));
        Ok(Self {
            place,
            stages,
            storage,
            listen,
            dashboard,
            receiver_listen: webhooks(args.receiver_listen),
            events_listen: args.events_listen,
            events_addr: args.events_addr,
            notification: notification::Settings {
                rate_limit: args.rate_limit_interval.get(),
                max_age: args.notification_max_age.get(),
                no_cross_namespace_refs: args.no_cross_namespace_refs,
                external_url: args.external_url,
                accounts: accounts(&args.scanner),
                ..Default::default()
            },
            metrics_server: args.metrics_server,
            mesh_provider: args.mesh_provider,
            gateway_metrics: args.gateway_metrics,
            workloads: args.workloads.options(),
            cluster_name: args.cluster_name,
            event_webhook: args.event_webhook.filter(|url| !url.is_empty()),
            notifier: args.chat.notifier(),
            ingress_class: args.ingress_class,
            ingress_annotations_prefix: args.ingress_annotations_prefix,
            gateway: crate::gateway::choice(args.gateway, args.gateway_program, args.gateway_admin)?,
            min_analysis_interval: args.min_analysis_interval.get(),
            no_cross_namespace_refs: args.no_cross_namespace_refs,
            idle_flags: args.scanner.idle(),
            ready_expr: ready_expr(&args.scanner),
            scanner: scanner_options(&args.scanner, args.no_cross_namespace_refs),
            log_level: args.log_level,
            log_encoding: args.log_encoding,
        })
    }
}

/// Errs if a flag that names a server is no address of HTTP.
pub fn check_addresses(args: &Run) -> anyhow::Result<()> {
    url("--metrics-server", Some(&args.metrics_server))?;
    url("--events-addr", args.events_addr.as_deref())?;
    url("--external-url", args.external_url.as_deref())
}

/// Errs unless a flag that is given, and not empty, names an address of HTTP.
fn url(flag: &str, given: Option<&str>) -> anyhow::Result<()> {
    let Some(given) = given.filter(|given| !given.is_empty() || flag == "--metrics-server") else { return Ok(()) };
    let host = given.strip_prefix("http://").or_else(|| given.strip_prefix("https://"));
    ensure!(host.is_some_and(|host| !host.is_empty()), "{flag} {given}: an http or https URL is expected");
    Ok(())
}

/// Errs if the state file is something else of the user's: it would be put aside as a damaged one. One that was ours has
/// a lock beside it.
pub fn own(state: &Path) -> anyhow::Result<()> {
    ensure!(!state.is_dir(), "--state {}: is a folder; name a file in it", state.display());
    let Ok(mut file) = std::fs::File::open(state) else { return Ok(()) };
    let mut head = Vec::new();
    file.by_ref().take(SQLITE.len() as u64).read_to_end(&mut head)?;
    let lock = PathBuf::from(format!("{}.lock", state.display()));
    ensure!(
        head.is_empty() || head == SQLITE || lock.exists(),
        "--state {}: is no state file of slipway; name one that is, or none yet",
        state.display()
    );
    Ok(())
}

/// Where pages are served, and what they are for.
fn pages(args: &Run, standalone: bool) -> anyhow::Result<(SocketAddr, dashboard::Options)> {
    let address = if standalone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listen = args.listen.unwrap_or_else(|| SocketAddr::from((address, 8080)));
    ensure!(
        args.dashboard != Dashboard::Act || args.dashboard_tokens.is_some() || listen.ip().is_loopback(),
        "--dashboard act at {listen} needs --dashboard-tokens FILE: others than this machine can connect"
    );
    if let Some(file) = args.dashboard_tokens.as_deref().filter(|_| args.dashboard == Dashboard::Act) {
        std::fs::File::open(file).with_context(|| format!("--dashboard-tokens {}: cannot be read", file.display()))?;
    }
    let options = dashboard::Options {
        mode: args.dashboard,
        tokens: args.dashboard_tokens.clone(),
        external_url: args.external_url.clone(),
        cluster: args.cluster_name.clone(),
    };
    Ok((listen, options))
}

/// Where webhooks are served.
fn webhooks(asked: Option<SocketAddr>) -> hooks::Place {
    asked.map_or(hooks::Place::Default(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9292))), hooks::Place::Asked)
}

/// In whose name the clouds of Providers are asked.
fn accounts(args: &Scanner) -> notification::Accounts {
    match args.opens("ObjectLevelWorkloadIdentity") {
        true => notification::Accounts::Named,
        false => notification::Accounts::Ours,
    }
}

/// What the gate `AdditiveCELDependencyCheck` makes of expressions.
fn ready_expr(args: &Scanner) -> ReadyExpr {
    if args.opens("AdditiveCELDependencyCheck") { ReadyExpr::Adds } else { ReadyExpr::Replaces }
}

fn scanner_options(args: &Scanner, no_cross_namespace_refs: bool) -> scanner::Options {
    scanner::Options {
        no_cross_namespace_refs,
        concurrency: args.concurrent.max(1),
        requeue_dependency: args.requeue_dependency.get(),
        interval_jitter_percentage: args.interval_jitter_percentage,
        object_level_workload_identity: args.opens("ObjectLevelWorkloadIdentity"),
        limits: scanner::Limits { per_second: args.registry_qps, at_once: args.registry_concurrency },
        logins: scanner::LoginCache { size: args.token_cache_max_size, longest: args.token_cache_max_duration.get() },
    }
}

fn stages(asked: &[Stage], standalone: bool) -> anyhow::Result<BTreeSet<Stage>> {
    let mut stages: BTreeSet<Stage> = asked.iter().copied().collect();
    if stages.is_empty() {
        stages.extend([Stage::Image, Stage::Notification, Stage::Delivery, Stage::Canary]);
        if standalone {
            stages.insert(Stage::Local);
        }
    }
    ensure!(standalone || !stages.contains(&Stage::Local), "--controllers local works standalone only");
    Ok(stages)
}

/// Beside the state file, or the system's temporary folder: on Kubernetes it is a cache.
fn default_storage(place: &Place) -> PathBuf {
    match place {
        Place::Standalone { state, .. } => {
            let name = state.file_stem().unwrap_or_default().to_string_lossy();
            state.parent().unwrap_or(Path::new(".")).join(format!("{name}.files"))
        }
        Place::Cluster { .. } => std::env::temp_dir().join("slipway"),
    }
}
