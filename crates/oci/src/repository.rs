//! What can be read from one repository: digests, manifests, configurations, blobs. Tags are in `listing.rs`.

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    Client, Credential, Digest, Error, Name, Result,
    challenge::Demand,
    client::{Answer, Call, Door},
    manifest::{self, Config, Descriptor, Index, Manifest, Platform},
    token::Wanted,
};

/// As much as OCI distribution asks registries to take.
pub(crate) const MANIFEST_LIMIT_BYTES: usize = 4 << 20;
pub(crate) const CONFIG_LIMIT_BYTES: u64 = 8 << 20;
const MAX_INDEX_DEPTH: usize = 3;

/// A repository in a registry, entered with a credential or without.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) client: Client,
    pub(crate) name: Name,
    pub(crate) credential: Option<Credential>,
}

/// What a token must allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actions {
    Pull,
    Push,
}

/// A manifest or index as stored, with its verified digest.
#[derive(Clone, Debug)]
pub struct Document {
    /// The digest of `content`.
    pub digest: Digest,
    /// The media type that the registry gives.
    pub media_type: String,
    /// The bytes.
    pub content: Bytes,
}

/// An image picked for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest that was asked for or that the tag points at: of the index, if there is one.
    pub digest: Digest,
    /// The manifest for the platform.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: Config,
}

impl Repository {
    /// The repository's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The digest that a tag points at: of the index for an image with several platforms.
    pub async fn digest(&self, reference: &str) -> Result<Digest> {
        let answer = self.client.retrying(|| self.manifest_answer(Method::HEAD, reference)).await;
        match answer.and_then(|answer| content_digest(&answer)) {
            Ok(Some(digest)) => Ok(digest),
            Ok(None) => Ok(self.document(reference).await?.digest),
            // A registry may not know HEAD; the GET tells whether the tag is there.
            Err(error) if error.status().is_some_and(|status| matches!(status.as_u16(), 405 | 501)) => {
                Ok(self.document(reference).await?.digest)
            }
            Err(error) => Err(error),
        }
    }

    /// The manifest or index that a tag or digest points at.
    pub async fn document(&self, reference: &str) -> Result<Document> {
        self.client.retrying(|| self.document_once(reference)).await
    }

    async fn document_once(&self, reference: &str) -> Result<Document> {
        let answer = self.manifest_answer(Method::GET, reference).await?;
        let promised = Digest::parse(reference).or(content_digest(&answer)?);
        let media_type = answer
            .response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let (_, content) = answer.collect(MANIFEST_LIMIT_BYTES).await?;
        let digest = Digest::of(&content);
        match promised {
            Some(promised) if promised != digest => Err(Error::Mismatch {
                what: format!("manifest {reference} of {}", self.name),
                expected: promised.to_string(),
                actual: digest.to_string(),
            }),
            _ => Ok(Document { digest, media_type, content }),
        }
    }

    async fn manifest_answer(&self, method: Method, reference: &str) -> Result<Answer> {
        if Digest::parse(reference).is_none() && !crate::reference::is_tag(reference) {
            return Err(Error::Unsupported(format!("{reference:?} is neither a tag nor a sha256 digest")));
        }
        let mut call = Call::new(method, self.url(&format!("manifests/{reference}")).await?);
        call.headers.insert(
            header::ACCEPT,
            HeaderValue::from_str(&manifest::ACCEPTED.join(", ")).expect("because media types are plain ASCII"),
        );
        self.send(Actions::Pull, call).await?.expect(&[StatusCode::OK]).await
    }

    /// The image that a tag or digest points at, for one platform.
    pub async fn image(&self, reference: &str, platform: &Platform) -> Result<Image> {
        let mut document = self.document(reference).await?;
        let digest = document.digest.clone();
        for _ in 0..MAX_INDEX_DEPTH {
            match pick(&document, platform)? {
                Picked::Manifest(manifest) => {
                    let config = self.blob_bytes(&manifest.config, CONFIG_LIMIT_BYTES).await?;
                    let config = serde_json::from_slice(&config).map_err(|error| {
                        Error::Unsupported(format!(
                            "the configuration of {}@{digest} is unreadable: {error}",
                            self.name
                        ))
                    })?;
                    return Ok(Image { digest, manifest: *manifest, config });
                }
                Picked::Entry(entry) => document = self.document(entry.as_str()).await?,
                Picked::Nothing => {
                    return Err(Error::Unsupported(format!(
                        "{}@{digest} has no image for {}/{}",
                        self.name, platform.os, platform.architecture
                    )));
                }
            }
        }
        Err(Error::Unsupported(format!("{}@{digest} nests more than {MAX_INDEX_DEPTH} indexes", self.name)))
    }

    /// A blob, streamed. The stream ends with an error unless exactly the promised bytes came.
    pub async fn blob(&self, blob: &Descriptor) -> Result<BoxStream<'static, Result<Bytes>>> {
        let answer = self.client.retrying(|| self.blob_answer(blob)).await?;
        Ok(verified(answer, blob.clone()))
    }

    /// A small blob as a whole, verified.
    pub async fn blob_bytes(&self, blob: &Descriptor, limit_bytes: u64) -> Result<Bytes> {
        if blob.size > limit_bytes {
            return Err(Error::Unsupported(format!(
                "blob {} of {} has {} bytes, more than {limit_bytes}",
                blob.digest, self.name, blob.size
            )));
        }
        self.client
            .retrying(|| async {
                let mut chunks = verified(self.blob_answer(blob).await?, blob.clone());
                let mut whole = Vec::new();
                while let Some(chunk) = chunks.next().await {
                    whole.extend_from_slice(&chunk?);
                }
                Ok(whole.into())
            })
            .await
    }

    async fn blob_answer(&self, blob: &Descriptor) -> Result<Answer> {
        let call = Call::get(self.url(&format!("blobs/{}", blob.digest)).await?);
        self.send(Actions::Pull, call).await?.expect(&[StatusCode::OK]).await
    }

    /// An address below the repository.
    pub(crate) async fn url(&self, path: &str) -> Result<Url> {
        let door = self.client.door(&self.name).await?;
        let path = format!("/v2/{}/{path}", self.name.repository());
        door.base.join(&path).map_err(|_| Error::protocol(format!("GET {}{path}", door.base), "not an address"))
    }

    /// Sends with authorization; a refusal that names another scope, or a token that ran out, is answered once.
    pub(crate) async fn send(&self, actions: Actions, call: Call) -> Result<Answer> {
        let mut door = self.client.door(&self.name).await?;
        let mut scopes = vec![self.scope(actions)];
        let credential = self.credential.as_ref();
        let at_home = call.url.origin() == door.base.origin();
        let authorization = if at_home { self.client.authorization(&door, &scopes, credential).await? } else { None };
        let answer = self.client.follow(call.clone(), authorization.as_deref(), |_| Ok(())).await;
        let answer = answer.inspect_err(|_| self.client.forget(&self.name))?;
        let from_registry = answer.url.origin() == door.base.origin();
        let demand = answer.demand().filter(|_| from_registry && answer.response.status() == StatusCode::UNAUTHORIZED);
        let Some(demand) = demand else { return Ok(answer) };
        let retry_is_idle = matches!((&demand, &authorization), (Demand::Basic, Some(sent)) if sent.starts_with("Basic "))
            || (demand == Demand::Basic && credential.is_none());
        if retry_is_idle || matches!(credential, Some(Credential::RegistryToken(_))) {
            return Ok(answer);
        }
        // An answer that is held holds its connection, and its place in the budget of the host.
        drop(answer);
        door.demand = demand;
        let authorization = match &door.demand {
            Demand::Bearer(bearer) => {
                for scope in &bearer.scopes {
                    if !scopes.contains(scope) {
                        scopes.push(scope.clone());
                    }
                }
                let token = self
                    .client
                    .fetch_token(&Wanted { door: &door, bearer, scopes: scopes.clone(), credential })
                    .await?;
                Some(format!("Bearer {token}"))
            }
            _ => self.client.authorization(&door, &scopes, credential).await?,
        };
        self.remember(door);
        self.client.follow(call, authorization.as_deref(), |_| Ok(())).await
    }

    /// Keeps a challenge that came later than the first request, without its scopes, which belong to one repository.
    fn remember(&self, mut door: Door) {
        if let Demand::Bearer(bearer) = &mut door.demand {
            bearer.scopes.clear();
        }
        self.client.memory().doors.insert((self.name.registry().to_owned(), self.name.scheme()), door);
    }

    fn scope(&self, actions: Actions) -> String {
        let actions = match actions {
            Actions::Pull => "pull",
            Actions::Push => "push,pull",
        };
        format!("repository:{}:{actions}", self.name.repository())
    }
}

/// What a document leads to.
enum Picked {
    Manifest(Box<Manifest>),
    Entry(Digest),
    Nothing,
}

/// Chooses among an index' entries. Entries for no platform (attestations say `unknown`) are never chosen.
fn pick(document: &Document, platform: &Platform) -> Result<Picked> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<serde_json::Value>,
        #[serde(default)]
        layers: Option<serde_json::Value>,
    }
    let unreadable =
        |error: serde_json::Error| Error::Unsupported(format!("manifest {} is unreadable: {error}", document.digest));
    let kind: Kind = serde_json::from_slice(&document.content).map_err(unreadable)?;
    let media_type = kind.media_type.as_deref().unwrap_or(&document.media_type);
    if kind.manifests.is_some()
        && (matches!(media_type, manifest::INDEX | manifest::DOCKER_LIST) || kind.layers.is_none())
    {
        let index: Index = serde_json::from_slice(&document.content).map_err(unreadable)?;
        let fits = |entry: &&Descriptor| {
            let wanted = |own: &Platform| own.os == platform.os && own.architecture == platform.architecture;
            entry.platform.as_ref().is_some_and(|own| {
                wanted(own) && platform.variant.as_ref().is_none_or(|variant| own.variant.as_ref() == Some(variant))
            })
        };
        let chosen = index.manifests.iter().find(fits).or(match index.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        });
        return Ok(chosen.map_or(Picked::Nothing, |entry| Picked::Entry(entry.digest.clone())));
    }
    serde_json::from_slice(&document.content).map(Picked::Manifest).map_err(unreadable)
}

fn content_digest(answer: &Answer) -> Result<Option<Digest>> {
    let Some(value) = answer.response.headers().get("docker-content-digest") else { return Ok(None) };
    let digest = value.to_str().ok().and_then(Digest::parse);
    digest.map(Some).ok_or_else(|| Error::protocol(&answer.request, "Docker-Content-Digest is not a sha256 digest"))
}

/// The body, counted and hashed as it passes.
fn verified(answer: Answer, blob: Descriptor) -> BoxStream<'static, Result<Bytes>> {
    struct Progress {
        answer: Answer,
        blob: Descriptor,
        hasher: Option<Sha256>,
        seen_bytes: u64,
    }
    let start = Progress { answer, blob, hasher: Some(Sha256::new()), seen_bytes: 0 };
    stream::try_unfold(start, |mut progress| async move {
        let Some(hasher) = progress.hasher.as_mut() else { return Ok(None) };
        let what = || format!("blob {}", progress.blob.digest);
        match progress.answer.response.body_mut().next().await {
            Some(Ok(chunk)) => {
                hasher.update(&chunk);
                progress.seen_bytes += chunk.len() as u64;
                if progress.seen_bytes > progress.blob.size {
                    let expected = format!("{} bytes", progress.blob.size);
                    return Err(Error::Mismatch { what: what(), expected, actual: "more".into() });
                }
                Ok(Some((chunk, progress)))
            }
            Some(Err(source)) => Err(Error::Transport { request: progress.answer.request.clone(), source }),
            None if progress.seen_bytes < progress.blob.size => {
                let source = crate::TransportError::transient(format!(
                    "the answer ended after {} of {} bytes",
                    progress.seen_bytes, progress.blob.size
                ));
                Err(Error::Transport { request: progress.answer.request.clone(), source })
            }
            None => {
                let actual = Digest::finish(progress.hasher.take().unwrap_or_default());
                if actual == progress.blob.digest {
                    return Ok(None);
                }
                Err(Error::Mismatch {
                    what: what(),
                    expected: progress.blob.digest.to_string(),
                    actual: actual.to_string(),
                })
            }
        }
    })
    .boxed()
}
