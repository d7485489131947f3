//! The target, its primary copy, and what belongs to them: names, labels, readiness, change detection.
//!
//! Pure, JSON in, JSON out. Objects that come out hold only the fields that are ours, for server-side apply; `*_patch`
//! functions give JSON merge patches. Source: reference progressive-delivery.md, B.2, B.6, B.7, B.9.

pub mod configs;
pub mod daemonset;
pub mod deployment;
mod pods;
pub mod revision;
pub mod scaler;
pub mod service;

use std::collections::BTreeMap;

use api::flagger::Canary;
use serde_json::{Map, Value, json};

pub use pods::Copied;

use crate::path::at;

/// What the controller's options say about workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Labels of which the target's selector must have one, in order of preference (`--selector-labels`).
    pub selector_labels: Vec<String>,
    /// Prefixes of labels that are copied to the primary (`--include-label-prefix`); `*` copies all.
    pub include_label_prefix: Vec<String>,
    /// Whether ConfigMaps and Secrets are tracked and copied (`--enable-config-tracking`).
    pub config_tracking: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            selector_labels: ["app", "name", "app.kubernetes.io/name"].map(str::to_owned).to_vec(),
            include_label_prefix: Vec::new(),
            config_tracking: true,
        }
    }
}

/// What kind of workload a Canary moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `apps/v1` Deployment; unknown kinds are taken for one.
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// A plain Service: no pods are touched.
    Service,
    /// A Knative Service.
    Knative,
}

impl Kind {
    /// The kind that `spec.targetRef` names.
    pub fn of(canary: &Canary) -> Self {
        let target = &canary.spec.target_ref;
        match target.kind.as_str() {
            "DaemonSet" => Self::DaemonSet,
            "Service" if target.api_version.starts_with("serving.knative.dev/") => Self::Knative,
            "Service" => Self::Service,
            _ => Self::Deployment,
        }
    }

    /// As texts name it.
    const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::DaemonSet => "daemonset",
            Self::Service | Self::Knative => "service",
        }
    }
}

/// The label by which a workload's pods are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Its key.
    pub label: String,
    /// The target's value.
    pub value: String,
}

impl Selector {
    /// The primary's value.
    pub fn primary_value(&self) -> String {
        format!("{}-primary", self.value)
    }
}

/// Whether a workload's rollout is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// Not yet. The text is the event's.
    Waiting(String),
    /// It will not be: the deadline has passed. The text is the event's.
    Stuck(String),
}

/// Why an object cannot be made. The texts are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// None of the accepted labels is in the target's selector.
    #[error("getSelectorLabel failed: {kind} {name} spec.selector.matchLabels must contain one of [{}]", labels.join(" "))]
    SelectorLabel {
        /// Kind of the target.
        kind: &'static str,
        /// `name.namespace` of the target.
        name: String,
        /// The labels accepted.
        labels: Vec<String>,
    },
    /// A DaemonSet that is not updated by the cluster.
    #[error("daemonset {name} must have RollingUpdate strategy but have {strategy}")]
    Strategy {
        /// `name.namespace` of the target.
        name: String,
        /// What it has.
        strategy: String,
    },
    /// A ConfigMap or Secret which the pods need is not there.
    #[error("GetTargetConfigs failed: {kind} {name} not found")]
    MissingConfig {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// `name.namespace` of the object.
        name: String,
    },
    /// The primary could not be made, and why.
    #[error("{act} failed: {source}")]
    Primary {
        /// `createPrimaryDeployment` or `createPrimaryDaemonSet`.
        act: &'static str,
        /// Why.
        source: Box<Error>,
    },
}

/// The selector of a target: the first accepted label in its `matchLabels`.
pub fn selector(canary: &Canary, target: &Value, options: &Options) -> Result<Selector, Error> {
    let labels = at(target, "/spec/selector/matchLabels");
    let found = options.selector_labels.iter().find_map(|label| {
        let value = labels?.get(label)?.as_str()?;
        Some(Selector { label: label.clone(), value: value.to_owned() })
    });
    found.ok_or_else(|| Error::SelectorLabel {
        kind: Kind::of(canary).word(),
        name: qualified(canary, &canary.spec.target_ref.name),
        labels: options.selector_labels.clone(),
    })
}

/// The container ports that a discovery adds to the services, by name: not those of sidecars, not the service's own.
/// None without `portDiscovery`.
pub fn ports(canary: &Canary, target: &Value) -> BTreeMap<String, i64> {
    let service = &canary.spec.service;
    let mut ports = BTreeMap::new();
    if !service.port_discovery {
        return ports;
    }
    let own = service.target_port();
    for container in items(target, "/spec/template/spec/containers") {
        let name = container["name"].as_str().unwrap_or_default();
        if ["istio-proxy", "envoy"].contains(&name) {
            continue;
        }
        for (index, port) in items(container, "/ports").iter().enumerate() {
            let (number, port_name) = (port["containerPort"].as_i64().unwrap_or_default(), port["name"].as_str());
            use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::{Int, String};
            let is_own = match &own {
                Int(own) => i64::from(*own) == number,
                String(own) => port_name == Some(own),
            };
            if !is_own {
                let fallback = || format!("tcp-{name}-{index}");
                ports.insert(port_name.map_or_else(fallback, str::to_owned), number);
            }
        }
    }
    ports
}

/// How many of a workload's pods could serve requests now.
pub fn available(workload: &Value) -> i64 {
    let number = |member: &str| workload["status"][member].as_i64().unwrap_or_default();
    number("availableReplicas").max(number("numberAvailable"))
}

/// What the event says when a workload cannot be read.
pub fn not_found(canary: &Canary, name: &str) -> String {
    let kind = Kind::of(canary).word();
    format!("{kind} {} get query error: {kind}s.apps {name:?} not found", qualified(canary, name))
}

/// `name.namespace`
fn qualified(canary: &Canary, name: &str) -> String {
    format!("{name}.{}", canary.namespace())
}

/// The labels that are copied: those allowed by prefix, without Flux's own, which would make it take the copy for its object.
fn copied_labels(object: &Value, options: &Options) -> Map<String, Value> {
    let allowed =
        |key: &str| options.include_label_prefix.iter().any(|prefix| prefix == "*" || key.starts_with(prefix));
    members(object, "/metadata/labels").filter(|(key, _)| allowed(key)).map(owned).collect()
}

/// The annotations that are copied when a primary is created: all but Flux's own.
fn copied_annotations(object: &Value) -> Map<String, Value> {
    members(object, "/metadata/annotations").map(owned).collect()
}

/// The annotations that a promotion leaves: those allowed by prefix.
fn promoted_annotations(object: &Value, options: &Options) -> Map<String, Value> {
    let allowed =
        |key: &str| options.include_label_prefix.iter().any(|prefix| prefix == "*" || key.starts_with(prefix));
    members(object, "/metadata/annotations").filter(|(key, _)| allowed(key)).map(owned).collect()
}

/// The members of a map, without Flux's own.
fn members<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let found = at(object, pointer).and_then(Value::as_object);
    found.into_iter().flatten().filter(|(key, _)| !key.contains("toolkit.fluxcd.io"))
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// The items of a list; nothing when it is not there.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Metadata of a copy that the Canary owns.
fn metadata(canary: &Canary, name: &str, labels: Map<String, Value>, annotations: Map<String, Value>) -> Value {
    let mut metadata = json!({"name": name, "namespace": canary.namespace()});
    for (member, value) in [("labels", labels), ("annotations", annotations)] {
        if !value.is_empty() {
            metadata[member] = Value::Object(value);
        }
    }
    if let Some(owner) = crate::router::owner(canary) {
        metadata["ownerReferences"] = json!([owner]);
    }
    metadata
}

#[cfg(test)]
mod tests;
