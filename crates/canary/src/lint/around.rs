//! What stands around the Canaries of many manifests: read once, so that looking at each costs the same however many there
//! are.

use std::collections::BTreeMap;

use api::flagger::{Canary, MetricTemplate};
use serde_json::Value;

use super::{Finding, error};
use crate::metrics;

/// Most rivals of a Canary that are named.
const MOST_RIVALS: usize = 10;

/// The objects of all manifests, found by what they are called.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// All of them.
    pub objects: &'a [Value],
    named: BTreeMap<(&'a str, &'a str), Vec<&'a Value>>,
    templates: BTreeMap<String, Vec<MetricTemplate>>,
    canaries: Vec<Canary>,
    /// Places in `canaries` by namespace, and by kind and name of the target or by name of the service.
    of_target: BTreeMap<(String, String, String), Vec<usize>>,
    of_service: BTreeMap<(String, String), Vec<usize>>,
}

impl<'a> Surroundings<'a> {
    /// Reads them.
    pub fn of(objects: &'a [Value]) -> Self {
        let (templates, canaries) = (BTreeMap::new(), Vec::new());
        let (of_target, of_service) = (BTreeMap::new(), BTreeMap::new());
        let mut all = Self { objects, named: BTreeMap::new(), templates, canaries, of_target, of_service };
        for object in objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            all.named.entry((kind, name)).or_default().push(object);
            match kind {
                "MetricTemplate" => {
                    let template = api::manifest::typed(object).ok();
                    all.templates.entry(name.to_owned()).or_default().extend(template);
                }
                "Canary" if object["apiVersion"] == api::flagger::API_VERSION => {
                    all.canaries.extend(api::manifest::typed::<Canary>(object).ok());
                }
                _ => {}
            }
        }
        for (place, canary) in all.canaries.iter().enumerate() {
            all.of_target.entry(target(canary)).or_default().push(place);
            all.of_service.entry(service(canary)).or_default().push(place);
        }
        all
    }

    /// The objects of that kind and name, in every namespace.
    pub fn named<'s>(&'s self, kind: &'s str, name: &'s str) -> impl Iterator<Item = &'a Value> {
        self.named.get(&(kind, name)).into_iter().flatten().copied()
    }

    /// The object of that kind, namespace and name. One that names no namespace is found by the empty one.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&'a Value> {
        let is_meant = |object: &&Value| object["metadata"]["namespace"].as_str().unwrap_or_default() == namespace;
        self.named(kind, name).find(is_meant)
    }

    /// The objects of that kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == *kind)
    }

    /// Whether there is any object of that kind.
    pub fn has(&self, kind: &str) -> bool {
        self.named.range((kind, "")..).next().is_some_and(|((found, _), _)| *found == kind)
    }

    /// A MetricTemplate.
    pub fn template(&self, namespace: &str, name: &str) -> Option<&MetricTemplate> {
        metrics::template(self.templates.get(name)?, namespace, name)
    }

    /// Other Canaries that would fight with this one.
    pub(super) fn rivals(&self, canary: &Canary) -> Vec<Finding> {
        // One of them is the Canary itself.
        let mut places: Vec<usize> = Vec::new();
        places.extend(self.of_target.get(&target(canary)).into_iter().flatten().take(MOST_RIVALS + 1));
        places.extend(self.of_service.get(&service(canary)).into_iter().flatten().take(MOST_RIVALS + 1));
        places.sort_unstable();
        places.dedup();
        let others = places.into_iter().map(|place| &self.canaries[place]).filter(|one| one.name() != canary.name());
        let rivals = others.map(|other| {
            let message = |what: &str| format!("canary {} has the same {what}", other.name());
            match target(other) == target(canary) {
                true => error("spec.targetRef", message("target")),
                false => error("spec.service.name", message("service")),
            }
        });
        rivals.take(MOST_RIVALS).collect()
    }
}

fn target(canary: &Canary) -> (String, String, String) {
    let target = &canary.spec.target_ref;
    (canary.namespace().to_owned(), target.kind.clone(), target.name.clone())
}

fn service(canary: &Canary) -> (String, String) {
    (canary.namespace().to_owned(), canary.service_name().to_owned())
}
