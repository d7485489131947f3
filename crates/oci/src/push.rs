//! Pushing: blobs first, then the manifest that names them. Used by `slipway demo` and by tests.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use crate::{Digest, Error, Repository, Result, client::Call, image::Packed, repository::Actions};

impl Repository {
    /// Uploads a blob unless the repository has it.
    pub async fn push_blob(&self, content: &Bytes) -> Result<Digest> {
        let digest = Digest::of(content);
        self.client.retrying(|| self.push_blob_once(&digest, content)).await?;
        Ok(digest)
    }

    async fn push_blob_once(&self, digest: &Digest, content: &Bytes) -> Result<()> {
        let probe = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}")).await?);
        if self.send(Actions::Push, probe).await?.response.status() == StatusCode::OK {
            return Ok(());
        }
        let start = Call::new(Method::POST, self.url("blobs/uploads/").await?);
        let answer = self.send(Actions::Push, start).await?.expect(&[StatusCode::ACCEPTED]).await?;
        let location = answer.response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let mut url = location
            .and_then(|location| answer.url.join(location).ok())
            .ok_or_else(|| Error::protocol(&answer.request, "no address for the upload"))?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut upload = Call::new(Method::PUT, url);
        upload.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        upload.body = content.clone();
        self.send(Actions::Push, upload).await?.expect(&[StatusCode::CREATED]).await?;
        Ok(())
    }

    /// Stores a manifest or index under a tag or its digest.
    pub async fn push_manifest(&self, reference: &str, media_type: &'static str, content: &Bytes) -> Result<Digest> {
        self.client
            .retrying(|| async {
                let mut call = Call::new(Method::PUT, self.url(&format!("manifests/{reference}")).await?);
                call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
                call.body = content.clone();
                self.send(Actions::Push, call)
                    .await?
                    .expect(&[StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED])
                    .await
            })
            .await?;
        Ok(Digest::of(content))
    }

    /// Pushes an image under a tag.
    pub async fn push_image(&self, tag: &str, image: &Packed) -> Result<Digest> {
        for blob in image.layers.iter().chain([&image.config]) {
            self.push_blob(blob).await?;
        }
        self.push_manifest(tag, crate::manifest::MANIFEST, &image.manifest).await
    }
}
