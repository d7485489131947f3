//! Looks for an image's signatures in its registry and has them checked. What was proven once is remembered by digest.

use std::collections::BTreeMap;

use api::image::{ImagePolicy, ImageRepository, OidcIdentity, Verification};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use oci::{Digest, manifest::Descriptor};

use super::{
    images::{Asking, Images, within},
    repository, secrets,
};
use crate::{
    Error,
    signature::{
        BUNDLE, Identity, PREDICATE, Proof, Refusal, SIGNED, SIMPLE_SIGNING, Trust, fingerprint, key::PublicKey,
        root::TrustedRoot,
    },
};

/// Bucket of the database that holds which images are signed, by digest and by what is trusted.
const SIGNATURES: &str = "image-signatures";
/// Signatures of one image that are looked at.
const MAX_SIGNATURES: usize = 16;
/// A signature is a few kilobytes.
const LIMIT_BYTES: u64 = 1 << 20;
/// Reasons that are told when no signature counts.
const TOLD: usize = 3;

/// Whose signatures count, read from the Secret that the policy names.
pub(super) struct Trusted {
    trust: Trust,
    /// Tells it from others.
    fingerprint: String,
}

impl Images {
    /// Reads whose signatures count.
    pub(super) async fn trusted(&self, policy: &ImagePolicy, verification: &Verification) -> Result<Trusted, Error> {
        let namespace = policy.namespace().unwrap_or_default();
        let reference = verification.secret_ref.as_ref().or(verification.trusted_root_secret_ref.as_ref());
        let name = reference.map(|reference| reference.name.as_str()).unwrap_or_default();
        let secret: Secret = self.registries.required("secret", &namespace, name).await?;
        let identities = &verification.match_oidc_identity;
        let trust = match verification.secret_ref {
            Some(_) => Trust::Keys(keys(&secret)?),
            None => identified(&secret, identities)?,
        };
        let data = secret.data.iter().flatten();
        let data: BTreeMap<&str, &[u8]> = data.map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
        Ok(Trusted { trust, fingerprint: fingerprint(&format!("{identities:?}"), &data) })
    }

    /// The digest of the tag if it is signed, else why no signature counts. Errs if the registry cannot tell.
    pub(super) async fn signed(
        &self,
        asking: Asking<'_>,
        trusted: &Trusted,
        tag: &str,
    ) -> Result<Result<String, String>, Error> {
        let digest = self.reflected(asking, tag).await?;
        let key = format!("{digest} {}", trusted.fingerprint);
        let database = self.store.database();
        // A record that cannot be read costs requests.
        if database.read(SIGNATURES, &key).await.unwrap_or_default().is_some() {
            return Ok(Ok(digest));
        }
        if let Err(why) = self.search(asking.repository, &trusted.trust, &digest).await? {
            return Ok(Err(why));
        }
        if let Err(error) = database.note(SIGNATURES, &key, b"").await {
            tracing::debug!(%error, "that an image is signed is not remembered");
        }
        Ok(Ok(digest))
    }

    /// Looks under the tag that cosign makes of the digest, then among what refers to the image.
    async fn search(&self, object: &ImageRepository, trust: &Trust, digest: &str) -> Result<Result<(), String>, Error> {
        let name = repository::name(object).map_err(oci::Error::from)?;
        let opened = self.registries.open(object, &name).await?.repository;
        let mut refusals = Vec::new();
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let manifest = within(object, opened.manifest_if_any(&tag)).await?;
        let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
        for layer in layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING).take(MAX_SIGNATURES) {
            let payload = within(object, opened.blob_bytes(layer, LIMIT_BYTES)).await?;
            match Proof::simple(&payload, &layer.annotations).and_then(|proof| trust.check(&proof, digest)) {
                Ok(()) => return Ok(Ok(())),
                Err(refusal) => refusals.push(refusal),
            }
        }
        let Some(parsed) = Digest::parse(digest) else { return Ok(Err(told(&refusals))) };
        let referrers = within(object, opened.referrers(&parsed, BUNDLE)).await?;
        for referrer in referrers.iter().filter(|referrer| may_sign(referrer)).take(MAX_SIGNATURES) {
            let manifest = within(object, opened.manifest_if_any(referrer.digest.as_str())).await?;
            let Some(layer) = manifest.as_ref().and_then(|manifest| manifest.layers.first()) else { continue };
            let bundle = within(object, opened.blob_bytes(layer, LIMIT_BYTES)).await?;
            match Proof::bundle(&bundle).and_then(|proof| trust.check(&proof, digest)) {
                Ok(()) => return Ok(Ok(())),
                Err(refusal) => refusals.push(refusal),
            }
        }
        Ok(Err(told(&refusals)))
    }
}

/// Whether a bundle does not say of itself that it attests something else.
fn may_sign(referrer: &Descriptor) -> bool {
    referrer.annotations.get(PREDICATE).is_none_or(|predicate| predicate == SIGNED)
}

/// Why no signature counts: a few of the reasons, each once.
fn told(refusals: &[Refusal]) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for refusal in refusals.iter().map(ToString::to_string) {
        if reasons.len() < TOLD && !reasons.contains(&refusal) {
            reasons.push(refusal);
        }
    }
    if reasons.is_empty() { "there is no signature".to_owned() } else { reasons.join("; ") }
}

/// The keys of a Secret.
fn keys(secret: &Secret) -> Result<Vec<PublicKey>, Error> {
    let mut keys = Vec::new();
    for (name, value) in secret.data.iter().flatten().filter(|(name, _)| name.ends_with(".pub")) {
        let found = PublicKey::from_pem(&value.0);
        keys.extend(found.map_err(|problem| secrets::problem(secret, format!("the key '{name}': {problem}")))?);
    }
    if keys.is_empty() {
        return Err(secrets::problem(secret, "there is no public key under a name that ends in '.pub'"));
    }
    Ok(keys)
}

/// The identities, and who may vouch for them.
fn identified(secret: &Secret, identities: &[OidcIdentity]) -> Result<Trust, Error> {
    let file = "trusted_root.json";
    let json = secret.data.as_ref().and_then(|data| data.get(file));
    let json = json.ok_or_else(|| secrets::problem(secret, format!("the key '{file}' is missing")))?;
    let root = TrustedRoot::parse(&json.0);
    let root = root.map_err(|problem| secrets::problem(secret, format!("the key '{file}': {problem}")))?;
    let identities = identities.iter().map(Identity::new).collect::<Result<_, _>>();
    let identities = identities.map_err(|problem| secrets::problem(secret, problem.to_string()))?;
    Ok(Trust::Identities { root: Box::new(root), identities })
}
