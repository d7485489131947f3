//! For which machines there is an image behind a tag.

use std::fmt;

use serde::Deserialize;

use crate::{
    Error, Repository, Result,
    manifest::{Config, Descriptor, Manifest, Platform},
    repository::CONFIG_LIMIT_BYTES,
};

/// What tells an index from a manifest.
#[derive(Deserialize)]
struct Entries {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Repository {
    /// The platforms that a tag or digest has an image for. Entries of an index for no platform, such as attestations,
    /// do not count.
    pub async fn platforms(&self, reference: &str) -> Result<Vec<Platform>> {
        let document = self.document(reference).await?;
        let unreadable = |error: serde_json::Error| {
            Error::Unsupported(format!("manifest {} is unreadable: {error}", document.digest))
        };
        let entries: Entries = serde_json::from_slice(&document.content).map_err(unreadable)?;
        if let Some(entries) = entries.manifests {
            let platforms = entries.into_iter().filter_map(|entry| entry.platform);
            return Ok(platforms.filter(|platform| platform.os != "unknown").collect());
        }
        let manifest: Manifest = serde_json::from_slice(&document.content).map_err(unreadable)?;
        let config = self.blob_bytes(&manifest.config, CONFIG_LIMIT_BYTES).await?;
        let Config { os, architecture, variant, .. } = serde_json::from_slice(&config).map_err(unreadable)?;
        Ok(vec![Platform { os, architecture, variant }])
    }

    /// The image's configuration; of the first platform if there are several.
    pub async fn config(&self, reference: &str) -> Result<Option<Config>> {
        match self.platforms(reference).await?.first() {
            Some(platform) => Ok(Some(self.image(reference, platform).await?.config)),
            None => Ok(None),
        }
    }
}

impl fmt::Display for Platform {
    /// `linux/amd64`, `linux/arm/v7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}
