//! ConfigMaps and Secrets that pods refer to: which, whether they changed, and their primary copies.
//!
//! Source: reference progressive-delivery.md, B.2 "Config tracking".

use std::{collections::BTreeMap, fmt};

use api::flagger::Canary;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Error, Options, copied_labels, qualified};
use crate::path::at;

/// Annotation of an object that shall not be tracked; its value begins with `disable`.
const TRACKING: &str = "flagger.app/config-tracking";
/// Types of Secrets that are tracked. Registry credentials belong to service accounts.
const TYPES: [&str; 4] = ["Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls"];

/// What holds a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl ConfigKind {
    /// As in `apiVersion: v1`, `kind: …`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// As in `status.trackedConfigs`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// A config that pods refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// ConfigMap or Secret.
    pub kind: ConfigKind,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for Reference {
    /// `configmap/NAME` or `secret/NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.word(), self.name)
    }
}

/// The tracked configs, each with the checksum of its data: 16 hex digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracked(BTreeMap<Reference, String>);

/// The configs that a workload's pods refer to, and whether all references to each are optional: what to read before [`Tracked::of`].
pub fn references(target: &Value) -> BTreeMap<Reference, bool> {
    let mut spec = at(target, "/spec/template/spec").cloned().unwrap_or_default();
    let mut found = BTreeMap::new();
    each(&mut spec, &mut |kind, name, optional| {
        if let Some(name) = name.as_str() {
            let all = found.entry(Reference { kind, name: name.to_owned() }).or_insert(true);
            *all &= optional;
        }
    });
    found
}

impl Tracked {
    /// The tracked ones among a target's references, given the objects that exist. A missing one is an error unless optional.
    pub fn of(canary: &Canary, target: &Value, objects: &[Value], options: &Options) -> Result<Self, Error> {
        let mut tracked = BTreeMap::new();
        if !options.config_tracking {
            return Ok(Self(tracked));
        }
        for (reference, optional) in references(target) {
            match find(objects, &reference) {
                Some(object) if is_tracked(&reference, object) => {
                    tracked.insert(reference, checksum(object));
                }
                Some(_) => {}
                None if optional => {}
                None => {
                    let name = qualified(canary, &reference.name);
                    return Err(Error::MissingConfig { kind: reference.kind.word(), name });
                }
            }
        }
        Ok(Self(tracked))
    }

    /// As `status.trackedConfigs` keeps them.
    pub fn status(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(reference, checksum)| (reference.to_string(), checksum.clone())).collect()
    }

    /// Whether they differ from those kept in a status.
    pub fn differ_from(&self, status: &BTreeMap<String, String>) -> bool {
        self.status() != *status
    }

    /// Appends `-primary` to the names of the tracked configs in a pod spec.
    pub fn suffix(&self, spec: &mut Value) {
        each(spec, &mut |kind, name, _| {
            let text = name.as_str().unwrap_or_default();
            if self.0.contains_key(&Reference { kind, name: text.to_owned() }) {
                *name = json!(format!("{text}-primary"));
            }
        });
    }

    /// The copies that the primary uses.
    ///
    /// Differs: `binaryData` is copied too; the original leaves it out, so that the primary gets an empty config.
    pub fn copies(&self, canary: &Canary, objects: &[Value], options: &Options) -> Vec<Value> {
        let copy = |reference: &Reference| {
            let object = find(objects, reference)?;
            let name = format!("{}-primary", reference.name);
            let mut copy = json!({
                "apiVersion": "v1",
                "kind": reference.kind.kind(),
                "metadata": super::metadata(canary, &name, copied_labels(object, options), Map::new()),
            });
            if let Some(data) = data(object) {
                copy["data"] = Value::Object(data);
            }
            for member in ["binaryData", "type"] {
                if let Some(value) = object.get(member).filter(|value| !value.is_null()) {
                    copy[member] = value.clone();
                }
            }
            Some(copy)
        };
        self.0.keys().filter_map(copy).collect()
    }
}

/// Whether an object is one to track.
fn is_tracked(reference: &Reference, object: &Value) -> bool {
    let annotations = at(object, "/metadata/annotations");
    let disabled = annotations.and_then(|all| all.get(TRACKING)).and_then(Value::as_str);
    let kind = object.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty()).unwrap_or("Opaque");
    !disabled.is_some_and(|value| value.starts_with("disable"))
        && (reference.kind == ConfigKind::ConfigMap || TYPES.contains(&kind))
}

/// The first 8 bytes, in hex, of the SHA-256 of the data as Go prints it in JSON.
fn checksum(object: &Value) -> String {
    let data = data(object).map_or(Value::Null, Value::Object);
    let mut hash = Sha256::new();
    hash.update(go_json(&data));
    // Differs: the original does not see changes of binary data. Without any, the checksum is the same.
    if let Some(binary) = object.get("binaryData").filter(|value| value.as_object().is_some_and(|map| !map.is_empty()))
    {
        hash.update(go_json(binary));
    }
    hex::encode(&hash.finalize()[..8])
}

/// `data`, with a Secret's `stringData` written over it as an API server does.
fn data(object: &Value) -> Option<Map<String, Value>> {
    let data = object.get("data").and_then(Value::as_object);
    let text = object.get("stringData").and_then(Value::as_object);
    let encoded = text
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), json!(BASE64_STANDARD.encode(value.as_str()?)))));
    match (data, text) {
        (None, None) => None,
        (data, _) => Some(data.cloned().unwrap_or_default().into_iter().chain(encoded).collect()),
    }
}

/// JSON as Go's encoder writes it: sorted keys, and `<`, `>`, `&` and two line separators escaped.
fn go_json(value: &Value) -> String {
    let sorted = value.as_object().map(|members| members.iter().collect::<BTreeMap<_, _>>());
    let text = match sorted {
        Some(members) => serde_json::to_string(&members),
        None => serde_json::to_string(value),
    };
    let escapes =
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    escapes.iter().fold(text.unwrap_or_default(), |text, (plain, escaped)| text.replace(*plain, escaped))
}

fn find<'a>(objects: &'a [Value], reference: &Reference) -> Option<&'a Value> {
    objects
        .iter()
        .find(|object| object["kind"] == reference.kind.kind() && object["metadata"]["name"] == *reference.name)
}

/// Calls `visit` with kind, name and optionality of every config reference in a pod spec: volumes, projected volumes, and
/// the environment of containers and init containers.
fn each(spec: &mut Value, visit: &mut dyn FnMut(ConfigKind, &mut Value, bool)) {
    use ConfigKind::{ConfigMap, Secret};
    fn list<'a>(object: &'a mut Value, member: &str) -> impl Iterator<Item = &'a mut Value> {
        object.get_mut(member).and_then(Value::as_array_mut).into_iter().flatten()
    }
    let mut source = |holder: &mut Value, member: &str, name: &str, kind: ConfigKind| {
        if let Some(reference) = holder.get_mut(member).filter(|reference| reference.is_object()) {
            let optional = reference["optional"] == true;
            if let Some(name) = reference.get_mut(name) {
                visit(kind, name, optional);
            }
        }
    };
    for volume in list(spec, "volumes") {
        source(volume, "configMap", "name", ConfigMap);
        source(volume, "secret", "secretName", Secret);
        if let Some(projected) = volume.get_mut("projected") {
            for projection in list(projected, "sources") {
                source(projection, "configMap", "name", ConfigMap);
                source(projection, "secret", "name", Secret);
            }
        }
    }
    for containers in ["initContainers", "containers"] {
        for container in list(spec, containers) {
            for from in list(container, "envFrom") {
                source(from, "configMapRef", "name", ConfigMap);
                source(from, "secretRef", "name", Secret);
            }
            for variable in list(container, "env") {
                if let Some(from) = variable.get_mut("valueFrom") {
                    source(from, "configMapKeyRef", "name", ConfigMap);
                    source(from, "secretKeyRef", "name", Secret);
                }
            }
        }
    }
}
