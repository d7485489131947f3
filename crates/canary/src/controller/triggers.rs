//! Which Canaries a change of another object concerns.

use api::flagger::{Canary, Phase};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Secret},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use reconcile::{Concerned, Metadata, Object};

/// Canaries whose target or primary the Deployment is.
pub(super) fn deployment<'a>(before: Option<&'a Deployment>, after: Option<&'a Deployment>) -> Concerned<'a, Canary> {
    let health = |one: &Deployment| {
        let status = one.status.clone().unwrap_or_default();
        let reasons: Vec<_> = status
            .conditions
            .into_iter()
            .flatten()
            .map(|condition| (condition.type_, condition.status, condition.reason))
            .collect();
        (status.observed_generation, status.replicas, status.updated_replicas, status.available_replicas, reasons)
    };
    workload(
        "Deployment",
        before,
        after,
        Seen { spec: generation(before) != generation(after), health: before.map(health) != after.map(health) },
    )
}

/// Canaries whose target or primary the DaemonSet is.
pub(super) fn daemonset<'a>(before: Option<&'a DaemonSet>, after: Option<&'a DaemonSet>) -> Concerned<'a, Canary> {
    let health = |one: &DaemonSet| one.status.clone();
    workload(
        "DaemonSet",
        before,
        after,
        Seen { spec: generation(before) != generation(after), health: before.map(health) != after.map(health) },
    )
}

/// Takes away what is not looked at here: a cluster has many workloads, and few of them have a Canary.
pub(super) fn trim_deployment(one: &mut Deployment) {
    one.spec = None;
    trim(&mut one.metadata);
}

/// The same of a DaemonSet.
pub(super) fn trim_daemonset(one: &mut DaemonSet) {
    one.spec = None;
    trim(&mut one.metadata);
}

fn trim(meta: &mut ObjectMeta) {
    (meta.annotations, meta.labels, meta.owner_references) = (None, None, None);
}

/// Changes with the spec.
fn generation<K: Object>(one: Option<&K>) -> Option<i64> {
    one?.meta().generation
}

/// Canaries that track the ConfigMap.
pub(super) fn config_map<'a>(
    before: Option<&'a Metadata<ConfigMap>>,
    after: Option<&'a Metadata<ConfigMap>>,
) -> Concerned<'a, Canary> {
    config("configmap", before, after)
}

/// Canaries that track the Secret.
pub(super) fn secret<'a>(
    before: Option<&'a Metadata<Secret>>,
    after: Option<&'a Metadata<Secret>>,
) -> Concerned<'a, Canary> {
    config("secret", before, after)
}

/// What of a workload changed.
struct Seen {
    spec: bool,
    health: bool,
}

/// A changed spec concerns everybody; changed health only those who wait for it.
fn workload<'a, K: Object>(
    kind: &'static str,
    before: Option<&'a K>,
    after: Option<&'a K>,
    seen: Seen,
) -> Concerned<'a, Canary> {
    let one = after.or(before)?;
    let (namespace, name) = (one.namespace().unwrap_or_default(), one.name_any());
    Some(Box::new(move |canary| {
        let target = &canary.spec.target_ref;
        let is_ours = canary.namespace() == namespace
            && target.kind == kind
            && (target.name == name || canary.primary_name() == name);
        is_ours && (seen.spec || (seen.health && waits(canary)))
    }))
}

fn waits(canary: &Canary) -> bool {
    let phase = canary.status().phase;
    !matches!(phase, Phase::Initialized | Phase::Succeeded | Phase::Failed | Phase::Waiting)
}

/// Which content changed is seen by the run; here only that something did.
fn config<'a, K: Object>(
    kind: &'static str,
    before: Option<&'a Metadata<K>>,
    after: Option<&'a Metadata<K>>,
) -> Concerned<'a, Canary> {
    let version = |one: &Metadata<K>| one.metadata.resource_version.clone();
    let one = after.or(before).filter(|_| before.map(version) != after.map(version))?;
    let key = format!("{kind}/{}", one.name_any());
    let namespace = one.namespace().unwrap_or_default();
    Some(Box::new(move |canary| {
        let status = canary.status();
        // Before the first status nobody knows what is tracked; a config that was missing may have come.
        let tracks =
            status.tracked_configs.contains_key(&key) || matches!(status.phase, Phase::Unset | Phase::Initializing);
        canary.namespace() == namespace && tracks
    }))
}
