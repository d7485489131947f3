//! What the API server makes of our kinds: accepted or refused, defaulted and pruned as under Flux's and Flagger's own
//! definitions. Source: reference image-automation.md section 1, progressive-delivery.md section A.

use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};

use super::world::World;

/// A change of a good object, and what the refusal says; none where the change is accepted.
type Case = (Value, Option<&'static str>);

/// What the API server would keep, or why it refuses.
async fn applied(world: &World, object: &Value) -> Result<Value, String> {
    let id = world.id(text(object, "apiVersion"), text(object, "kind"), text(&object["metadata"], "name"));
    let singular = id.kind.to_lowercase();
    let plural = singular.strip_suffix('y').map_or_else(|| format!("{singular}s"), |stem| format!("{stem}ies"));
    let (group, version) = id.api_version.split_once('/').expect("a group");
    let resource = kube::api::ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: id.api_version.clone(),
        kind: id.kind.clone(),
        plural,
    };
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let parameters = PostParams { dry_run: true, field_manager: None };
    let created = serde_json::from_value(object.clone()).expect("an object");
    match api.create(&parameters, &created).await {
        Ok(kept) => Ok(serde_json::to_value(kept).expect("JSON")),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn object(api_version: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec})
}

/// A JSON merge patch.
fn merge(value: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *value = change.clone();
        return;
    };
    for (field, change) in fields {
        match change {
            Value::Null => drop(value.as_object_mut().and_then(|value| value.remove(field))),
            change => merge(&mut value[field], change),
        }
    }
}

/// Holds each case of a kind to the API server.
async fn hold(world: &World, good: Value, cases: impl IntoIterator<Item = Case>) {
    if let Err(refusal) = applied(world, &good).await {
        panic!("{refusal}: {good:#}");
    }
    for (change, expected) in cases {
        let mut changed = good.clone();
        merge(&mut changed["spec"], &change);
        match (applied(world, &changed).await, expected) {
            (Ok(_), None) => {}
            (Ok(_), Some(expected)) => panic!("{} with {change} is accepted, not refused: {expected}", good["kind"]),
            (Err(refusal), None) => panic!("{} with {change} is refused: {refusal}", good["kind"]),
            (Err(refusal), Some(expected)) => assert!(refusal.contains(expected), "{change}: {refusal}"),
        }
    }
}

const IMAGE: &str = "image.toolkit.fluxcd.io/v1";

fn policy() -> Value {
    object(IMAGE, "ImagePolicy", json!({"imageRepositoryRef": {"name": "a"}, "policy": {"semver": {"range": "1.x"}}}))
}

fn automation() -> Value {
    let spec = json!({"sourceRef": {"kind": "GitRepository", "name": "a"}, "interval": "1m",
        "git": {"commit": {"author": {"email": "a@example.com"}}}});
    object(IMAGE, "ImageUpdateAutomation", spec)
}

#[tokio::test(flavor = "multi_thread")]
async fn image_kinds_are_accepted_and_refused_as_fluxs() {
    let world = World::new("kinds-image").await;
    let repository = object(IMAGE, "ImageRepository", json!({"image": "ghcr.io/a/b", "interval": "1m"}));
    let many: Vec<String> = (0..26).map(|number| number.to_string()).collect();
    hold(
        &world,
        repository,
        [
            (json!({"interval": "1h30m"}), None),
            (json!({"interval": "100us"}), Some("spec.interval")),
            (json!({"interval": null}), Some("spec.interval")),
            (json!({"image": null}), Some("spec.image")),
            (json!({"timeout": "30s"}), None),
            (json!({"timeout": "1h"}), Some("spec.timeout")),
            (json!({"provider": "azure"}), None),
            (json!({"provider": "quay"}), Some("spec.provider")),
            (json!({"exclusionList": many[..25]}), None),
            (json!({"exclusionList": many}), Some("spec.exclusionList")),
            (json!({"serviceAccountName": "a".repeat(254)}), Some("spec.serviceAccountName")),
            (json!({"accessFrom": {"namespaceSelectors": [{"matchLabels": {"a": "b"}}]}}), None),
        ],
    )
    .await;
    let only = "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'";
    let must = "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'";
    hold(
        &world,
        policy(),
        [
            (json!({"interval": "1m"}), Some(only)),
            (json!({"digestReflectionPolicy": "Always"}), Some(must)),
            (json!({"digestReflectionPolicy": "Always", "interval": "1m"}), None),
            (json!({"digestReflectionPolicy": "IfNotPresent"}), None),
            (json!({"digestReflectionPolicy": "Sometimes"}), Some("spec.digestReflectionPolicy")),
            (json!({"policy": {"semver": null, "numerical": {"order": "up"}}}), Some("spec.policy.numerical.order")),
            (json!({"policy": {"semver": null, "alphabetical": {}}}), None),
            (json!({"policy": null}), Some("spec.policy")),
            (json!({"imageRepositoryRef": {"name": null}}), Some("spec.imageRepositoryRef.name")),
        ],
    )
    .await;
    hold(
        &world,
        automation(),
        [
            (json!({"sourceRef": {"kind": "Bucket"}}), Some("spec.sourceRef.kind")),
            (json!({"update": {"strategy": "Guess"}}), Some("spec.update.strategy")),
            (json!({"git": null}), None),
            (json!({"git": {"commit": {"author": {"email": null}}}}), Some("spec.git.commit.author.email")),
            (json!({"git": {"commit": {"signingKey": {"type": "ssh", "secretRef": {"name": "a"}}}}}), None),
            (json!({"git": {"commit": {"signingKey": {"type": "ssh"}}}}), Some("secretRef")),
            (json!({"git": {"push": {"branch": "b", "options": {"a": "b"}}}}), None),
            (json!({"policySelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}), None),
        ],
    )
    .await;
}

/// What is written with nothing behind it is as if it were not there, before an API server and before slipway's own verbs.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_null_is_dropped() {
    let world = World::new("kinds-null").await;
    let given = object(
        "flagger.app/v1beta1",
        "Canary",
        json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "skipAnalysis": null,
            "service": {"port": 80, "hosts": null, "portDiscovery": null, "match": null},
            "analysis": {"interval": "1m", "threshold": 5, "iterations": 3, "stepWeight": null, "metrics": null,
                "webhooks": null}}),
    );
    let kept = applied(&world, &given).await.expect("nulls are dropped");
    let analysis = json!({"interval": "1m", "threshold": 5, "iterations": 3});
    assert_eq!((&kept["spec"]["analysis"], &kept["spec"]["service"]), (&analysis, &json!({"port": 80})));
    assert_eq!(api::crd::problems(&given), []);
    let ours: api::flagger::Canary = api::manifest::typed(&given).expect("a Canary");
    let theirs: api::flagger::Canary = api::manifest::typed(&kept).expect("a Canary");
    assert_eq!(ours.spec, theirs.spec);

    let mut item = given;
    item["spec"]["analysis"]["metrics"] = json!([null]);
    let refusal = applied(&world, &item).await.expect_err("an entry that is null stays");
    assert!(refusal.contains("spec.analysis.metrics[0]"), "{refusal}");
    let told: Vec<_> = api::crd::problems(&item).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["spec.analysis.metrics[0]: a value of type object is expected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flaggers_kinds_are_accepted_and_refused_as_its_own() {
    let world = World::new("kinds-flagger").await;
    let flagger = "flagger.app/v1beta1";
    let spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "service": {"port": 80},
        "analysis": {"interval": "1m", "threshold": 5, "stepWeight": 10}});
    hold(
        &world,
        object(flagger, "Canary", spec),
        [
            (json!({"provider": "gatewayapi:v1"}), None),
            (json!({"provider": "haproxy"}), Some("spec.provider")),
            (json!({"targetRef": {"kind": "StatefulSet"}}), Some("spec.targetRef.kind")),
            (json!({"analysis": {"interval": "1m30s"}}), None),
            (json!({"analysis": {"interval": "1h"}}), Some("spec.analysis.interval")),
            (json!({"analysis": {"iterations": 3}}), Some("spec.analysis")),
            (json!({"analysis": {"stepWeight": null}}), Some("spec.analysis")),
            (json!({"analysis": {"stepWeight": null, "stepWeights": [1, 50]}}), None),
            (json!({"analysis": null}), Some("spec.analysis")),
            (json!({"service": {"port": null}}), Some("spec.service.port")),
            (json!({"service": {"trafficDistribution": "PreferFar"}}), Some("spec.service.trafficDistribution")),
            (json!({"service": {"targetPort": "http"}}), None),
            (json!({"service": {"gatewayRefs": [{"name": "a", "port": 70000}]}}), Some("spec.service.gatewayRefs[0].port")),
            (json!({"service": {"gatewayRefs": [{"name": "a", "namespace": "A_B"}]}}), Some("gatewayRefs[0].namespace")),
            (json!({"service": {"mirror": [{"backendRef": {"name": "a"}}]}}), Some("Must have port for Service reference")),
            (json!({"service": {"mirror": [{"backendRef": {"name": "a", "port": 80}}]}}), None),
            (json!({"service": {"corsPolicy": {"allowOrigins": [{}]}}}), Some("corsPolicy.allowOrigins[0]")),
            (json!({"service": {"corsPolicy": {"allowOrigins": [{"prefix": "https://"}]}}}), None),
            (
                json!({"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "VerticalPodAutoscaler", "name": "a"}}),
                Some("spec.autoscalerRef.kind"),
            ),
            (json!({"analysis": {"webhooks": [{"name": "a", "url": "http://a", "type": "loud"}]}}), Some("webhooks[0].type")),
            (json!({"analysis": {"webhooks": [{"name": "a", "url": "http://a", "type": "rollback"}]}}), None),
            (json!({"analysis": {"metrics": [{"interval": "1m"}]}}), Some("metrics[0].name")),
            (json!({"analysis": {"sessionAffinity": {"maxAge": 1}}}), Some("sessionAffinity.cookieName")),
        ],
    )
    .await;
    let template = json!({"provider": {"type": "prometheus", "address": "http://a"}, "query": "up"});
    hold(
        &world,
        object(flagger, "MetricTemplate", template),
        [
            (json!({"provider": {"type": "splunk"}}), None),
            (json!({"provider": {"type": "excel"}}), Some("spec.provider.type")),
            (json!({"query": null}), Some("spec.query")),
        ],
    )
    .await;
    hold(
        &world,
        object(flagger, "AlertProvider", json!({"type": "slack", "address": "http://a"})),
        [
            (json!({"address": null, "secretRef": {"name": "a"}}), None),
            (json!({"secretRef": {"name": "a"}}), Some("spec")),
            (json!({"type": "lark"}), Some("spec.type")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_are_set_and_unknown_fields_are_pruned() {
    let world = World::new("kinds-defaults").await;
    let kept = applied(&world, &policy()).await.expect("it is accepted");
    assert_eq!(kept["spec"]["digestReflectionPolicy"], "Never");
    let kept = applied(&world, &automation()).await.expect("it is accepted");
    assert_eq!(kept["spec"]["update"], json!({"strategy": "Setters"}));
    let mut canary = super::manifests::canary("kubernetes", &json!({"iterations": 2}));
    canary["spec"]["canaryAnalysis"] = json!({"interval": "1m"});
    canary["spec"]["analysis"]["match"] = json!([{"uri": {"exact": "/"}, "headers": {"a": {"exact": "b"}}}]);
    let kept = applied(&world, &canary).await.expect("it is accepted");
    assert_eq!(kept["spec"].get("canaryAnalysis"), None);
    assert_eq!(kept["spec"]["analysis"]["match"], json!([{"headers": {"a": {"exact": "b"}}}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_versions_hold_the_same_object() {
    let world = World::new("kinds-versions").await;
    let old =
        object("image.toolkit.fluxcd.io/v1beta2", "ImageRepository", json!({"image": "ghcr.io/a/b", "interval": "1m"}));
    world.apply(old).await;
    let found = world.get(IMAGE, "ImageRepository", "a").await;
    assert_eq!(found["spec"]["image"], "ghcr.io/a/b");
    let found = world.get("image.toolkit.fluxcd.io/v1beta2", "ImageRepository", "a").await;
    assert_eq!(found["spec"]["image"], "ghcr.io/a/b");
    let notification = "notification.toolkit.fluxcd.io";
    let alert = json!({"providerRef": {"name": "a"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]});
    world.apply(object(&format!("{notification}/v1beta2"), "Alert", alert)).await;
    let found = world.get(&format!("{notification}/v1beta3"), "Alert", "a").await;
    assert_eq!(found["spec"]["eventSources"][0]["name"], "*");
    let definition =
        world.id("apiextensions.k8s.io/v1", "CustomResourceDefinition", "imagerepositories.image.toolkit.fluxcd.io");
    let definition = world.store.find(&definition).await.expect("an answer").expect("the definition");
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(definition["spec"]["conversion"]["strategy"], "None");
}
