//! Objects that are there for the rollout alone: what is no longer said of them goes, whoever wrote it.
//!
//! Applying takes back only what was applied before. Flagger wrote its objects by updates, and people edit them, so one that
//! is there already gets a patch that leads to what it should be.
//! Source: reference progressive-delivery.md, B.7, B.9: copies are updates of the whole template, data or scaler.

use api::meta::ObjectReference;
use serde_json::{Map, Value, json};

use super::{World, Write};
use crate::{patch::difference, router};

/// Annotations of workloads that the cluster's own controllers keep.
const CLUSTERS: [&str; 2] = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];
/// Kinds whose labels are all ours.
const LABELLED: [&str; 4] = ["Deployment", "DaemonSet", "ConfigMap", "Secret"];
/// Kinds whose annotations are all ours, too.
const ANNOTATED: [&str; 2] = ["Deployment", "DaemonSet"];
/// Members of a config that only ours may fill.
const CONTENT: [&str; 2] = ["data", "binaryData"];

impl World<'_> {
    /// What makes an object of ours what it should be; nothing if it is.
    pub(super) fn own(&self, ours: Value) -> Option<Write> {
        let id = ObjectReference::of(&ours)?;
        match self.get(&id.kind, &id.name) {
            None => Some(Write::Apply(ours)),
            // Looked at in each tick.
            Some(live) if id.kind == "Service" && is_settled(live, &ours) => None,
            Some(live) => {
                let is_workload = ANNOTATED.contains(&id.kind.as_str());
                let mut write = changed(id, live, &replaced(live, &ours))?;
                // kubectl's copy was copied with the target's annotations, and is not kept in memory.
                if let (Write::Patch(_, patch), true) = (&mut write, is_workload)
                    && ours["metadata"]["annotations"].get(router::KUBECTL).is_none()
                {
                    patch["metadata"]["annotations"][router::KUBECTL] = Value::Null;
                }
                Some(write)
            }
        }
    }

    /// What brings the routes about. Those that are made for the rollout lose what is no longer said of them.
    pub(super) fn routed(&self, change: router::Change) -> Vec<Write> {
        let route = |ours: Value| {
            let id = ObjectReference::of(&ours).filter(|_| router::is_whole(&ours));
            let live = id.and_then(|id| self.get(&id.kind, &id.name).map(|live| (id, live)));
            match live {
                Some((id, live)) => changed(id, live, &router::applied(self.objects, &ours)),
                None => Some(Write::Apply(ours)),
            }
        };
        change.apply.into_iter().filter_map(route).chain(change.cookies.map(Write::Cookies)).collect()
    }
}

fn changed(id: ObjectReference, live: &Value, wanted: &Value) -> Option<Write> {
    let patch = difference(live, wanted);
    (patch != json!({})).then_some(Write::Patch(id, patch))
}

/// Whether a service is as it should be: it has what we say, and no more where all is ours. Without a copy of anything.
fn is_settled(live: &Value, ours: &Value) -> bool {
    let is_own = ours.pointer("/metadata/labels").is_some();
    let whole = ["/spec/selector", "/metadata/labels", "/metadata/annotations"];
    let size = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_object).map_or(0, Map::len);
    let is_all = |pointer: &&str| size(live, pointer) == size(ours, pointer);
    router::keeps(live, ours) && whole[..if is_own { 3 } else { 1 }].iter().all(is_all)
}

/// The live object with everything that is ours as `ours` says it.
fn replaced(live: &Value, ours: &Value) -> Value {
    let mut wanted = live.clone();
    let kind = ours["kind"].as_str().unwrap_or_default();
    for (member, value) in ours.as_object().into_iter().flatten() {
        match member.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => wanted[member] = metadata(kind, &live[member], value),
            "spec" => wanted[member] = spec(kind, &live[member], value),
            _ => wanted[member] = value.clone(),
        }
    }
    if let (Some(members), true) = (wanted.as_object_mut(), matches!(kind, "ConfigMap" | "Secret")) {
        members.retain(|member, _| !CONTENT.contains(&member.as_str()) || ours.get(member).is_some());
    }
    wanted
}

fn metadata(kind: &str, live: &Value, ours: &Value) -> Value {
    let mut wanted = live.clone();
    // Of a service that is not the Canary's own nothing is said about labels.
    let is_own_service = kind == "Service" && ours.get("labels").is_some();
    for (member, whole) in [("labels", &LABELLED[..]), ("annotations", &ANNOTATED[..])] {
        let is_ours = is_own_service || whole.contains(&kind);
        let is_kept = |key: &str| !is_ours || CLUSTERS.contains(&key);
        let kept = of(live, member).filter(|(key, _)| is_kept(key)).chain(of(ours, member));
        let kept: Map<_, _> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        if !kept.is_empty() {
            wanted[member] = Value::Object(kept);
        } else if let Some(members) = wanted.as_object_mut() {
            members.remove(member);
        }
    }
    if let Some(owner) = ours.pointer("/ownerReferences/0") {
        wanted["ownerReferences"] = Value::Array(owners(live, owner));
    }
    wanted
}

/// The live owners and ours. Only one may be the controller: whoever writes last, as two Canaries may track one config.
fn owners(live: &Value, ours: &Value) -> Vec<Value> {
    let is_ours = |owner: &Value| owner["uid"] == ours["uid"];
    let live = live.get("ownerReferences").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let kept = live.iter().map(|owner| {
        let mut owner = if is_ours(owner) { ours.clone() } else { owner.clone() };
        if !is_ours(&owner) && owner["controller"] == true {
            owner["controller"] = json!(false);
        }
        owner
    });
    let new = (!live.iter().any(is_ours)).then(|| ours.clone());
    kept.chain(new).collect()
}

fn spec(kind: &str, live: &Value, ours: &Value) -> Value {
    let is_kept = |member: &str| match kind {
        "Deployment" => member == "paused",
        "Service" => true,
        _ => false,
    };
    let members = |spec: &Value| spec.as_object().cloned().unwrap_or_default();
    let kept = members(live).into_iter().filter(|(member, _)| is_kept(member));
    let mut wanted: Map<_, _> = kept.chain(members(ours)).collect();
    // The order of a service's ports does not matter.
    if let (Some(Value::Array(old)), Some(Value::Array(new))) = (live.get("ports"), wanted.get("ports"))
        && old.len() == new.len()
        && new.iter().all(|port| old.contains(port))
    {
        wanted.insert("ports".into(), json!(old));
    }
    Value::Object(wanted)
}

fn of<'a>(metadata: &'a Value, member: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    metadata.get(member).and_then(Value::as_object).into_iter().flatten()
}

#[cfg(test)]
mod tests;
