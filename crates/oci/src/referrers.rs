//! What refers to an image without being part of it: signatures, attestations.
//! Source: OCI distribution 1.1, "Listing Referrers" and "Unavailable Referrers API"; cosign's `SIGNATURE_SPEC.md`.

use http::{StatusCode, header};

use crate::{
    Digest, Error, Repository, Result,
    client::Call,
    manifest::{Descriptor, INDEX, Index, Manifest},
    repository::{Actions, MANIFEST_LIMIT_BYTES},
};

impl Repository {
    /// The artifacts of that type, or of one that goes on after it, which refer to the image. A registry that cannot list
    /// them has an index under a tag that is made of the digest.
    pub async fn referrers(&self, digest: &Digest, artifact_type: &str) -> Result<Vec<Descriptor>> {
        let listed = self.client.retrying(|| self.referrers_answer(digest)).await?;
        let index = match listed {
            Some(index) => index,
            None => match self.document_if_any(&digest.as_str().replace(':', "-")).await? {
                Some(document) => document.content,
                None => return Ok(Vec::new()),
            },
        };
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| Error::Unsupported(format!("what refers to {digest} is unreadable: {error}")))?;
        let is_meant = |entry: &Descriptor| {
            let kind = entry.artifact_type.as_deref().unwrap_or_default();
            kind.starts_with(artifact_type)
        };
        Ok(index.manifests.into_iter().filter(is_meant).collect())
    }

    /// The manifest that a tag or digest points at, if there is one. An index has no layers and is no manifest.
    pub async fn manifest_if_any(&self, reference: &str) -> Result<Option<Manifest>> {
        let Some(document) = self.document_if_any(reference).await? else { return Ok(None) };
        let manifest = serde_json::from_slice(&document.content);
        manifest.map(Some).map_err(|error| Error::Unsupported(format!("manifest {reference} is unreadable: {error}")))
    }

    async fn document_if_any(&self, reference: &str) -> Result<Option<crate::repository::Document>> {
        match self.document(reference).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The registry's list; none if it keeps none.
    async fn referrers_answer(&self, digest: &Digest) -> Result<Option<bytes::Bytes>> {
        let mut call = Call::get(self.url(&format!("referrers/{digest}")).await?);
        call.headers.insert(header::ACCEPT, header::HeaderValue::from_static(INDEX));
        let answer = self.send(Actions::Pull, call).await?;
        let kind = answer.response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
        let is_index = kind.is_some_and(|kind| kind.starts_with(INDEX.as_bytes()));
        // Some that do not know the question answer with a page for people.
        match answer.response.status().as_u16() {
            200 if !is_index => return Ok(None),
            400 | 404 | 405 | 406 | 501 => return Ok(None),
            _ => {}
        }
        let (_, body) = answer.expect(&[StatusCode::OK]).await?.collect(MANIFEST_LIMIT_BYTES).await?;
        Ok(Some(body))
    }
}
