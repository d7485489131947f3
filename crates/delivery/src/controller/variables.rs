//! The variables of a Kustomization: from ConfigMaps and Secrets, and from the manifest itself.
//!
//! Source: reference delivery.md section 5.4.

use std::collections::BTreeMap;

use api::kustomize::{Kustomization, SubstituteReference, SubstituteStrategy};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use reconcile::Store;

use crate::substitute::{self, Variables};

/// The variables, or none where nothing is to be replaced.
pub(super) async fn read(store: &Store, kustomization: &Kustomization) -> Result<Option<Variables>, String> {
    let Some(post_build) = &kustomization.spec.post_build else { return Ok(None) };
    let namespace = kustomization.namespace().unwrap_or_default();
    let mut sources = Vec::new();
    for reference in &post_build.substitute_from {
        sources.extend(source(store, &namespace, reference).await?);
    }
    sources.push(post_build.substitute.clone());
    let variables = substitute::variables(sources)?;
    let always = post_build.substitute_strategy == Some(SubstituteStrategy::Always);
    Ok((always || !variables.is_empty()).then_some(variables))
}

/// The data of one ConfigMap or Secret; none if it is missing and may be.
async fn source(
    store: &Store,
    namespace: &str,
    reference: &SubstituteReference,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let (kind, name) = (&reference.kind, &reference.name);
    let failed = |problem: String| format!("substitute from '{kind}/{name}' error: {problem}");
    let data = match kind.as_str() {
        "ConfigMap" => {
            let found = store.get::<ConfigMap>(namespace, name).await.map_err(|error| failed(error.to_string()))?;
            found.map(|found| found.data.unwrap_or_default())
        }
        "Secret" => {
            let found = store.get::<Secret>(namespace, name).await.map_err(|error| failed(error.to_string()))?;
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let data = found.map(|found| found.data.unwrap_or_default());
            data.map(|data| data.into_iter().map(|(key, value)| (key, text(value.0))).collect())
        }
        _ => return Err(failed("the kind is neither ConfigMap nor Secret".into())),
    };
    match data {
        None if !reference.optional => Err(failed("not found".into())),
        data => Ok(data),
    }
}
