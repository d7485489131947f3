//! What the registry is asked about single images for the rules of a policy: their digests, their platforms, when they were
//! built. Who signed them is asked in `signatures.rs`.

use std::sync::Arc;

use ::policy::{Facts, Policy, Rules, Selection, Unknown};
use api::image::{ImagePolicy, ImageRef, ImageRepository};
use jiff::Timestamp;
use reconcile::{Context, Failure, Store};

use super::{Options, numbers::Numbers, registry::Registries, repository, signatures::Trusted};
use crate::{
    Error,
    reflection::{self, Digest},
};

/// Tags whose platforms are asked for in one run.
const MAX_PLATFORMS: usize = 20;
/// Tags whose time is asked for in one run.
const MAX_CREATED: usize = 200;
/// Tags whose signatures are asked for in one run.
const MAX_SIGNATURES: usize = 20;
/// Bucket of the database that holds when images were built, by digest: a digest's time never changes.
const CREATED: &str = "image-created";

/// Asks registries about single images. Clones share what they learn.
#[derive(Clone, Debug)]
pub struct Images {
    pub(super) registries: Arc<Registries>,
    pub(super) store: Store,
}

/// On whose behalf a registry is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The policy that chooses.
    pub policy: &'a ImagePolicy,
    /// The repository whose tags it considers.
    pub repository: &'a ImageRepository,
}

impl Images {
    /// For a verb, which shares nothing with a running slipway but its store.
    pub fn new(context: &Context, options: Options) -> Self {
        let numbers = Numbers::new(&context.metrics);
        let registries = Arc::new(Registries::new(context.clone(), options, &numbers));
        Self { registries, store: context.store.clone() }
    }

    /// The tags with the verdict of the policy and of its own rules, for which registry and store are asked.
    pub async fn select<'a>(
        &self,
        asking: Asking<'_>,
        (policy, rules): (&Policy, &Rules),
        tags: &[&'a str],
        facts: &mut Facts<'_>,
    ) -> Result<Selection<'a>, Failure> {
        let trusted = match rules.signature() {
            Some(verification) => Some(
                self.trusted(asking.policy, verification)
                    .await
                    .map_err(|error| Failure::new("Failed", format!("failed to verify signatures: {error}")))?,
            ),
            None => None,
        };
        loop {
            let mut selection = policy.select(tags);
            match rules.apply(policy, &mut selection, facts) {
                None => return Ok(selection),
                Some(unknown) => self.learn(asking, trusted.as_ref(), unknown, facts).await?,
            }
        }
    }

    /// Adds what must be known to the facts.
    async fn learn(
        &self,
        asking: Asking<'_>,
        trusted: Option<&Trusted>,
        unknown: Unknown,
        facts: &mut Facts<'_>,
    ) -> Result<(), Failure> {
        let (repository, image) = (asking.repository, &asking.repository.spec.image);
        let failed = |what: &str, tag: &str, error: Error| {
            Failure::new("Failed", format!("failed fetching {what} of {image}:{tag}: {error}"))
        };
        let too_many = |text: String| Err(Failure::new("Failure", text));
        match (unknown, trusted) {
            (Unknown::Platforms(_), _) if facts.platforms.len() == MAX_PLATFORMS => {
                too_many(format!("none of the {MAX_PLATFORMS} best tags has the platforms that are asked for"))
            }
            (Unknown::Platforms(tag), _) => {
                let platforms =
                    self.platforms(repository, &tag).await.map_err(|error| failed("platforms", &tag, error))?;
                facts.platforms.insert(tag, platforms);
                Ok(())
            }
            (Unknown::Created(_), _) if facts.created.len() == MAX_CREATED => {
                too_many(format!("more than {MAX_CREATED} tags fit, too many to order by when they were built"))
            }
            (Unknown::Created(tag), _) => {
                let created =
                    self.created(repository, &tag).await.map_err(|error| failed("build time", &tag, error))?;
                facts.created.insert(tag, created);
                Ok(())
            }
            (Unknown::Signature(tag), Some(trusted)) if facts.signatures.len() < MAX_SIGNATURES => {
                let signed = self.signed(asking, trusted, &tag).await;
                facts.signatures.insert(tag.clone(), signed.map_err(|error| failed("signatures", &tag, error))?);
                Ok(())
            }
            (Unknown::Signature(_), _) => {
                let why = facts.signatures.values().find_map(|signed| signed.as_ref().err());
                let why = why.map_or(String::new(), |why| format!(": {why}"));
                too_many(format!("none of the {MAX_SIGNATURES} best tags is signed as the policy asks for{why}"))
            }
        }
    }

    /// The digest of a tag that the policy would reflect: one that is kept, else the registry's.
    pub(super) async fn reflected(&self, asking: Asking<'_>, tag: &str) -> Result<String, Error> {
        let before: Option<&ImageRef> = asking.policy.status.as_ref().and_then(|status| status.latest_ref.as_ref());
        let (how, image) = (asking.policy.spec.digest_reflection_policy, &asking.repository.spec.image);
        match reflection::digest(how, before, image, tag) {
            Digest::Kept(digest) => Ok(digest),
            Digest::Absent | Digest::LookUp => self.look_up(asking.repository, tag).await,
        }
    }

    /// Asks the registry for a tag's digest.
    pub(super) async fn look_up(&self, repository: &ImageRepository, tag: &str) -> Result<String, Error> {
        // Differs: `insecure` holds for digests too.
        let name = repository::name(repository).map_err(oci::Error::from)?;
        let opened = self.registries.open(repository, &name).await?;
        Ok(within(repository, opened.repository.digest(tag)).await?.as_str().to_owned())
    }

    /// A tag's platforms, as `os/architecture[/variant]`.
    async fn platforms(&self, repository: &ImageRepository, tag: &str) -> Result<Vec<String>, Error> {
        let name = repository::name(repository).map_err(oci::Error::from)?;
        let opened = self.registries.open(repository, &name).await?;
        let platforms = within(repository, opened.repository.platforms(tag)).await?;
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
        let created = self.config(repository, &digest).await?.and_then(|config| config.created).unwrap_or_default();
        if let Err(error) = database.note(CREATED, &digest, created.as_bytes()).await {
            tracing::debug!(%error, "when an image was built is not remembered");
        }
        Ok(created.parse().ok())
    }

    /// The configuration of an image, of its first platform.
    pub(super) async fn config(
        &self,
        repository: &ImageRepository,
        digest: &str,
    ) -> Result<Option<oci::manifest::Config>, Error> {
        let name = repository::name(repository).map_err(oci::Error::from)?;
        let opened = self.registries.open(repository, &name).await?;
        within(repository, opened.repository.config(digest)).await
    }
}

/// The registry's answer, within the time that the repository gives it.
pub(super) async fn within<T>(
    repository: &ImageRepository,
    answer: impl Future<Output = oci::Result<T>>,
) -> Result<T, Error> {
    let limit = repository.spec.timeout();
    let answer = tokio::time::timeout(limit, answer).await;
    Ok(answer.map_err(|_| Error::Timeout(api::Duration(limit)))??)
}
