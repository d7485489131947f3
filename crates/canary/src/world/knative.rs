//! A Knative Service as the target: an annotation names the revision that is the primary, Knative makes the pods.
//!
//! Source: reference progressive-delivery.md, B.6 and B.7 "Knative". The router writes `spec.traffic`.

use api::{flagger::Canary, meta::ObjectReference};
use serde_json::{Value, json};

use super::{World, Write};
use crate::{
    machine::{Role, Target},
    router::KNATIVE_PRIMARY as PRIMARY,
    workload::{Readiness, revision},
};

/// Annotation of the Service that names the Canary which works with it: nothing of a Service is made, so nothing is owned.
const CANARY: &str = "slipway.dev/canary";

/// The revisions whose readiness matters.
pub(super) fn revisions(canary: &Canary, target: &Value) -> Vec<ObjectReference> {
    let names = [primary(target), latest(target)];
    let here = |name: &str| ObjectReference {
        api_version: "serving.knative.dev/v1".into(),
        kind: "Revision".into(),
        namespace: canary.namespace().into(),
        name: name.into(),
    };
    names.into_iter().flatten().map(here).collect()
}

fn primary(target: &Value) -> Option<&str> {
    target["metadata"]["annotations"][PRIMARY].as_str()
}

/// The Canary that has marked the Service as its own.
pub(super) fn owner(target: &Value) -> Option<&str> {
    target["metadata"]["annotations"][CANARY].as_str().filter(|name| !name.is_empty())
}

/// The revision that Knative made from the template as it is.
fn latest(target: &Value) -> Option<&str> {
    target["status"]["latestCreatedRevisionName"].as_str().filter(|name| !name.is_empty())
}

impl World<'_> {
    pub(super) fn knative_target(&self) -> Result<Target, String> {
        let target = self.target_object()?;
        let latest = latest(target).ok_or_else(|| format!("{} has no revision yet", self.knative_name()))?;
        let revision = revision::digest(&json!({"spec": {"template": latest}}));
        let applied = &self.canary.status().last_applied_spec;
        let equals_primary = primary(target) == Some(latest);
        Ok(Target {
            equals_primary,
            is_applied_to_primary: equals_primary && (revision == *applied || !revision::is_own(applied)),
            is_primary_outdated: primary(target).is_some() && !equals_primary,
            revision,
            ..Target::default()
        })
    }

    /// Names the revision that is there when the Canary is new, and the Canary.
    pub(super) fn knative_primary(&self) -> Result<Vec<Write>, String> {
        let target = self.target_object()?;
        match (primary(target), owner(target) == Some(self.canary.name())) {
            (Some(_), true) => Ok(Vec::new()),
            (Some(_), false) => self.knative_annotations(json!({ CANARY: self.canary.name() })),
            (None, _) => self.knative_promotion(),
        }
    }

    pub(super) fn knative_promotion(&self) -> Result<Vec<Write>, String> {
        let target = self.target_object()?;
        let latest = latest(target).ok_or_else(|| format!("{} has no revision yet", self.knative_name()))?;
        self.knative_annotations(json!({ PRIMARY: latest, CANARY: self.canary.name() }))
    }

    fn knative_annotations(&self, annotations: Value) -> Result<Vec<Write>, String> {
        let id = ObjectReference::of(self.target_object()?).ok_or("the target has no kind or name")?;
        let id = ObjectReference { namespace: self.canary.namespace().to_owned(), ..id };
        Ok(vec![Write::Patch(id, json!({"metadata": {"annotations": annotations}}))])
    }

    /// Never stuck: Knative has no deadline that a Canary knows.
    pub(super) fn knative_readiness(&self, role: Role) -> Readiness {
        let name = self.knative_name();
        let target = match self.target_object() {
            Ok(target) => target,
            Err(problem) => return Readiness::Waiting(problem),
        };
        let revision = match role {
            Role::Primary => primary(target).ok_or_else(|| format!("{name} primary revision annotation not found")),
            Role::Canary => latest(target).ok_or_else(|| format!("{name} has no revision yet")),
        };
        let revision = match revision {
            Ok(revision) => revision,
            Err(problem) => return Readiness::Waiting(problem),
        };
        let named = format!("Knative Revision {revision}.{}", self.canary.namespace());
        let Some(found) = self.get("Revision", revision) else {
            return Readiness::Waiting(format!("{named} get query error: not found"));
        };
        let conditions = found["status"]["conditions"].as_array();
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        match conditions.is_some_and(|all| all.iter().any(is_ready)) {
            true => Readiness::Ready,
            false => Readiness::Waiting(format!("{named} is not ready")),
        }
    }

    fn knative_name(&self) -> String {
        format!("Knative Service {}.{}", self.canary.spec.target_ref.name, self.canary.namespace())
    }
}
