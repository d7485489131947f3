//! The Helm chart and the kustomize base as Helm's and kustomize's own code render them: they say what `slipway install`
//! says, and the API server takes every object.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams, ValidationDirective},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use serde_json::{Value, json};

use super::{manifests, server, world::World};
use crate::support::slipway;

/// What Helm or kustomize print, or why they refuse.
fn rendered(arguments: &[&str], input: &str) -> Result<Vec<Value>, String> {
    let mut command = Command::new(server::program());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the test cluster's program runs");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("the program reads");
    let output = child.wait_with_output().expect("the program ends");
    match output.status.success() {
        true => Ok(manifests::parse(&String::from_utf8(output.stdout).expect("text"))),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn helm(namespace: &str, values: &Value) -> Result<Vec<Value>, String> {
    rendered(&["helm", "helm/slipway", namespace], &values.to_string())
}

fn exported(namespace: &str) -> Vec<Value> {
    let run = slipway(&["install", "--export", "-n", namespace]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    manifests::parse(&run.stdout)
}

/// By kind and name, without namespaces: Helm makes none.
fn named(objects: &[Value]) -> BTreeMap<String, &Value> {
    let named = objects.iter().filter(|object| object["kind"] != "Namespace");
    named.map(|object| (format!("{}/{}", object["kind"], object["metadata"]["name"]), object)).collect()
}

/// Has the API server check an object, unknown fields included, as if it were applied.
async fn accepted(world: &World, object: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities) = discovery::pinned_kind(&world.client, &gvk).await.expect("the kind is served");
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(world.client.clone(), &resource),
        Scope::Namespaced => {
            Api::namespaced_with(world.client.clone(), &text(&object["metadata"]["namespace"]), &resource)
        }
    };
    let mut parameters = PatchParams::apply("helm").force();
    parameters.dry_run = true;
    parameters.field_validation = Some(ValidationDirective::Strict);
    let checked = api.patch(&text(&object["metadata"]["name"]), &parameters, &Patch::Apply(object)).await;
    checked.unwrap_or_else(|error| panic!("{error}: {object:#}"));
}

/// Kinds of the Prometheus operator, any field allowed.
fn monitors() -> [Value; 2] {
    [("ServiceMonitor", "servicemonitors"), ("PodMonitor", "podmonitors")].map(|(kind, plural)| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
            "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_and_the_base_say_what_install_says() {
    let world = World::new("charts").await;
    let chart = helm(&world.namespace, &json!({})).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(named(&chart), named(&exported(&world.namespace)));
    for object in &chart {
        accepted(&world, object).await;
    }
    let base = rendered(&["kustomize", "kustomize"], "").unwrap_or_else(|refusal| panic!("{refusal}"));
    let exported = exported("slipway-system");
    assert_eq!((base.len(), named(&base)), (exported.len(), named(&exported)));
    // What stands in the namespace is refused as long as it is not there.
    let namespace = base.iter().find(|object| object["kind"] == "Namespace").expect("a namespace");
    world.store.apply("kubectl", namespace).await.expect("a namespace");
    for object in &base {
        accepted(&world, object).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_takes_the_values_that_flaggers_users_have() {
    let world = World::new("values").await;
    server::define(&world.client, &monitors()).await;
    let mut flaggers = server::flaggers_values();
    // A template of Flagger's own chart.
    flaggers["affinity"] = json!({});
    let usual = json!({"meshProvider": "gatewayapi:v1", "metricsServer": "http://prometheus.monitoring:9090",
        "slack": {"user": "flagger", "channel": "general", "url": "https://hooks"}, "crd": {"create": false},
        "leaderElection": {"enabled": true, "replicaCount": 2}, "podMonitor": {"enabled": true, "interval": "15s"},
        "serviceMonitor": {"enabled": true}, "podDisruptionBudget": {"enabled": true}});
    let fluxs = json!({"controllers": ["image", "notification"], "noCrossNamespaceRefs": true, "logLevel": "debug",
        "extraArgs": ["--watch-label-selector=sharding.fluxcd.io/key=one", "--concurrent=10"],
        "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}}, "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"}, "podPriorityClassName": "system-cluster-critical"});
    let platform =
        json!({"securityContext": {"enabled": false}, "namespace": world.namespace, "rbac": {"create": true}});
    for values in [flaggers, usual, fluxs, platform] {
        let objects = helm(&world.namespace, &values).unwrap_or_else(|refusal| panic!("{refusal}: {values}"));
        for object in objects.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
            accepted(&world, object).await;
        }
    }
    for (values, refused) in [
        (json!({"crd": {"create": true}}), "crd"),
        (json!({"prometheus": {"install": true}}), "prometheus"),
        (json!({"metricServer": "http://prometheus:9090"}), "metricServer"),
    ] {
        let refusal = helm(&world.namespace, &values).expect_err("it is refused");
        assert!(refusal.contains(refused), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_is_admitted_where_only_restricted_ones_are() {
    let world = World::new("restricted").await;
    let enforced = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespace =
        api::meta::ObjectReference { namespace: String::new(), ..world.id("v1", "Namespace", &world.namespace) };
    world.store.patch(&namespace, "kubectl", &enforced).await.expect("patched");
    let objects = exported(&world.namespace);
    let template = &named(&objects)[r#""Deployment"/"slipway""#]["spec"]["template"];
    let pods: Api<DynamicObject> = Api::namespaced_with(
        world.client.clone(),
        &world.namespace,
        &kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
    );
    world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "slipway"}})).await;
    let create = async |spec: &Value| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "slipway"}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        pods.create(&PostParams { dry_run: true, field_manager: None }, &pod).await
    };
    create(&template["spec"]).await.unwrap_or_else(|error| panic!("{error}"));
    let mut other = template["spec"].clone();
    other["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refusal = create(&other).await.expect_err("another one is refused").to_string();
    assert!(refusal.contains("restricted"), "{refusal}");
}
