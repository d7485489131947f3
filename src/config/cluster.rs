//! What the flags about the cluster mean.

use std::path::Path;

use anyhow::{Context as _, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use reconcile::{Rate, Scope, leader::Timing};

use crate::args::cluster;

/// Where a pod finds the namespace it runs in.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// How to work on a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Which part of it is ours.
    pub scope: Scope,
    /// How fast the API server may be asked.
    pub rate: Rate,
    /// Who acts for Kustomizations that name no service account; none: slipway itself.
    pub default_service_account: Option<String>,
    /// Field managers whose changes of applied objects are undone like kubectl's.
    pub override_managers: Vec<String>,
    /// How one of several replicas is chosen; none: there is one.
    pub election: Option<Election>,
}

/// How one of several replicas is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the Leases.
    pub namespace: String,
    /// How long a lease lasts.
    pub timing: Timing,
    /// Whether the lead is given back at the end.
    pub release_on_end: bool,
}

impl Cluster {
    /// Reads the flags. Errs where they contradict each other.
    pub fn new(args: cluster::Cluster) -> anyhow::Result<Self> {
        let namespace = match (args.watch_namespace, args.watch_all_namespaces) {
            (Some(namespace), _) => Some(namespace).filter(|namespace| !namespace.is_empty()),
            (None, true) => None,
            (None, false) => Some(own_namespace().context("--watch-all-namespaces=false needs RUNTIME_NAMESPACE")?),
        };
        ensure!(args.kube_api_qps.is_finite(), "--kube-api-qps {}: a number is expected", args.kube_api_qps);
        let timing = Timing {
            lease: args.leader_election_lease_duration.get(),
            renew: args.leader_election_renew_deadline.get(),
            retry: args.leader_election_retry_period.get(),
        };
        ensure!(
            timing.is_safe(),
            "--leader-election-lease-duration must be longer than --leader-election-renew-deadline, \
             and that longer than --leader-election-retry-period: the leader must stop before another one begins"
        );
        let election = match args.enable_leader_election {
            true => {
                let told = args.leader_election_namespace.or_else(own_namespace);
                let namespace = told.context("--enable-leader-election needs --leader-election-namespace")?;
                Some(Election { namespace, timing, release_on_end: args.leader_election_release_on_cancel })
            }
            false => None,
        };
        Ok(Self {
            scope: Scope { namespace, selector: args.watch_label_selector.filter(|selector| !selector.is_empty()) },
            default_service_account: args.default_service_account,
            // Managers are known by how their names begin, and all names begin with the empty one.
            override_managers: args.override_manager.into_iter().filter(|name| !name.is_empty()).collect(),
            rate: Rate { per_second: args.kube_api_qps, burst: args.kube_api_burst },
            election,
        })
    }
}

/// The namespace we run in.
fn own_namespace() -> Option<String> {
    let told = std::env::var("RUNTIME_NAMESPACE").ok().or_else(|| std::fs::read_to_string(OWN_NAMESPACE).ok());
    told.map(|namespace| namespace.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

/// The client of a kubeconfig's cluster, or of the one we run in. Busy answers are dealt with in the store.
pub async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<kube::Client> {
    let mut config = match kubeconfig {
        None => kube::Config::incluster().context("the cluster we run in cannot be reached")?,
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            let read = read.with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
    };
    config.default_retry = false;
    tracing::info!(server = %config.cluster_url, "the objects are a cluster's");
    kube::Client::try_from(config).context("the cluster's settings cannot be used")
}
