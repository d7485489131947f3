//! `configMapGenerator` and `secretGenerator`: objects from literals and files, and the hash behind their names.
//!
//! Source: kustomize 5.8 `api/internal/generators`, `api/hasher`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    BuildError,
    kustomization::{Generator, GeneratorOptions},
    metadata::Builtin,
    resource::Resource,
};
use crate::tree::{self, Tree};

/// The object that a generator makes. `field` names the generator in messages.
pub(crate) fn generate(
    tree: &Tree,
    file: &str,
    field: &str,
    kind: &str,
    generator: &Generator,
    defaults: Option<&GeneratorOptions>,
) -> Result<Resource, BuildError> {
    let refuse = |problem: String| BuildError::in_field(file, field, problem);
    if generator.name.is_empty() {
        return Err(refuse("a name is missing".into()));
    }
    if !matches!(generator.behavior.as_str(), "" | "create" | "unspecified" | "merge" | "replace") {
        return Err(refuse(format!("behavior {:?} is none of create, merge, replace", generator.behavior)));
    }
    let data = content(tree, tree::parent(file), generator).map_err(refuse)?;
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": generator.name}});
    if !generator.namespace.is_empty() {
        object["metadata"]["namespace"] = generator.namespace.as_str().into();
    }
    fill(&mut object, kind, generator, data);
    let own = generator.options.clone().unwrap_or_default();
    let shared = defaults.cloned().unwrap_or_default();
    for (field, shared, own) in
        [("labels", &shared.labels, &own.labels), ("annotations", &shared.annotations, &own.annotations)]
    {
        let pairs: BTreeMap<_, _> = shared.iter().chain(own).collect();
        if !pairs.is_empty() {
            object["metadata"][field] = json!(pairs);
        }
    }
    if shared.immutable || own.immutable {
        object["immutable"] = true.into();
    }
    let needs_hash = !(shared.disable_name_suffix_hash || own.disable_name_suffix_hash);
    let maker = if kind == "Secret" { "SecretGenerator" } else { "ConfigMapGenerator" };
    let generated = Some(Builtin { kind: maker, configured_in: file.to_owned() });
    Ok(Resource { needs_hash, generated, ..Resource::new(object, file, 1) })
}

/// Adds a generated object, or brings it into the one of its name as the generator's behavior says.
pub(crate) fn add(resources: &mut Vec<Resource>, made: Resource, generator: &Generator) -> Result<(), String> {
    if !matches!(generator.behavior.as_str(), "merge" | "replace") {
        resources.push(made);
        return Ok(());
    }
    let id = made.id();
    let named = |resource: &&mut Resource| resource.identities().iter().any(|identity| identity.is_same(&id));
    let existing = resources.iter_mut().find(named);
    let existing = existing.ok_or_else(|| format!("id {id} does not exist; cannot merge or replace"))?;
    for field in ["data", "binaryData"] {
        let new = made.object.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let old = existing.object.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let kept = if generator.behavior == "merge" { old } else { Map::new() };
        let all: Map<_, _> = kept.into_iter().chain(new).collect();
        match (existing.object.as_object_mut(), all.is_empty()) {
            (Some(object), true) => drop(object.remove(field)),
            (Some(object), false) => drop(object.insert(field.into(), all.into())),
            (None, _) => {}
        }
    }
    existing.needs_hash |= made.needs_hash;
    Ok(())
}

/// Puts the values in: texts as `data`, bytes as `binaryData`, everything in base64 for a Secret.
fn fill(object: &mut Value, kind: &str, generator: &Generator, data: BTreeMap<String, Vec<u8>>) {
    if kind == "Secret" {
        let secret_type = if generator.secret_type.is_empty() { "Opaque" } else { &generator.secret_type };
        object["type"] = secret_type.into();
        let data: Map<_, _> = data.into_iter().map(|(key, value)| (key, base64(&value).into())).collect();
        if !data.is_empty() {
            object["data"] = data.into();
        }
        return;
    }
    for (key, value) in data {
        match String::from_utf8(value) {
            Ok(text) => object["data"][key] = text.into(),
            Err(bytes) => object["binaryData"][key] = base64(bytes.as_bytes()).into(),
        }
    }
}

/// Keys and values of a generator: literals, files, environment files. A key given twice is an error.
fn content(tree: &Tree, directory: &str, generator: &Generator) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let read = |path: &str| {
        let path = tree::join(directory, path).ok_or_else(|| format!("{path:?} is outside the source"))?;
        tree.read(&path).ok_or_else(|| format!("{path} does not exist"))
    };
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    for path in generator.envs.iter().chain(Some(&generator.env).filter(|env| !env.is_empty())) {
        let text = std::str::from_utf8(read(path)?).map_err(|_| format!("{path} is not UTF-8 text"))?;
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').ok_or_else(|| format!("{path}: {line:?} is not key=value"))?;
            pairs.push((key.to_owned(), value.as_bytes().to_vec()));
        }
    }
    for literal in &generator.literals {
        let (key, value) = literal.split_once('=').ok_or_else(|| format!("literal {literal:?} is not key=value"))?;
        pairs.push((key.to_owned(), unquoted(value).as_bytes().to_vec()));
    }
    for source in &generator.files {
        let (key, path) = source.split_once('=').unwrap_or((tree::file_name(source), source));
        pairs.push((key.to_owned(), read(path)?.to_vec()));
    }
    let mut data = BTreeMap::new();
    for (key, value) in pairs {
        if data.insert(key.clone(), value).is_some() {
            return Err(format!("cannot add key {key:?}, another key by that name already exists"));
        }
    }
    Ok(data)
}

/// A literal without the quotes around it.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Puts the hash of its content behind the name of every object that asks for it.
pub(crate) fn add_hashes(resources: &mut [Resource]) {
    for resource in resources.iter_mut().filter(|resource| resource.needs_hash) {
        resource.remember();
        let name = format!("{}-{}", resource.name(), hash(&resource.object));
        resource.object["metadata"]["name"] = name.into();
        resource.needs_hash = false;
    }
}

/// Ten characters that stand for the content. Source: reference delivery.md section 2.1; the name does not count.
fn hash(object: &Value) -> String {
    let mut content = Map::new();
    if let Some(binary) = object.get("binaryData") {
        content.insert("binaryData".into(), binary.clone());
    }
    content.insert("data".into(), object.get("data").cloned().unwrap_or_else(|| "".into()));
    content.insert("kind".into(), object["kind"].clone());
    content.insert("name".into(), "".into());
    if object["kind"] == "Secret" {
        content.insert("type".into(), object["type"].clone());
    }
    // Go's JSON escapes these three; the hash is over the text.
    let text = Value::Object(content).to_string();
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let digits = hex::encode(Sha256::digest(text.as_bytes()));
    let letter = |digit| match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    digits.chars().take(10).map(letter).collect()
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_kustomizes() {
        // Source: `kubectl kustomize` 5.5.0 on a configMapGenerator with the literal a=b.
        assert_eq!(hash(&json!({"kind": "ConfigMap", "data": {"a": "b"}})), "4h2mbtbbt6");
    }
}
