//! Objects in the files that one-shot verbs are given; every error names file and line.

use anyhow::{anyhow, bail};
use api::manifest;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// All objects of a file that are of this kind.
pub fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<Vec<K>> {
    let text = super::read(file)?;
    let mut found = Vec::new();
    for document in manifest::documents(&text) {
        let document = document.map_err(|error| anyhow!("{file}: {error}"))?;
        let kind = document.object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == K::kind(&()) {
            let object = manifest::typed(&document.object);
            found.push(object.map_err(|problem| anyhow!("{file}: line {}: {problem}", document.line))?);
        }
    }
    Ok(found)
}

/// The one object of this kind in a file.
pub fn one<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<K> {
    let mut found = all::<K>(file)?;
    match (found.pop(), found.is_empty()) {
        (Some(object), true) => Ok(object),
        (Some(_), false) => bail!("{file} holds several objects of kind {}; one is expected", K::kind(&())),
        (None, _) => bail!("{file} holds no object of kind {}", K::kind(&())),
    }
}
