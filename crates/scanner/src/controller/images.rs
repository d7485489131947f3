//! What the registry is asked about single images for the rules of a policy: their platforms, and when they were built.

use ::policy::{Facts, Unknown};
use api::image::ImageRepository;
use jiff::Timestamp;
use reconcile::Failure;

use super::{policy::Policies, repository};
use crate::Error;

/// Tags whose platforms are asked for in one run.
const MAX_PLATFORMS: usize = 20;
/// Tags whose time is asked for in one run.
const MAX_CREATED: usize = 200;
/// Bucket of the database that holds when images were built, by digest: a digest's time never changes.
const CREATED: &str = "image-created";

impl Policies {
    /// Adds what must be known to the facts.
    pub(super) async fn learn(
        &self,
        repository: &ImageRepository,
        unknown: Unknown,
        facts: &mut Facts<'_>,
    ) -> Result<(), Failure> {
        let image = &repository.spec.image;
        let failed = |what: &str, tag: &str, error: Error| {
            Failure::new("Failed", format!("failed fetching {what} of {image}:{tag}: {error}"))
        };
        match unknown {
            Unknown::Platforms(_) if facts.platforms.len() == MAX_PLATFORMS => {
                let text = format!("none of the {MAX_PLATFORMS} best tags has the platforms that are asked for");
                Err(Failure::new("Failure", text))
            }
            Unknown::Platforms(tag) => {
                let platforms =
                    self.platforms(repository, &tag).await.map_err(|error| failed("platforms", &tag, error))?;
                facts.platforms.insert(tag, platforms);
                Ok(())
            }
            Unknown::Created(_) if facts.created.len() == MAX_CREATED => {
                let text = format!("more than {MAX_CREATED} tags fit, too many to order by when they were built");
                Err(Failure::new("Failure", text))
            }
            Unknown::Created(tag) => {
                let created =
                    self.created(repository, &tag).await.map_err(|error| failed("build time", &tag, error))?;
                facts.created.insert(tag, created);
                Ok(())
            }
        }
    }

    /// A tag's platforms, as `os/architecture[/variant]`.
    async fn platforms(&self, repository: &ImageRepository, tag: &str) -> Result<Vec<String>, Error> {
        let name = repository::name(repository).map_err(oci::Error::from)?;
        let opened = self.registries.open(repository, &name).await?;
        let limit = repository.spec.timeout();
        let platforms = tokio::time::timeout(limit, opened.repository.platforms(tag)).await;
        let platforms = platforms.map_err(|_| Error::Timeout(api::Duration(limit)))??;
        Ok(platforms.iter().map(ToString::to_string).collect())
    }

    /// When the image of a tag was built; none if it does not say. The image is read once for each digest.
    async fn created(&self, repository: &ImageRepository, tag: &str) -> Result<Option<Timestamp>, Error> {
        let digest = self.look_up(repository, tag).await?;
        let database = self.store.database();
        // A record that cannot be read costs a request.
        let known = database.read(CREATED, &digest).await.unwrap_or_default();
        if let Some(known) = known.and_then(|known| String::from_utf8(known).ok()) {
            return Ok(known.parse().ok());
        }
        let name = repository::name(repository).map_err(oci::Error::from)?;
        let opened = self.registries.open(repository, &name).await?;
        let limit = repository.spec.timeout();
        let created = tokio::time::timeout(limit, opened.repository.created(&digest)).await;
        let created = created.map_err(|_| Error::Timeout(api::Duration(limit)))??.unwrap_or_default();
        if let Err(error) = database.note(CREATED, &digest, created.as_bytes()).await {
            tracing::debug!(%error, "when an image was built is not remembered");
        }
        Ok(created.parse().ok())
    }
}
