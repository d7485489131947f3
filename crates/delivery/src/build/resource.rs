//! The objects of a build on their way: where each came from, and what it was called before.

use std::{collections::BTreeMap, fmt};

use api::manifest;
use serde_json::Value;

use super::{BuildError, metadata::Builtin};
use crate::scope;

/// What tells objects apart within a build. Source: kustomize 5.8 `kyaml/resid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Id {
    /// The identity an object in JSON form carries; missing parts are empty.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }

    /// The namespace that counts: none for kinds without one, `default` where none is written.
    pub fn effective_namespace(&self) -> &str {
        match self.namespace.as_str() {
            _ if scope::is_cluster_scoped(&self.kind) => "",
            "" => "default",
            namespace => namespace,
        }
    }

    /// Whether both mean the same object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && self.group == other.group
            && self.version == other.version
            && self.effective_namespace() == other.effective_namespace()
    }
}

impl fmt::Display for Id {
    /// `Kind.version.group/name.namespace` with `[noGrp]` and the like for what is missing, as kustomize prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &str, missing: &'static str| if text.is_empty() { missing.to_owned() } else { text.to_owned() };
        let (kind, version, group) =
            (or(&self.kind, "[noKind]"), or(&self.version, "[noVer]"), or(&self.group, "[noGrp]"));
        write!(f, "{kind}.{version}.{group}/{}.{}", or(&self.name, "[noName]"), or(&self.namespace, "[noNs]"))
    }
}

/// One object of the build.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// The object; always a JSON object with `metadata`.
    pub object: Value,
    /// File it was read from, below the root.
    pub file: String,
    /// Line of that file.
    pub line: usize,
    /// Identities it had before transformers changed them, oldest first.
    pub previous: Vec<Id>,
    /// Identity it had when the transformers of the current level began.
    pub entry: Id,
    /// Whether a hash of its content is to be put behind its name.
    pub needs_hash: bool,
    /// The generator that made it, if none of the files did.
    pub generated: Option<Builtin>,
    /// The transformers that it went through, if that is asked for.
    pub transformations: Vec<Builtin>,
}

impl Resource {
    /// An object as it is written.
    pub fn new(object: Value, file: &str, line: usize) -> Self {
        let entry = Id::of(&object);
        let (previous, transformations) = Default::default();
        let (file, needs_hash, generated) = (file.to_owned(), false, None);
        Self { object, file, line, previous, entry, needs_hash, generated, transformations }
    }

    /// Its identity now.
    pub fn id(&self) -> Id {
        Id::of(&self.object)
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.object.get("kind").and_then(Value::as_str).unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// All identities it has or had.
    pub fn identities(&self) -> Vec<Id> {
        let mut identities = self.previous.clone();
        identities.push(self.id());
        identities
    }

    /// Remembers the identity it has now; called before something changes it.
    pub fn remember(&mut self) {
        let id = self.id();
        if self.previous.last() != Some(&id) {
            self.previous.push(id);
        }
    }
}

/// The objects of a manifest file, in its order.
pub(crate) fn read(file: &str, content: &[u8]) -> Result<Vec<Resource>, BuildError> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let line = content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        BuildError::at(file, line, "it is not UTF-8 text")
    })?;
    let mut resources = Vec::new();
    for document in manifest::documents(text) {
        let document = document.map_err(|error| BuildError::at(file, error.line, error.message))?;
        check(&document.object).map_err(|(field, problem)| BuildError {
            file: file.to_owned(),
            line: Some(document.place.line),
            field: Some(field.to_owned()),
            problem: problem.to_owned(),
        })?;
        resources.push(Resource::new(document.object, file, document.place.line));
    }
    Ok(resources)
}

/// Whether the object has what every Kubernetes object has; the error names the field.
fn check(object: &Value) -> Result<(), (&'static str, &'static str)> {
    for (field, pointer) in [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")] {
        match object.pointer(pointer) {
            None | Some(Value::Null) => return Err((field, "it is missing: a Kubernetes object is expected")),
            Some(Value::String(text)) if text.is_empty() => return Err((field, "it is empty")),
            Some(Value::String(_)) => {}
            Some(_) => return Err((field, "a text is expected")),
        }
    }
    for (field, pointer) in [("metadata.labels", "/metadata/labels"), ("metadata.annotations", "/metadata/annotations")]
    {
        match object.pointer(pointer) {
            None | Some(Value::Null) => {}
            Some(Value::Object(pairs)) if pairs.values().all(Value::is_string) => {}
            Some(_) => return Err((field, "texts by name are expected: quote numbers and booleans")),
        }
    }
    match object.pointer("/metadata/namespace") {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(_) => Err(("metadata.namespace", "a text is expected")),
    }
}

/// Refuses two objects with the same identity; the error names where the second one is.
/// Source: kustomize 5.8 `resmap.Append`.
pub(crate) fn check_unique(resources: &[Resource]) -> Result<(), BuildError> {
    let mut seen = BTreeMap::new();
    for resource in resources {
        let id = resource.id();
        let namespace = id.effective_namespace().to_owned();
        let key = (id.group.clone(), id.version.clone(), id.kind.clone(), namespace, id.name.clone());
        if let Some(first) = seen.insert(key, &resource.file) {
            let problem = format!("may not add resource with an already registered id: {id} (also in {first})");
            return Err(BuildError::at(&resource.file, resource.line, problem));
        }
    }
    Ok(())
}
