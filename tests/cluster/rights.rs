//! The rights that `slipway install` gives. Slipway runs with them in all tests that share the cluster, so that one which
//! is missing is noticed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::{Api, Client, api::PostParams, config::Kubeconfig};
use reconcile::Scope;
use serde_json::{Value, json};

use super::{manifests, world};
use crate::support::slipway;

/// Where slipway's account stands that the tests share.
pub const NAMESPACE: &str = "slipway-tested";

/// Makes that account and gives it the rights of an installation, but for that to apply whatever stands in Git.
pub async fn give(client: &Client, folder: &Path) {
    let exported = slipway(&["install", "--export", "--crds=false", "-n", NAMESPACE]);
    let is_right = |object: &Value| {
        let kind = object["kind"].as_str().unwrap_or_default();
        let is_one = kind.contains("Role") || matches!(kind, "Namespace" | "ServiceAccount");
        is_one && object["metadata"]["name"] != "slipway-reconciler"
    };
    let store = world::store(client.clone(), folder, Scope::default());
    for object in manifests::parse(&exported.stdout).into_iter().filter(is_right) {
        store.apply("kubectl", &object).await.unwrap_or_else(|error| panic!("{error}: {object:#}"));
    }
}

/// A kubeconfig with the rights of the account `slipway` of this namespace.
pub async fn account(client: &Client, kubeconfig: &Path, namespace: &str, folder: &Path) -> PathBuf {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest::default();
    let token = accounts.create_token_request("slipway", &PostParams::default(), &request).await.expect("a token");
    let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let mut config = serde_json::to_value(read).expect("JSON");
    config["users"][0]["user"] = json!({"token": token.status.expect("a status").token});
    let file = folder.join("account.kubeconfig");
    fs::write(&file, config.to_string()).expect("a written file");
    file
}
