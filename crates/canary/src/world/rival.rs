//! Whether what a Canary would make belongs to another Canary already.
//!
//! Two Canaries of one target, or of one service, would undo each other's work for ever. Who came first has left its mark, the
//! owner reference, on objects that each tick reads anyway; on a Knative Service, of which nothing is made, it is an
//! annotation. So looking costs nothing, and it holds on both stores.
//!
//! Differs: the original lets both go on.

use api::{
    flagger::{API_VERSION, Canary},
    meta::ObjectReference,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{World, knative};
use crate::{
    path::at,
    workload::{Kind, items, service},
};

/// The primary or one of the services, and the Canary that controls it.
struct Claim<'a> {
    kind: &'a str,
    name: &'a str,
    owner: &'a str,
}

/// The claims on what `canary` would make.
fn claims<'a>(canary: &Canary, objects: &'a [Value]) -> Vec<Claim<'a>> {
    let primary = canary.primary_name();
    let services = [service::Role::Apex, service::Role::Primary, service::Role::Canary];
    let services = services.map(|role| service::name(canary, role));
    let target = &canary.spec.target_ref;
    let claim = |object: &'a Value| {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        if Kind::of(canary) == Kind::Knative && (kind, name) == (&target.kind, &target.name) {
            return Some(Claim { kind, name, owner: knative::owner(object)? });
        }
        let is_ours = kind == target.kind && name == primary
            || kind == "Service" && services.iter().any(|service| name == service);
        let is_canary = |owner: &&Value| owner["controller"] == true && owner["kind"] == "Canary";
        let owner = items(object, "/metadata/ownerReferences").iter().find(is_canary).filter(|_| is_ours)?;
        Some(Claim { kind, name, owner: text(owner, "/name") })
    };
    objects.iter().filter_map(claim).collect()
}

/// Another Canary that has what `canary` would make. Whether it is still there is not said.
pub fn rival(canary: &Canary, objects: &[Value]) -> Option<ObjectReference> {
    let claim = claims(canary, objects).into_iter().find(|claim| claim.owner != canary.name())?;
    Some(ObjectReference {
        api_version: API_VERSION.into(),
        kind: "Canary".into(),
        namespace: canary.namespace().into(),
        name: claim.owner.into(),
    })
}

impl World<'_> {
    /// An error if another Canary, which is among the objects, has what this one would make. Of two that came at the same time
    /// and have a part each the older goes on, then the one whose name comes first.
    pub fn unrivalled(&self) -> Result<(), String> {
        let (own, namespace) = (self.canary.name(), self.canary.namespace());
        let (ours, theirs): (Vec<_>, Vec<_>) =
            claims(self.canary, self.objects).into_iter().partition(|claim| claim.owner == own);
        let Some((claim, rival)) = theirs.first().and_then(|claim| Some((claim, self.get("Canary", claim.owner)?)))
        else {
            return Ok(());
        };
        let created = self.canary.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let rivals: Option<Timestamp> = text(rival, "/metadata/creationTimestamp").parse().ok();
        if !ours.is_empty() && (created, own) < (rivals, claim.owner) {
            return Ok(());
        }
        let (kind, name, owner) = (claim.kind.to_lowercase(), claim.name, claim.owner);
        Err(format!(
            "{kind} {name}.{namespace} belongs to canary {owner}.{namespace}: two canaries cannot share a target or a service"
        ))
    }
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cases, world::Options};

    fn canary(name: &str, created: &str, service: &str) -> Canary {
        cases::canary(&json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"targetRef": {"kind": "Deployment", "name": "app"}, "service": {"name": service, "port": 80}},
        }))
    }

    fn owned(kind: &str, name: &str, owner: &str) -> Value {
        json!({"kind": kind, "metadata": {"name": name, "ownerReferences": [
            {"kind": "ReplicaSet", "name": "other"}, {"kind": "Canary", "name": owner, "controller": true}]}})
    }

    fn check(canary: &Canary, objects: &[Value], expected: Option<&str>) {
        let world = World { canary, options: &Options::default(), objects, random: 0, now: Timestamp::UNIX_EPOCH };
        let told = world.unrivalled().err();
        assert_eq!(told.as_deref().and_then(|text| text.split(':').next()), expected, "{objects:?}");
    }

    #[test]
    fn what_another_canary_has_is_left_to_it() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let other = |created: &str| json!({"kind": "Canary", "metadata": {"name": "a", "creationTimestamp": created}});
        let b = canary("b", early, "web");
        let theirs = owned("Deployment", "app-primary", "a");
        let told = "deployment app-primary.default belongs to canary a.default";
        check(&b, &[theirs.clone(), other(late)], Some(told));
        for service in ["web", "web-primary", "web-canary"] {
            let told = format!("service {service}.default belongs to canary a.default");
            check(&b, &[owned("Service", service, "a"), other(late)], Some(&told));
        }
        // A part each: the older one, then the first name.
        let ours = owned("Service", "web", "b");
        check(&b, &[theirs.clone(), ours.clone(), other(late)], None);
        check(&b, &[theirs.clone(), ours.clone(), other(early)], Some(told));
        check(&canary("0", early, "web"), &[theirs.clone(), owned("Service", "web", "0"), other(early)], None);
        check(&canary("b", late, "web"), &[theirs.clone(), ours.clone(), other(early)], Some(told));
        // Of a Knative Service nothing is made; it is marked.
        let knative = cases::canary(&json!({"metadata": {"name": "b"}, "spec": {
            "targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "app"}, "service": {"port": 80}}}));
        let marked = |owner: &str| {
            json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": "app", "annotations": {"slipway.dev/canary": owner}}})
        };
        check(&knative, &[marked("a"), other(early)], Some("service app.default belongs to canary a.default"));
        check(&knative, &[marked("b"), other(early)], None);
        check(&knative, &[marked("a")], None);
        // Nobody else is there, or has anything of it.
        check(&b, &[theirs], None);
        check(&b, &[ours, owned("Service", "app", "a"), owned("Deployment", "app", "a"), other(early)], None);
    }
}
