//! The keys that a Kustomization's encrypted objects are decrypted with.
//!
//! Source: reference delivery.md section 5.10.

use api::kustomize::Kustomization;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::Store;

use crate::decrypt::Keys;

/// The keys, or none where nothing is to be decrypted.
pub(super) async fn read(store: &Store, kustomization: &Kustomization) -> Result<Option<Keys>, String> {
    let Some(decryption) = &kustomization.spec.decryption else { return Ok(None) };
    let Some(reference) = &decryption.secret_ref else { return Ok(Some(Keys::default())) };
    let id = format!("{}/{}", kustomization.namespace().unwrap_or_default(), reference.name);
    let failed = |problem: String| format!("cannot get decryption Secret '{id}': {problem}");
    let secret = store.get::<Secret>(&kustomization.namespace().unwrap_or_default(), &reference.name).await;
    let secret = secret.map_err(|error| failed(error.to_string()))?.ok_or_else(|| failed("not found".into()))?;
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    Keys::new(&data).map(Some).map_err(|error| failed(error.to_string()))
}
