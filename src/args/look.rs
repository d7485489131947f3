//! Verbs that look at or steer a running system, as typed: `get`, `events`, `reconcile`; and `scan`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::Output;

/// Which cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Its context that is meant [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl Access {
    /// Whether nothing was said about the cluster.
    pub const fn is_default(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none()
    }
}

/// Which running system, and where in it.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The state file of the slipway that runs on this machine.
    #[arg(long, value_name = "FILE", env = "SLIPWAY_STATE", conflicts_with_all = ["kubeconfig", "context"])]
    pub state: Option<PathBuf>,
    /// Or the cluster that it runs in.
    #[command(flatten)]
    pub access: Access,
    /// The namespace [default: the context's, else default]
    #[arg(short, long, env = "SLIPWAY_NAMESPACE")]
    pub namespace: Option<String>,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people, with more columns.
    Wide,
    /// The objects as JSON; a `List` unless one name is given.
    Json,
    /// The objects as YAML; a `List` unless one name is given.
    Yaml,
    /// `kind/name`, one a line.
    Name,
}

impl From<Format> for Output {
    fn from(format: Format) -> Self {
        if format == Format::Json { Self::Json } else { Self::Table }
    }
}

/// `slipway get KIND [NAME…]`
#[derive(Debug, clap::Args)]
pub struct Get {
    /// Kind and names: `canary`, `image policy podinfo`, `ip podinfo`, `canary/podinfo`, `all`.
    #[arg(required = true, value_name = "KIND [NAME]")]
    pub words: Vec<String>,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels: `app=podinfo,team in (a,b)`.
    #[arg(short = 'l', long, alias = "label-selector", value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only objects whose condition says so: `ready=false`; Canaries also by `phase=failed`.
    #[arg(long, value_name = "TYPE=STATUS")]
    pub status_selector: Option<String>,
    /// Go on, with one more line for every change; one Canary by name until its rollout has ended.
    #[arg(short, long)]
    pub watch: bool,
    /// Leave out the line of titles.
    #[arg(long, alias = "no-header")]
    pub no_headers: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `slipway events [--for KIND/NAME]`
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Only events of this object.
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub object: Option<String>,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only these types: Normal, Warning.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only events seen this recently, such as 24h.
    #[arg(long, value_name = "DURATION")]
    pub since: Option<api::Duration>,
    /// Leave out the line of titles.
    #[arg(long, alias = "no-header")]
    pub no_headers: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `slipway watch [canary NAME]`
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// One rollout: `NAME`, `canary NAME`, `canary/NAME`; ends with it, 0 promoted, 1 rolled back.
    #[arg(value_name = "CANARY")]
    pub words: Vec<String>,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only rollouts in these states: failed, waiting, paused, progressing, promoting, suspended, ready.
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub filter: Vec<String>,
    /// Time between two looks.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub interval: api::Duration,
}

/// `slipway logs [--for KIND/NAME]`
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Only lines about this object; of a Deployment, DaemonSet or Pod what its pods write.
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub object: Option<String>,
    /// Which system. On a cluster slipway is looked for in the namespace slipway-system.
    #[command(flatten)]
    pub place: Place,
    /// Objects of all namespaces; without --for that is the default.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// The least level that is shown: error, warn, info, debug.
    #[arg(long, default_value = "debug")]
    pub level: String,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines of this span, such as 5m.
    #[arg(long, value_name = "DURATION")]
    pub since: Option<api::Duration>,
    /// Only lines from this time on.
    #[arg(long, value_name = "TIME", conflicts_with = "since", value_parser = time)]
    pub since_time: Option<jiff::Timestamp>,
    /// Only the last so many lines.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
    /// The namespace slipway runs in, on a cluster.
    #[arg(long, value_name = "NAMESPACE", default_value = crate::deploy::NAMESPACE)]
    pub slipway_namespace: String,
    /// For people, or the lines as they were written.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway reconcile KIND NAME`
#[derive(Debug, clap::Args)]
pub struct Reconcile {
    /// Kind and name: `image repository podinfo`, `ir podinfo`, `ir/podinfo`.
    #[arg(required = true, value_name = "KIND NAME")]
    pub words: Vec<String>,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
    /// Whether to wait until the controller has acted.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, default_value = "5m")]
    pub timeout: api::Duration,
}

/// `slipway suspend KIND NAME…`, `slipway resume KIND NAME…`
#[derive(Debug, clap::Args)]
pub struct Suspend {
    /// Kind and names: `image repository podinfo`, `canary a b`, `ks/apps`.
    #[arg(required = true, value_name = "KIND NAME")]
    pub words: Vec<String>,
    /// All objects of the kind in the namespace.
    #[arg(long)]
    pub all: bool,
    /// Why; kept with the object and shown where it is looked at.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
}

/// `slipway describe KIND NAME`
#[derive(Debug, clap::Args)]
pub struct Describe {
    /// Kind and name: `canary podinfo`, `ks/apps`.
    #[arg(required = true, value_name = "KIND NAME")]
    pub words: Vec<String>,
    /// Which system.
    #[command(flatten)]
    pub place: Place,
    /// How to print; for programs a Canary's runs, of other kinds the object.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway scan IMAGE`
#[derive(Debug, clap::Args)]
pub struct Scan {
    /// The image, as in `spec.image`: a repository without scheme, tag or digest.
    pub image: String,
    /// Allow plain HTTP, as `spec.insecure` does.
    #[arg(long)]
    pub insecure: bool,
    /// Folder of Docker's `config.json`, where logins are [default: $DOCKER_CONFIG, else ~/.docker]
    #[arg(long, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// How long the registry is waited for, all pages and tries together.
    #[arg(long, default_value = "1m")]
    pub timeout: api::Duration,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// A time as people and logs write it.
pub fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "a time such as 2026-05-04T09:14:31Z is expected".into())
}
