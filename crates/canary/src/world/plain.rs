//! A Service as the target: two more Services, and no pods of ours. Source: reference progressive-delivery.md, B.7.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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
        let revision = revision::digest(&json!({"spec": {"template": target["spec"]}}));
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
        let ours = self.plain_service(canary)?;
        let is_copy = |live: &Value| {
            live.get("spec").map(copied) == ours.get("spec").cloned()
                && router::keeps(&live["metadata"], &ours["metadata"])
        };
        let is_there = self.get("Service", &service::name(self.canary, canary)).is_some_and(is_copy);
        let mut writes = Vec::new();
        if !is_there {
            writes.push(Write::Apply(ours));
        }
        if self.get("Service", &service::name(self.canary, primary)).is_none() {
            writes.push(Write::Apply(self.plain_service(primary)?));
        }
        Ok(writes)
    }

    pub(super) fn plain_promotion(&self) -> Result<Vec<Write>, String> {
        Ok(vec![Write::Apply(self.plain_service(service::Role::Primary)?)])
    }

    fn plain_service(&self, role: service::Role) -> Result<Value, String> {
        let spec = self.target_object()?.get("spec").map_or_else(|| json!({}), copied);
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {
            "name": service::name(self.canary, role),
            "namespace": self.canary.namespace(),
            "annotations": router::annotations(&BTreeMap::new()),
        }});
        if let Some(owner) = router::owner(self.canary) {
            service["metadata"]["ownerReferences"] = Value::Array(vec![owner]);
        }
        // Put in its place: what stands inside `json!` is copied.
        service["spec"] = spec;
        Ok(service)
    }
}

/// The spec of a Service without what each has for itself.
fn copied(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|member, _| !matches!(member.as_str(), "clusterIP" | "clusterIPs" | "healthCheckNodePort"));
    }
    spec
}
