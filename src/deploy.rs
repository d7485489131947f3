//! The objects that make slipway run in a cluster, as a function of what is wanted. Pure; `commands/install.rs` applies them.

mod network;
mod rbac;
mod workload;

use std::collections::BTreeSet;

use api::crd;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::args::run::Stage;

/// Name of all objects that are there once.
pub const NAME: &str = "slipway";
/// Label by which everything that belongs to an installation is found again.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", NAME);
/// Namespace unless another one is asked for.
pub const NAMESPACE: &str = "slipway-system";
/// Port of health, metrics and pages.
const HTTP_PORT: u16 = 8080;
/// Port of webhooks.
const WEBHOOK_PORT: u16 = 9292;

/// What moves the traffic of a Canary, or scales it: each needs the right to write its own kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Router {
    /// HTTPRoutes.
    Gatewayapi,
    /// VirtualServices and DestinationRules.
    Istio,
    /// Ingresses of ingress-nginx.
    Nginx,
    /// HTTPProxies.
    Contour,
    /// TraefikServices.
    Traefik,
    /// ApisixRoutes.
    Apisix,
    /// Upstreams and RouteTables.
    Gloo,
    /// Ingresses of Skipper.
    Skipper,
    /// Knative Services.
    Knative,
    /// TrafficRoutes.
    Kuma,
    /// TrafficSplits of Linkerd and other meshes.
    Smi,
    /// ScaledObjects of KEDA.
    Keda,
    /// None: Services alone.
    Kubernetes,
}

/// What an installation is to be.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Namespace of everything that is namespaced.
    pub namespace: String,
    /// The container image.
    pub image: String,
    /// Groups of controllers that run.
    pub stages: BTreeSet<Stage>,
    /// Routers that Canaries use.
    pub routers: BTreeSet<Router>,
    /// Pods; one of them leads.
    pub replicas: u32,
    /// Arguments of `slipway run` beside those that follow from the rest.
    pub arguments: Vec<String>,
    /// The only namespace that is looked at; all when absent.
    pub watch_namespace: Option<String>,
    /// Whether ConfigMaps and Secrets of Canaries are followed, which needs the right to write Secrets.
    pub config_tracking: bool,
    /// Parts that not every cluster wants or knows.
    pub extras: BTreeSet<Extra>,
}

/// Parts of an installation that may be left out or added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// Who may talk to the pods.
    NetworkPolicies,
    /// For the Prometheus operator.
    ServiceMonitor,
}

impl Installation {
    /// The definitions of the kinds that the stages work on.
    pub fn definitions(&self) -> Vec<Value> {
        let groups: Vec<&str> = self.stages.iter().flat_map(|stage| groups(*stage)).copied().collect();
        let is_wanted = |definition: &Value| groups.iter().any(|group| definition["spec"]["group"] == *group);
        crd::definitions().into_iter().filter(is_wanted).collect()
    }

    /// Everything else, in the order in which it is applied.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = vec![namespace(&self.namespace)];
        objects.extend(rbac::objects(self));
        objects.extend(workload::objects(self));
        if self.extras.contains(&Extra::NetworkPolicies) {
            objects.extend(network::policies(self));
        }
        if self.extras.contains(&Extra::ServiceMonitor) {
            objects.push(network::service_monitor(self));
        }
        objects
    }
}

/// The API groups of a stage's kinds.
pub const fn groups(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::Image => &["image.toolkit.fluxcd.io"],
        Stage::Notification => &["notification.toolkit.fluxcd.io"],
        Stage::Delivery => &["source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"],
        Stage::Canary => &["flagger.app"],
        Stage::Local => &[],
    }
}

/// An object with the labels that all of them carry; without a namespace it belongs to none.
fn object(api_version: &str, kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({"name": name, "labels": {"app.kubernetes.io/name": NAME, PART_OF.0: PART_OF.1}});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

/// The same object with one more field.
fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

fn namespace(name: &str) -> Value {
    let mut namespace = object("v1", "Namespace", name, None);
    match name {
        NAMESPACE => namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted".into(),
        // One that is shared with others must not become stricter for them, nor go when slipway goes.
        _ => namespace["metadata"]["labels"] = json!({"pod-security.kubernetes.io/warn": "restricted"}),
    }
    namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(stages: &[Stage], routers: &[Router]) -> Installation {
        Installation {
            namespace: NAMESPACE.into(),
            image: "example.com/slipway:1".into(),
            stages: stages.iter().copied().collect(),
            routers: routers.iter().copied().collect(),
            replicas: 1,
            arguments: Vec::new(),
            watch_namespace: None,
            config_tracking: false,
            extras: BTreeSet::from([Extra::NetworkPolicies]),
        }
    }

    fn rules(installation: &Installation) -> Vec<Value> {
        let roles = installation.objects().into_iter().filter(|object| object["kind"] == "ClusterRole");
        roles.flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default()).collect()
    }

    fn may(installation: &Installation, group: &str, resource: &str, verb: &str) -> bool {
        let has = |rule: &Value, field: &str, value: &str| {
            rule[field].as_array().is_some_and(|all| all.iter().any(|one| one == value))
        };
        let rules = rules(installation);
        rules
            .iter()
            .any(|rule| has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb))
    }

    #[test]
    fn secrets_are_written_only_for_config_tracking() {
        let mut canary = installation(&[Stage::Canary], &[Router::Istio]);
        assert!(may(&canary, "", "secrets", "get") && !may(&canary, "", "secrets", "create"));
        canary.config_tracking = true;
        assert!(may(&canary, "", "secrets", "create"));
        assert!(!may(&installation(&[Stage::Image, Stage::Notification], &[]), "", "secrets", "create"));
    }

    #[test]
    fn each_router_brings_its_own_rights() {
        let istio = installation(&[Stage::Canary], &[Router::Istio]);
        assert!(may(&istio, "networking.istio.io", "virtualservices", "create"));
        assert!(!may(&istio, "gateway.networking.k8s.io", "httproutes", "patch"));
        assert!(!may(&istio, "image.toolkit.fluxcd.io", "imagepolicies", "get"));
        let none = installation(&[Stage::Image], &[Router::Istio]);
        assert!(!may(&none, "networking.istio.io", "virtualservices", "get"));
        assert!(!may(&none, "apps", "deployments", "get"));
    }

    #[test]
    fn one_namespace_needs_no_cluster_role() {
        let mut one = installation(&[Stage::Image, Stage::Canary], &[Router::Gatewayapi]);
        one.watch_namespace = Some("apps".into());
        let kinds: Vec<_> =
            one.objects().iter().map(|object| object["kind"].as_str().unwrap_or_default().to_owned()).collect();
        assert!(!kinds.iter().any(|kind| kind.starts_with("Cluster")), "{kinds:?}");
        let roles = one.objects().into_iter().filter(|object| object["kind"] == "Role");
        assert!(roles.into_iter().any(|role| role["metadata"]["namespace"] == "apps"));
    }

    #[test]
    fn definitions_follow_the_stages() {
        let names = |stages: &[Stage]| installation(stages, &[]).definitions().len();
        assert_eq!((names(&[Stage::Image]), names(&[Stage::Canary]), names(&[Stage::Delivery])), (3, 3, 2));
    }
}
