//! The rights of an installation: no more than its controllers and routers need.
//! Source: reference image-automation.md section 3, progressive-delivery.md G.4, delivery.md section 6.

use serde_json::{Value, json};

use super::{Installation, NAME, Router, object, with};
use crate::args::run::Stage;

const READ: &[&str] = &["get", "list", "watch"];
const PATCH: &[&str] = &["get", "list", "watch", "patch"];
/// Server-side apply makes and changes; what was made goes with the Canary that owns it.
const WRITE: &[&str] = &["get", "list", "watch", "create", "patch"];

const IMAGE: &str = "image.toolkit.fluxcd.io";
const SOURCE: &str = "source.toolkit.fluxcd.io";
const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const HELM: &str = "helm.toolkit.fluxcd.io";
const NOTIFICATION: &str = "notification.toolkit.fluxcd.io";
const FLAGGER: &str = "flagger.app";

/// Service account, roles and their bindings.
pub(super) fn objects(installation: &Installation) -> Vec<Value> {
    let own = installation.namespace.as_str();
    let mut objects = vec![object("v1", "ServiceAccount", NAME, Some(own))];
    // A Lease is replaced whole, as only its newest version may be.
    let leader = vec![rule("coordination.k8s.io", &["leases"], &["get", "create", "update"])];
    objects.extend(bound("slipway-leader-election", Some(own), own, leader));
    objects.extend(bound(NAME, installation.watch_namespace.as_deref(), own, rules(installation)));
    if installation.stages.contains(&Stage::Delivery) {
        objects.push(reconciler(installation));
    }
    objects
}

/// A role and its binding, of one namespace or of the cluster.
fn bound(name: &str, namespace: Option<&str>, own: &str, rules: Vec<Value>) -> [Value; 2] {
    let prefix = if namespace.is_some() { "" } else { "Cluster" };
    let role = object("rbac.authorization.k8s.io/v1", &format!("{prefix}Role"), name, namespace);
    [with(role, "rules", rules.into()), binding(&format!("{prefix}Role"), name, name, namespace, own)]
}

fn binding(role_kind: &str, role: &str, name: &str, namespace: Option<&str>, own: &str) -> Value {
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    let binding = object("rbac.authorization.k8s.io/v1", kind, name, namespace);
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role});
    let subjects = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": own}]);
    with(with(binding, "roleRef", reference), "subjects", subjects)
}

/// Who applies whatever stands in Git needs all rights there, as with Flux; `serviceAccountName` narrows it per object.
fn reconciler(installation: &Installation) -> Value {
    let namespace = installation.watch_namespace.as_deref();
    let role = if namespace.is_some() { "admin" } else { "cluster-admin" };
    binding("ClusterRole", role, "slipway-reconciler", namespace, &installation.namespace)
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// The kinds of a stage: the objects with their finalizers, and their status.
fn owned(group: &str, resources: &[&str]) -> [Value; 2] {
    let statuses: Vec<String> = resources.iter().map(|name| format!("{name}/status")).collect();
    let statuses: Vec<&str> = statuses.iter().map(String::as_str).collect();
    [rule(group, resources, PATCH), rule(group, &statuses, &["patch"])]
}

fn rules(installation: &Installation) -> Vec<Value> {
    let mut rules = vec![rule("", &["events"], &["get", "list", "create", "patch"])];
    for stage in &installation.stages {
        rules.extend(match stage {
            Stage::Image => image(installation),
            Stage::Notification => notification(),
            Stage::Delivery => delivery(),
            Stage::Canary => canary(installation),
            Stage::Local => Vec::new(),
        });
    }
    rules
}

fn image(installation: &Installation) -> Vec<Value> {
    let mut rules = Vec::from(owned(IMAGE, &["imagerepositories", "imagepolicies", "imageupdateautomations"]));
    rules.push(rule("", &["secrets", "serviceaccounts"], &["get"]));
    rules.push(rule("", &["serviceaccounts/token"], &["create"]));
    if installation.watch_namespace.is_none() {
        rules.push(rule("", &["namespaces"], &["get"]));
    }
    // Patched to have the new commit fetched at once.
    rules.push(rule(SOURCE, &["gitrepositories"], PATCH));
    rules
}

fn notification() -> Vec<Value> {
    let mut rules = Vec::from(owned(NOTIFICATION, &["alerts", "receivers"]));
    rules.push(rule(NOTIFICATION, &["providers"], READ));
    rules.push(rule("", &["secrets", "serviceaccounts"], &["get"]));
    rules.push(rule("", &["serviceaccounts/token"], &["create"]));
    // What a Receiver asks to reconcile, and what events are about.
    rules.push(rule(IMAGE, &["imagerepositories", "imagepolicies", "imageupdateautomations"], PATCH));
    rules.push(rule(
        SOURCE,
        &["gitrepositories", "ocirepositories", "buckets", "helmrepositories", "helmcharts", "externalartifacts"],
        PATCH,
    ));
    rules.push(rule("source.extensions.fluxcd.io", &["artifactgenerators"], PATCH));
    rules.push(rule(KUSTOMIZE, &["kustomizations"], PATCH));
    rules.push(rule(HELM, &["helmreleases"], PATCH));
    rules.push(rule(FLAGGER, &["canaries"], PATCH));
    rules
}

fn delivery() -> Vec<Value> {
    let mut rules = Vec::from(owned(SOURCE, &["gitrepositories"]));
    rules.extend(owned(KUSTOMIZE, &["kustomizations"]));
    rules.push(rule("", &["secrets", "configmaps", "serviceaccounts"], &["get"]));
    rules
}

fn canary(installation: &Installation) -> Vec<Value> {
    let mut rules = Vec::from(owned(FLAGGER, &["canaries"]));
    // Asked for by clusters that guard who may keep an owner from going (OwnerReferencesPermissionEnforcement).
    rules.push(rule(FLAGGER, &["canaries/finalizers"], &["update"]));
    rules.push(rule(FLAGGER, &["metrictemplates", "alertproviders"], READ));
    // A ConfigMap for each Canary holds its runs.
    rules.push(rule("", &["configmaps", "services"], WRITE));
    rules.push(rule("", &["secrets"], if installation.config_tracking { WRITE } else { READ }));
    rules.push(rule("apps", &["deployments", "daemonsets"], WRITE));
    rules.push(rule("autoscaling", &["horizontalpodautoscalers"], WRITE));
    rules.push(rule("external.metrics.k8s.io", &["*"], &["get", "list"]));
    rules.push(rule("metrics.keptn.sh", &["keptnmetrics"], &["get"]));
    rules.push(rule("metrics.keptn.sh", &["analyses"], &["get", "create", "patch", "delete"]));
    rules.extend(installation.routers.iter().flat_map(|router| routes(*router)));
    rules
}

/// What a router writes.
fn routes(router: Router) -> Vec<Value> {
    let write = |group: &str, resources: &[&str]| vec![rule(group, resources, WRITE)];
    match router {
        Router::Gatewayapi => {
            let group = "gateway.networking.k8s.io";
            // Routes of the other kinds are the users'; only their weights are slipway's.
            let users = rule(group, &["grpcroutes", "tlsroutes", "tcproutes"], PATCH);
            // The class tells whose metrics to ask.
            let read = rule(group, &["gateways", "gatewayclasses"], &["get"]);
            [write(group, &["httproutes"]), vec![users, read]].concat()
        }
        Router::Istio => write("networking.istio.io", &["virtualservices", "destinationrules"]),
        Router::Nginx => write("networking.k8s.io", &["ingresses"]),
        // The copy that carries the weights goes before the Canary does.
        Router::Skipper => vec![rule("networking.k8s.io", &["ingresses"], &[WRITE, &["delete"]].concat())],
        Router::Contour => write("projectcontour.io", &["httpproxies"]),
        Router::Traefik => write("traefik.io", &["traefikservices"]),
        Router::Apisix => write("apisix.apache.org", &["apisixroutes"]),
        Router::Gloo => [write("gloo.solo.io", &["upstreams"]), write("gateway.solo.io", &["routetables"])].concat(),
        Router::Knative => {
            let revisions = rule("serving.knative.dev", &["revisions"], READ);
            vec![rule("serving.knative.dev", &["services"], PATCH), revisions]
        }
        Router::Kuma => write("kuma.io", &["trafficroutes"]),
        Router::Smi => write("split.smi-spec.io", &["trafficsplits"]),
        Router::Keda => write("keda.sh", &["scaledobjects"]),
        Router::Kubernetes => Vec::new(),
    }
}
