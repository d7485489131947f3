//! A Service as the target: two more Services, and no pods of ours. Source: reference progressive-delivery.md, B.7.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{World, Write};
use crate::{
    machine::Target,
    router,
    workload::{revision, service},
};

impl World<'_> {
    /// Nothing is rolled out: once promoted, the copy is there.
    pub(super) fn plain_target(&self) -> Result<Target, String> {
        let target = self.target_object()?;
        let revision = revision::digest_of(&target["spec"]);
        let status = self.canary.status();
        let promoted = &status.last_promoted_spec;
        Ok(Target {
            equals_primary: true,
            is_applied_to_primary: true,
            is_primary_outdated: revision::is_own(promoted) && *promoted != revision,
            revision,
            ..Target::default()
        })
    }

    /// The canary service follows the target, the primary service is a copy taken once.
    pub(super) fn plain_services(&self) -> Result<Vec<Write>, String> {
        let (primary, canary) = (service::Role::Primary, service::Role::Canary);
        let spec = self.target_object()?.get("spec");
        let metadata = self.plain_metadata(canary);
        let is_copy = |live: &Value| is_copied(live.get("spec"), spec) && router::keeps(&live["metadata"], &metadata);
        let is_there = self.get("Service", &service::name(self.canary, canary)).is_some_and(is_copy);
        let mut writes = Vec::new();
        if !is_there {
            writes.push(Write::Apply(plain_service(metadata, spec)));
        }
        if self.get("Service", &service::name(self.canary, primary)).is_none() {
            writes.push(Write::Apply(plain_service(self.plain_metadata(primary), spec)));
        }
        Ok(writes)
    }

    pub(super) fn plain_promotion(&self) -> Result<Vec<Write>, String> {
        let spec = self.target_object()?.get("spec");
        Ok(vec![Write::Apply(plain_service(self.plain_metadata(service::Role::Primary), spec))])
    }

    fn plain_metadata(&self, role: service::Role) -> Value {
        let mut metadata = json!({
            "name": service::name(self.canary, role),
            "namespace": self.canary.namespace(),
            "annotations": router::annotations(&BTreeMap::new()),
        });
        if let Some(owner) = router::owner(self.canary) {
            metadata["ownerReferences"] = Value::Array(vec![owner]);
        }
        metadata
    }
}

/// A Service like the target.
fn plain_service(metadata: Value, spec: Option<&Value>) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service"});
    // Put in their place: what stands inside `json!` is copied.
    service["metadata"] = metadata;
    service["spec"] = match spec {
        Some(Value::Object(members)) => shared(members).map(|(name, value)| (name.clone(), value.clone())).collect(),
        Some(other) => other.clone(),
        None => json!({}),
    };
    service
}

/// Whether a Service has the spec that a copy of the target has.
fn is_copied(live: Option<&Value>, target: Option<&Value>) -> bool {
    match (live, target) {
        (Some(Value::Object(live)), Some(Value::Object(target))) => shared(live).eq(shared(target)),
        (Some(Value::Object(live)), None) => shared(live).next().is_none(),
        (live, target) => live.is_some() && live == target,
    }
}

/// The members of a Service's spec without those that each has for itself.
fn shared(spec: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    spec.iter().filter(|(name, _)| !matches!(name.as_str(), "clusterIP" | "clusterIPs" | "healthCheckNodePort"))
}
