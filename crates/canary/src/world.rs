//! A Canary's world as objects: what they say to the machine's questions, and what its effects write to them.
//!
//! Pure, JSON in, JSON out. `controller.rs` fetches the objects and performs the writes; `simulate.rs` keeps them in memory.

mod end;
mod knative;
mod own;
mod plain;
mod rival;

use std::collections::BTreeMap;

use api::{flagger::Canary, meta::ObjectReference};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::rival::rival;
use crate::{
    machine::{Effect, Part, Readiness, Role, Target},
    patch::patched,
    path::at,
    router::{self, Weights},
    workload::{self, Copied, Kind, Selector, configs::Tracked, daemonset, deployment, revision, scaler, service},
};

/// What the controller's options say about objects.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// About workloads.
    pub workload: workload::Options,
    /// About routes.
    pub router: router::Options,
}

/// One change to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Apply an object that holds only the fields that are ours.
    Apply(Value),
    /// Merge into an object that is somebody else's.
    Patch(ObjectReference, Value),
    /// Delete an object of ours.
    Delete(ObjectReference),
    /// Remember the session cookies in the Canary's status.
    Cookies(router::Cookies),
}

/// A Canary and the objects around it.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The Canary.
    pub canary: &'a Canary,
    /// The controller's options.
    pub options: &'a Options,
    /// Every object that [`references`] and `configs` name and that exists.
    pub objects: &'a [Value],
    /// Makes up session cookies and nothing else.
    pub random: u64,
    /// Now.
    pub now: Timestamp,
}

/// The objects to read before anything else. An error says that the provider is not supported.
pub fn references(canary: &Canary, options: &Options) -> Result<Vec<ObjectReference>, String> {
    let target = &canary.spec.target_ref;
    let here = |api_version: &str, kind: &str, name: &str| ObjectReference {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: canary.namespace().into(),
        name: name.into(),
    };
    let mut found = vec![
        here(&target.api_version, &target.kind, &target.name),
        here(&target.api_version, &target.kind, &canary.primary_name()),
    ];
    for role in [service::Role::Apex, service::Role::Primary, service::Role::Canary] {
        found.push(here("v1", "Service", &service::name(canary, role)));
    }
    if let Some(scaler) = &canary.spec.autoscaler_ref {
        found.push(here(&scaler.api_version, &scaler.kind, &scaler.name));
        found.push(here(&scaler.api_version, &scaler.kind, &format!("{}-primary", scaler.name)));
    }
    found.extend(router::objects(canary, &options.router).map_err(|error| error.to_string())?);
    found.dedup();
    Ok(found)
}

/// What to read once the target is known: the ConfigMaps and Secrets of its pods, or its Knative revisions.
pub fn dependencies(canary: &Canary, target: &Value) -> Vec<ObjectReference> {
    if Kind::of(canary) == Kind::Knative {
        return knative::revisions(canary, target);
    }
    let references = workload::configs::references(target).into_keys();
    let here = |kind: &str, name: String| ObjectReference {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: canary.namespace().into(),
        name,
    };
    references.map(|reference| here(reference.kind.kind(), reference.name)).collect()
}

/// What a copy to the primary writes over besides the primary: to read right before, as few ticks copy anything.
pub fn copies(canary: &Canary, target: &Value) -> Vec<ObjectReference> {
    let configs =
        dependencies(canary, target).into_iter().filter(|id| matches!(id.kind.as_str(), "ConfigMap" | "Secret"));
    configs.map(|id| ObjectReference { name: format!("{}-primary", id.name), ..id }).collect()
}

/// What a copy of the target needs besides the target.
struct Copying {
    selector: Selector,
    configs: Tracked,
    revision: String,
    id: String,
}

impl Copying {
    fn copied<'a>(&'a self, world: &World<'a>) -> Copied<'a> {
        Copied { selector: &self.selector, configs: &self.configs, options: &world.options.workload, id: &self.id }
    }
}

impl<'a> World<'a> {
    /// The object of that kind and name in the Canary's namespace.
    pub fn get(&self, kind: &str, name: &str) -> Option<&'a Value> {
        self.objects.iter().find(|object| {
            object["kind"] == kind
                && object["metadata"]["name"] == name
                && object["metadata"]["namespace"].as_str().unwrap_or("default") == self.canary.namespace()
        })
    }

    /// Whether putting this part in place copies the target.
    pub fn copies_for(&self, part: Part) -> bool {
        match part {
            Part::Primary => self.primary_object().is_none(),
            Part::Promotion => self.target().is_ok_and(|target| target.is_primary_outdated),
            _ => false,
        }
    }

    /// The target.
    pub fn target_object(&self) -> Result<&'a Value, String> {
        let target = &self.canary.spec.target_ref;
        self.get(&target.kind, &target.name).ok_or_else(|| workload::not_found(self.canary, &target.name))
    }

    fn primary_object(&self) -> Option<&'a Value> {
        self.get(&self.canary.spec.target_ref.kind, &self.canary.primary_name())
    }

    fn copying(&self, target: &Value) -> Result<Copying, String> {
        let options = &self.options.workload;
        let selector = workload::selector(self.canary, target, options).map_err(|error| error.to_string())?;
        let configs = Tracked::of(self.canary, target, self.objects, options).map_err(|error| error.to_string())?;
        let revision = revision::digest(target);
        let id = id(&revision, &configs.status());
        Ok(Copying { selector, configs, revision, id })
    }

    /// What the target and the primary run.
    pub fn target(&self) -> Result<Target, String> {
        self.unrivalled()?;
        match Kind::of(self.canary) {
            Kind::Service => self.plain_target(),
            Kind::Knative => self.knative_target(),
            Kind::Deployment | Kind::DaemonSet => self.workload_target(),
        }
    }

    fn workload_target(&self) -> Result<Target, String> {
        let target = self.target_object()?;
        let copying = self.copying(target)?;
        let configs = copying.configs.status();
        let primary = self.primary_object();
        let equals_primary =
            primary.is_some_and(|primary| revision::same_as_primary(target, primary, copying.copied(self)));
        let copied_from = primary.and_then(|primary| {
            at(primary, "/spec/template/metadata/annotations/flagger-id")?.as_str().filter(|id| is_own(id))
        });
        let status = self.canary.status();
        let (applied, tracked) = (&status.last_applied_spec, &status.tracked_configs);
        // What somebody else copied can only be compared. Source: reference progressive-delivery.md, B.2 "Our rule".
        let is_noted = configs == *tracked && (copying.revision == *applied || !revision::is_own(applied));
        Ok(Target {
            equals_primary,
            is_applied_to_primary: match copied_from {
                Some(found) => found == id(applied, tracked),
                None => equals_primary && is_noted,
            },
            is_primary_outdated: primary.is_some() && copied_from.map_or(!equals_primary, |found| found != copying.id),
            is_at_zero: is_scaled_down(self.canary, target),
            is_serving: workload::available(target) > 0,
            revision: copying.revision,
            configs,
        })
    }

    /// Whether a workload is ready.
    pub fn ready(&self, role: Role) -> Readiness {
        let (canary, now) = (self.canary, self.now);
        let readiness = match (Kind::of(canary), role) {
            (Kind::Service, _) => workload::Readiness::Ready,
            (Kind::Knative, role) => self.knative_readiness(role),
            (Kind::Deployment, Role::Primary) => deployment::primary_readiness(canary, self.primary_object(), now),
            (Kind::Deployment, Role::Canary) => deployment::target_readiness(canary, self.target_object().ok(), now),
            (Kind::DaemonSet, Role::Primary) => daemonset::primary_readiness(canary, self.primary_object(), now),
            (Kind::DaemonSet, Role::Canary) => daemonset::target_readiness(canary, self.target_object().ok(), now),
        };
        match readiness {
            workload::Readiness::Ready => Readiness::Ready,
            workload::Readiness::Waiting(text) => Readiness::Waiting(text),
            workload::Readiness::Stuck(text) => Readiness::Failed(text),
        }
    }

    /// The weights in effect.
    pub fn weights(&self) -> Result<Weights, String> {
        router::weights(self.canary, &self.options.router, self.objects).map_err(|error| error.to_string())
    }

    /// What to write so that a part is in place; nothing if it is.
    pub fn ensure(&self, part: Part) -> Result<Vec<Write>, String> {
        match part {
            Part::Services if Kind::of(self.canary) == Kind::Service => self.plain_services(),
            Part::Services | Part::Apex if has_no_pods(self.canary) => Ok(Vec::new()),
            Part::Services => {
                let services = [service::Role::Canary, service::Role::Primary].map(|role| self.service(role));
                services.into_iter().filter_map(Result::transpose).collect()
            }
            Part::Apex => Ok(self.service(service::Role::Apex)?.into_iter().collect()),
            Part::Primary if Kind::of(self.canary) == Kind::Knative => self.knative_primary(),
            Part::Primary if has_no_pods(self.canary) || self.primary_object().is_some() => Ok(Vec::new()),
            Part::Primary => self.new_primary(),
            Part::Promotion if !self.target()?.is_primary_outdated => Ok(Vec::new()),
            Part::Promotion => self.promote(),
            Part::Scaler => self.scaler(NewOnly::Yes),
            Part::Route => {
                let change = router::reconcile(self.canary, &self.options.router, self.objects, self.random);
                Ok(change.map_err(|error| error.to_string())?.map(|change| self.routed(change)).unwrap_or_default())
            }
        }
    }

    /// What an effect on objects writes. Status, events, alerts and hooks are not on objects and write nothing here.
    pub fn act(&self, effect: &Effect) -> Result<Vec<Write>, String> {
        match effect {
            Effect::SetWeights(weights) => {
                let change = router::routes(self.canary, &self.options.router, *weights, self.objects, self.random);
                change.map(|change| self.routed(change)).map_err(|error| error.to_string())
            }
            Effect::ScaleToZero => self.patch_target(scale_down_patch(self.canary)),
            Effect::ScaleUp => {
                let target = self.target_object()?;
                let scaler = self.canary.spec.autoscaler_ref.as_ref();
                let scaler = scaler.and_then(|reference| self.get(&reference.kind, &reference.name));
                self.patch_target(match Kind::of(self.canary) {
                    Kind::DaemonSet => daemonset::scale_up_patch(),
                    _ => deployment::scale_up_patch(self.canary, target, self.primary_object(), scaler),
                })
            }
            Effect::CopyToPrimary => self.promote(),
            Effect::UpdateScaler => self.scaler(NewOnly::No),
            Effect::PauseScaler => Ok(self.patch_scaler(scaler::pause_patch)),
            Effect::ResumeScaler => Ok(self.patch_scaler(scaler::resume_patch)),
            Effect::WriteStatus | Effect::PostRollout(_) | Effect::Event(_) | Effect::Alert(_) => Ok(Vec::new()),
        }
    }

    fn service(&self, role: service::Role) -> Result<Option<Write>, String> {
        let target = self.target_object()?;
        let selector =
            workload::selector(self.canary, target, &self.options.workload).map_err(|error| error.to_string())?;
        let ports = workload::ports(self.canary, target);
        let live = self.get("Service", &service::name(self.canary, role));
        Ok(self.own(service::service(self.canary, role, &selector, &ports, live)))
    }

    fn new_primary(&self) -> Result<Vec<Write>, String> {
        let target = self.target_object()?;
        let copying = self.copying(target)?;
        let copied = copying.copied(self);
        let primary = match Kind::of(self.canary) {
            Kind::DaemonSet => daemonset::primary(self.canary, target, copied).map_err(|error| error.to_string())?,
            _ => deployment::primary(self.canary, target, copied),
        };
        Ok(self.with_configs(&copying, primary))
    }

    fn promote(&self) -> Result<Vec<Write>, String> {
        let target = self.target_object()?;
        match Kind::of(self.canary) {
            Kind::Service => return self.plain_promotion(),
            Kind::Knative => return self.knative_promotion(),
            Kind::Deployment | Kind::DaemonSet => {}
        }
        let copying = self.copying(target)?;
        let copied = copying.copied(self);
        let primary = match (Kind::of(self.canary), self.primary_object()) {
            (Kind::DaemonSet, _) => daemonset::promoted(self.canary, target, copied),
            (_, Some(live)) => deployment::promoted(self.canary, target, live, copied),
            (_, None) => deployment::primary(self.canary, target, copied),
        };
        Ok(self.with_configs(&copying, primary))
    }

    /// The configs first: pods that start before them would read the old ones.
    fn with_configs(&self, copying: &Copying, primary: Value) -> Vec<Write> {
        let configs = copying.configs.copies(self.canary, self.objects, &self.options.workload);
        configs.into_iter().chain([primary]).filter_map(|ours| self.own(ours)).collect()
    }

    fn scaler(&self, new_only: NewOnly) -> Result<Vec<Write>, String> {
        let Some(reference) = &self.canary.spec.autoscaler_ref else { return Ok(Vec::new()) };
        let name = format!("{}-primary", reference.name);
        if new_only == NewOnly::Yes && self.get(&reference.kind, &name).is_some() {
            return Ok(Vec::new());
        }
        let Some(target) = self.get(&reference.kind, &reference.name) else {
            let (kind, namespace) = (&reference.kind, self.canary.namespace());
            return Err(format!("{kind} {}.{namespace} get query error: not found", reference.name));
        };
        Ok(self.own(scaler::primary(self.canary, reference, target)).into_iter().collect())
    }

    fn patch_scaler(&self, patch: fn(&api::flagger::AutoscalerReference) -> Option<Value>) -> Vec<Write> {
        let Some(reference) = &self.canary.spec.autoscaler_ref else { return Vec::new() };
        let live = self.get(&reference.kind, &reference.name).and_then(ObjectReference::of);
        live.zip(patch(reference)).map(|(id, patch)| Write::Patch(id, patch)).into_iter().collect()
    }

    /// A patch of the target; nothing if it is that way already.
    fn patch_target(&self, patch: Value) -> Result<Vec<Write>, String> {
        if has_no_pods(self.canary) {
            return Ok(Vec::new());
        }
        let target = self.target_object()?;
        if patched(target, &patch) == *target {
            return Ok(Vec::new());
        }
        let id = ObjectReference::of(target).ok_or("the target has no kind or name")?;
        let namespace = self.canary.namespace().to_owned();
        Ok(vec![Write::Patch(ObjectReference { namespace, ..id }, patch)])
    }
}

/// Whether an object that is there is left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NewOnly {
    Yes,
    No,
}

fn scale_down_patch(canary: &Canary) -> Value {
    match Kind::of(canary) {
        Kind::DaemonSet => daemonset::scale_down_patch(),
        _ => deployment::scale_down_patch(),
    }
}

fn is_scaled_down(canary: &Canary, target: &Value) -> bool {
    match Kind::of(canary) {
        Kind::DaemonSet => daemonset::is_parked(target),
        _ => deployment::is_at_zero(target),
    }
}

fn has_no_pods(canary: &Canary) -> bool {
    matches!(Kind::of(canary), Kind::Service | Kind::Knative)
}

/// The primary's `flagger-id`: in the form of a UUID, but the same for the same revision and configuration, so that copying
/// twice rolls once, and so that the copy tells what it was copied from. Its version is 8, where the original's is 4.
fn id(revision: &str, configs: &BTreeMap<String, String>) -> String {
    let hash = hex::encode(Sha256::digest(json!([revision, configs]).to_string().as_bytes()));
    format!("{}-{}-8{}-{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[16..20], &hash[20..32])
}

/// Whether an id was made by [`id`].
fn is_own(id: &str) -> bool {
    id.len() == 36 && id.as_bytes()[14] == b'8'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_tells_what_it_was_copied_from() {
        let configs = BTreeMap::from([("configmap/a".to_owned(), "1".to_owned())]);
        assert_eq!(id("sw1-x", &configs), id("sw1-x", &configs));
        assert_ne!(id("sw1-x", &configs), id("sw1-x", &BTreeMap::new()));
        assert!(is_own(&id("sw1-x", &configs)));
        assert!(!is_own("6e2c1d0a-5f1b-4c7e-9a3d-1b2c3d4e5f60") && !is_own(""));
    }
}
