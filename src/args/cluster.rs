//! What `slipway run` is told about the cluster it works on.

/// How to work on a cluster. The names and defaults are Flux's.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "On Kubernetes")]
pub struct Cluster {
    /// Only objects of this namespace are looked at; all namespaces unless told. Flagger: --namespace.
    #[arg(long, value_name = "NAMESPACE", alias = "namespace")]
    pub watch_namespace: Option<String>,
    /// With `false`, only the namespace that we run in is looked at.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub watch_all_namespaces: bool,
    /// Only objects with these labels are worked on: one shard of several, for example sharding.fluxcd.io/key=shard1.
    #[arg(long, value_name = "SELECTOR")]
    pub watch_label_selector: Option<String>,
    /// Service account that acts for Kustomizations which name none.
    #[arg(long, value_name = "NAME")]
    pub default_service_account: Option<String>,
    /// Field manager whose changes of applied objects are undone like kubectl's; repeatable.
    #[arg(long, value_name = "NAME")]
    pub override_manager: Vec<String>,
    /// Requests per second to the API server, in the long run.
    #[arg(long, value_name = "NUMBER", default_value_t = 50.0, alias = "kubeconfig-qps")]
    pub kube_api_qps: f32,
    /// Requests to the API server at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 300, alias = "kubeconfig-burst")]
    pub kube_api_burst: u32,
    /// Only one of several replicas works at a time.
    #[arg(long, env = "ENABLE_LEADER_ELECTION", value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub enable_leader_election: bool,
    /// Where the Leases are [default: the namespace that we run in]
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_election_namespace: Option<String>,
    /// The lead is given back at the end, so that the next one need not wait.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_election_release_on_cancel: bool,
    /// How long the others wait for a sign of life of the leader.
    #[arg(long, value_name = "TIME", default_value = "35s")]
    pub leader_election_lease_duration: api::Duration,
    /// How long the leader tries to renew its lease before it ends.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub leader_election_renew_deadline: api::Duration,
    /// Time between two tries.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub leader_election_retry_period: api::Duration,
}
