//! Patches: which objects they mean, JSON patch operations, and strategic merge.
//!
//! Source: kustomize 5.8 `PatchTransformer`; RFC 6902; Kubernetes strategic merge patch.

use api::{kustomize::Selector, manifest};
use regex::Regex;
use serde_json::Value;

use super::{
    BuildError,
    kustomization::{PatchOptions, PatchRule},
    merge, operations,
    resource::{Id, Resource},
    selector,
};

/// Where a patch is written, for messages.
pub(crate) struct Place<'a> {
    /// The file with the patch.
    pub file: &'a str,
    /// The field of that file: `patches[0]`.
    pub field: String,
}

impl Place<'_> {
    fn error(&self, problem: impl Into<String>) -> BuildError {
        BuildError::in_field(self.file, &self.field, problem)
    }
}

/// Applies the documents of one patch text, with the rule's target if it has one.
pub(crate) fn apply(
    resources: &mut Vec<Resource>,
    rule: &PatchRule,
    text: &str,
    place: &Place<'_>,
) -> Result<(), BuildError> {
    let documents = parse(text).map_err(|problem| place.error(problem))?;
    if documents.is_empty() {
        return Err(place.error("the patch is empty"));
    }
    for document in documents {
        let indexes = match (&rule.target, &document) {
            (Some(target), _) => select(resources, target).map_err(|problem| place.error(problem))?,
            (None, Value::Array(_)) => return Err(place.error("must specify a target for JSON patch")),
            (None, document) => vec![unique(resources, document).map_err(|problem| place.error(problem))?],
        };
        apply_document(resources, &indexes, &document, rule.options).map_err(|problem| place.error(problem))?;
    }
    Ok(())
}

/// The documents of a patch: one list of operations (YAML or JSON), or objects.
fn parse(text: &str) -> Result<Vec<Value>, String> {
    if let Ok(Value::Array(operations)) = manifest::parse(text) {
        return Ok(vec![Value::Array(operations)]);
    }
    manifest::documents(text)
        .into_iter()
        .map(|document| document.map(|document| document.object).map_err(|error| error.to_string()))
        .collect()
}

/// Changes the chosen objects. Highest index first, so that a deletion moves none of those still to come.
fn apply_document(
    resources: &mut Vec<Resource>,
    indexes: &[usize],
    document: &Value,
    options: PatchOptions,
) -> Result<(), String> {
    for &index in indexes.iter().rev() {
        let resource = &mut resources[index];
        resource.remember();
        if let Value::Array(list) = document {
            operations::apply(&mut resource.object, list)?;
            operations::check_shape(&resource.object)?;
            continue;
        }
        if document.get("$patch").and_then(Value::as_str) == Some("delete") {
            resources.remove(index);
            continue;
        }
        let kept = resource.object.clone();
        merge::strategic(&mut resource.object, document);
        restore(&mut resource.object, &kept, options);
        operations::check_shape(&resource.object)?;
    }
    Ok(())
}

/// Puts back what a merge patch may not change: the kind, the name and the namespace, unless the options allow it.
fn restore(object: &mut Value, kept: &Value, options: PatchOptions) {
    if !options.allow_kind_change {
        for field in ["apiVersion", "kind"] {
            object[field] = kept[field].clone();
        }
    }
    if !options.allow_name_change {
        let namespace = kept.pointer("/metadata/namespace").cloned();
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.insert("name".into(), kept["metadata"]["name"].clone());
            match namespace {
                Some(namespace) => metadata.insert("namespace".into(), namespace),
                None => metadata.remove("namespace"),
            };
        }
    }
}

/// The one object that a patch without target names, by an identity it has or had.
fn unique(resources: &[Resource], document: &Value) -> Result<usize, String> {
    let id = Id::of(document);
    let mut found = resources
        .iter()
        .enumerate()
        .filter(|(_, resource)| resource.identities().iter().any(|identity| identity.is_same(&id)))
        .map(|(index, _)| index);
    let first =
        found.next().ok_or_else(|| format!("no resource matches strategic merge patch {:?}", id.to_string()))?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(format!("multiple matches for Id {id}")),
    }
}

/// Indexes of the objects that a target selects. Source: kustomize 5.8 `resmap.Select`.
pub(crate) fn select(resources: &[Resource], target: &Selector) -> Result<Vec<usize>, String> {
    let pattern = |text: &Option<String>| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => Regex::new(&format!("^(?:{text})$")).map(Some).map_err(|_| format!("invalid pattern {text:?}")),
    };
    let parts = [&target.group, &target.version, &target.kind, &target.namespace, &target.name];
    let patterns = parts.map(pattern).into_iter().collect::<Result<Vec<_>, _>>()?;
    let labels = selector::parse(target.label_selector.as_deref().unwrap_or_default())?;
    let annotations = selector::parse(target.annotation_selector.as_deref().unwrap_or_default())?;
    let matches = |id: &Id| {
        let texts = [&id.group, &id.version, &id.kind, &id.namespace, &id.name];
        patterns.iter().zip(texts).all(|(pattern, text)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text)))
    };
    Ok(resources
        .iter()
        .enumerate()
        .filter(|(_, resource)| {
            resource.identities().iter().any(matches)
                && selector::matches(&labels, resource.object.pointer("/metadata/labels"))
                && selector::matches(&annotations, resource.object.pointer("/metadata/annotations"))
        })
        .map(|(index, _)| index)
        .collect())
}
