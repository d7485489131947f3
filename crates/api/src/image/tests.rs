//! What manifests and old statuses are read as.

use serde_json::json;

use super::*;
use crate::manifest::typed;

#[test]
fn an_old_status_is_read_as_the_new_one() {
    let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1beta2", "kind": "ImagePolicy", "metadata": {"name": "p"},
        "spec": {"imageRepositoryRef": {"name": "r"}, "policy": {"semver": {"range": "1.x"}}},
        "status": {"latestImage": "host:5000/app:1.2.3", "observedPreviousImage": "host:5000/app:1.2.2"}});
    let status = typed::<ImagePolicy>(&object).expect("a policy").status.expect("a status");
    assert_eq!(status.latest_ref.expect("migrated").to_string(), "host:5000/app:1.2.3");
    assert_eq!(status.observed_previous_ref.expect("migrated").tag, "1.2.2");
    assert_eq!(status.observed_generation, -1);
}

#[test]
fn a_new_field_is_not_replaced_by_an_old_one() {
    let status: ImagePolicyStatus = serde_json::from_value(json!({"latestImage": "app:1",
        "latestRef": {"name": "app", "tag": "2", "digest": "sha256:0"}}))
    .expect("a status");
    assert_eq!(status.latest_ref.expect("kept").to_string(), "app:2@sha256:0");
}

#[test]
fn defaults_are_those_of_flux() {
    let spec: ImageRepositorySpec =
        serde_json::from_value(json!({"image": "app", "interval": "500ms"})).expect("a repository");
    assert_eq!(spec.timeout(), std::time::Duration::from_secs(1));
    assert_eq!(spec.exclusion_list(), DEFAULT_EXCLUSION_LIST);
    let empty = ImageRepositorySpec { exclusion_list: Some(Vec::new()), ..spec.clone() };
    assert_eq!(empty.exclusion_list(), DEFAULT_EXCLUSION_LIST);
    assert_eq!(spec.provider, ImageProvider::Generic);
    let spec: ImagePolicySpec = serde_json::from_value(json!({"imageRepositoryRef": {"name": "r"}, "interval": "0s",
        "digestReflectionPolicy": "Always", "policy": {"alphabetical": {}}}))
    .expect("a policy");
    assert_eq!(spec.refresh_interval(), Some(crate::Duration::from_secs(600)));
    assert_eq!(spec.policy.alphabetical.expect("given").order, Order::Asc);
    let spec: ImageUpdateAutomationSpec =
        serde_json::from_value(json!({"sourceRef": {"name": "s"}, "interval": "1m"})).expect("an automation");
    assert_eq!((spec.source_ref.kind.as_str(), spec.update().strategy.as_str()), ("GitRepository", SETTERS));
}

#[test]
fn an_empty_name_is_none() {
    let repository: ImageRepositorySpec =
        serde_json::from_value(json!({"image": "app", "interval": "1m", "serviceAccountName": ""}))
            .expect("a repository");
    assert_eq!(repository.service_account_name, None);
    let empty = json!({"name": "r", "namespace": ""});
    let policy: ImagePolicySpec =
        serde_json::from_value(json!({"imageRepositoryRef": empty, "policy": {}})).expect("a policy");
    assert_eq!(policy.image_repository_ref.namespace_or("own"), "own");
    let automation: ImageUpdateAutomationSpec =
        serde_json::from_value(json!({"sourceRef": empty, "interval": "1m"})).expect("an automation");
    assert_eq!(automation.source_ref.namespace, None);
    let kustomization: crate::kustomize::KustomizationSpec = serde_json::from_value(json!({"interval": "1m",
        "prune": true, "sourceRef": {"kind": "GitRepository", "name": "r", "namespace": ""}, "dependsOn": [empty]}))
    .expect("a kustomization");
    assert_eq!((kustomization.source_ref.namespace, kustomization.depends_on[0].namespace.as_deref()), (None, None));
}

#[test]
fn an_unknown_order_is_kept_for_the_policy_to_refuse() {
    let order = |text: &str| Order::from(text.to_owned());
    assert_eq!((order("ASC"), order("desc"), order("up")), (Order::Asc, Order::Desc, Order::Unknown("up".into())));
}
