//! Signatures that cosign makes: which a policy trusts, and whether one of them is about an image.
//!
//! With keys: the signature is made by one of them, over a payload that names the image's digest. Without: besides, the
//! certificate was issued by a trusted authority to a trusted identity, a trusted log holds the signature, and it was made
//! while the certificate was valid, as the log or a trusted time stamp says. Revocation is not looked at.
//!
//! Source: cosign's `SIGNATURE_SPEC.md` and `BUNDLE_SPEC.md`; sigstore's `sigstore_bundle.proto`; DSSE 1.0.

pub mod certificate;
mod inclusion;
pub mod key;
pub mod log;
pub mod root;
mod timestamp;

use std::collections::{BTreeMap, BTreeSet};

use api::image::OidcIdentity;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use policy::Pattern;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::{certificate::Signer, key::PublicKey, log::Entry, root::TrustedRoot};

/// Media type of the payloads under the tag `sha256-….sig`.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Beginning of the media types of bundles.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// What a statement must say to be a signature, and not something else that was attested.
pub const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
/// Annotation of a bundle's manifest that says what its statement says.
pub const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// Time stamps and log entries that one signature may have, as in sigstore.
const MAX_STAMPS: usize = 32;
const MAX_ENTRIES: usize = 32;
/// Type of the statements.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// Whose signatures count.
#[derive(Debug)]
pub enum Trust {
    /// Those of one of these keys.
    Keys(Vec<PublicKey>),
    /// Those of identities.
    Identities {
        /// Who may vouch for them.
        root: Box<TrustedRoot>,
        /// One of them must fit.
        identities: Vec<Identity>,
    },
}

/// An identity that counts.
#[derive(Debug)]
pub struct Identity {
    issuer: Pattern,
    subject: Pattern,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not of a form that is known.
    #[error("the signature cannot be read: {0}")]
    Unreadable(&'static str),
    /// Another key made it, or what it covers was changed.
    #[error("no trusted key has made the signature")]
    Key,
    /// It was made with a key, where an identity is asked for.
    #[error("the signature carries no certificate")]
    NoCertificate,
    /// No log is said to hold it.
    #[error("the signature carries no entry of a transparency log with a promise or proof that it is there")]
    NoEntry,
    /// Nobody trustworthy tells when it was made.
    #[error("neither a log nor a time stamp tells when the signature was made")]
    NoTime,
    /// The time stamp proves nothing.
    #[error("the time stamp does not count: {0}")]
    Stamp(String),
    /// The entry of the log proves nothing.
    #[error("the entry of the transparency log does not count: {0}")]
    Log(String),
    /// The certificate proves nothing.
    #[error("the certificate does not count: {0}")]
    Certificate(String),
    /// Somebody else signed.
    #[error("signed by {subjects}, for whom {issuer} vouches: not an identity that is asked for")]
    Identity {
        /// Who signed.
        subjects: String,
        /// Who vouches for them.
        issuer: String,
    },
    /// It is a good signature of something else.
    #[error("the signature is about {0}")]
    OtherDigest(String),
}

/// A signature, and what came with it.
#[derive(Clone, Debug)]
pub struct Proof {
    form: Form,
    /// What it is about.
    payload: Vec<u8>,
    /// The bytes that are signed: the payload, or the payload in an envelope.
    signed: Vec<u8>,
    signature: Vec<u8>,
    certificate: Option<CertificateDer<'static>>,
    /// What logs say of it; none if an entry cannot be read.
    entries: Option<Vec<Entry>>,
    /// Time stamps on the signature, as authorities answered.
    stamps: Vec<Vec<u8>>,
}

/// How a payload names the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As the "simple signing" of containers.
    Simple,
    /// As a statement of in-toto.
    Statement,
}

impl Identity {
    /// Reads the patterns.
    pub fn new(identity: &OidcIdentity) -> Result<Self, policy::pattern::InvalidPattern> {
        Ok(Self { issuer: Pattern::new(&identity.issuer)?, subject: Pattern::new(&identity.subject)? })
    }

    fn fits(&self, signer: &Signer) -> bool {
        let is_subject = |subject: &String| self.subject.is_match(subject);
        self.issuer.is_match(&signer.issuer) && signer.subjects.iter().any(is_subject)
    }
}

impl Trust {
    /// Whether the proof shows that the image with this digest (`sha256:…`) is signed by somebody who counts.
    pub fn check(&self, proof: &Proof, digest: &str) -> Result<(), Refusal> {
        match self {
            Self::Keys(keys) if keys.iter().any(|key| key.signed(&proof.signed, &proof.signature)) => {}
            Self::Keys(_) => return Err(Refusal::Key),
            Self::Identities { root, identities } => {
                let certificate = proof.certificate.as_ref().ok_or(Refusal::NoCertificate)?;
                let (first, others) = proof.times(root)?;
                for at in others {
                    certificate::signer(certificate, root, at)?;
                }
                let signer = certificate::signer(certificate, root, first)?;
                if !signer.key.signed(&proof.signed, &proof.signature) {
                    return Err(Refusal::Key);
                }
                if !identities.iter().any(|identity| identity.fits(&signer)) {
                    let Signer { issuer, subjects, .. } = signer;
                    return Err(Refusal::Identity { subjects: subjects.join(", "), issuer });
                }
            }
        }
        let named = proof.digests()?;
        if named.iter().any(|named| named == digest) { Ok(()) } else { Err(Refusal::OtherDigest(named.join(", "))) }
    }
}

impl Proof {
    /// A layer under the tag `sha256-….sig`: its content and its annotations.
    pub fn simple(payload: &[u8], annotations: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let signature = annotations.get("dev.cosignproject.cosign/signature");
        let signature = signature.ok_or(Refusal::Unreadable("the annotation with the signature is missing"))?;
        let signature = STANDARD.decode(signature.trim());
        let certificate = annotations.get("dev.sigstore.cosign/certificate").filter(|pem| !pem.is_empty());
        let certificate = certificate.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes())).transpose();
        let entry = annotations.get("dev.sigstore.cosign/bundle");
        let stamp = annotations.get("dev.sigstore.cosign/rfc3161timestamp").and_then(|json| {
            let stamp: Value = serde_json::from_str(json).ok()?;
            STANDARD.decode(stamp["SignedRFC3161Timestamp"].as_str()?).ok()
        });
        Ok(Self {
            form: Form::Simple,
            payload: payload.to_vec(),
            signed: payload.to_vec(),
            signature: signature.map_err(|_| Refusal::Unreadable("the signature is not base64"))?,
            certificate: certificate.map_err(|_| Refusal::Unreadable("the certificate is not PEM"))?,
            entries: entry.into_iter().map(|json| Entry::from_annotation(json)).collect(),
            stamps: stamp.into_iter().collect(),
        })
    }

    /// A bundle, as cosign 3 attaches it to an image.
    pub fn bundle(json: &[u8]) -> Result<Self, Refusal> {
        let bundle: Value = serde_json::from_slice(json).map_err(|_| Refusal::Unreadable("the bundle is not JSON"))?;
        let decoded = |value: &Value| value.as_str().and_then(|text| STANDARD.decode(text).ok());
        let envelope = &bundle["dsseEnvelope"];
        if envelope["payloadType"] != STATEMENT {
            return Err(Refusal::Unreadable("the bundle holds no statement of in-toto"));
        }
        let payload = decoded(&envelope["payload"]).ok_or(Refusal::Unreadable("the statement is not base64"))?;
        let signature = decoded(&envelope["signatures"][0]["sig"]);
        let material = &bundle["verificationMaterial"];
        let certificate = decoded(&material["certificate"]["rawBytes"])
            .or_else(|| decoded(&material["x509CertificateChain"]["certificates"][0]["rawBytes"]));
        let entries = listed(&material["tlogEntries"]);
        let stamps = listed(&material["timestampVerificationData"]["rfc3161Timestamps"]);
        if entries.len() > MAX_ENTRIES || stamps.len() > MAX_STAMPS {
            return Err(Refusal::Unreadable("there are too many log entries or time stamps"));
        }
        // What DSSE signs in the place of the bare payload.
        let head = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len());
        Ok(Self {
            form: Form::Statement,
            signed: [head.as_bytes(), &payload].concat(),
            payload,
            signature: signature.ok_or(Refusal::Unreadable("the signature is not base64"))?,
            certificate: certificate.map(CertificateDer::from),
            entries: entries.iter().map(Entry::from_bundle).collect(),
            stamps: stamps.iter().filter_map(|stamp| decoded(&stamp["signedTimestamp"])).collect(),
        })
    }

    /// When the signature was made, once or more often, as everybody says who is trusted. Entries of logs that are not
    /// trusted are passed over; one at least must count, and none that is of a trusted log may be wrong.
    /// Source: sigstore-go 1.2 `pkg/verify/tlog.go`, `VerifyTlogEntry`, with a threshold of one.
    fn times(&self, root: &TrustedRoot) -> Result<(Timestamp, Vec<Timestamp>), Refusal> {
        let entries = self.entries.as_deref().filter(|entries| !entries.is_empty()).ok_or(Refusal::NoEntry)?;
        let places: BTreeSet<_> = entries.iter().map(Entry::place).collect();
        if places.len() < entries.len() {
            return Err(Refusal::Log("it is there twice".into()));
        }
        let (mut times, mut refusal) = (Vec::new(), Refusal::NoTime);
        for stamp in &self.stamps {
            match timestamp::stamped(stamp, &self.signature, root) {
                Ok(at) => times.push(at),
                Err(problem) => refusal = problem,
            }
        }
        let stamped = times.first().copied();
        let (mut held, mut unknown) = (false, Refusal::NoEntry);
        for entry in entries {
            match entry.log(root, stamped) {
                Ok(log) => entry.check(log, self)?,
                Err(problem) => {
                    unknown = problem;
                    continue;
                }
            }
            held = true;
            times.extend(entry.recorded());
        }
        if !held {
            return Err(unknown);
        }
        let (first, others) = times.split_first().ok_or(refusal)?;
        Ok((*first, others.to_vec()))
    }

    /// Digests of what the payload is about.
    fn digests(&self) -> Result<Vec<String>, Refusal> {
        let unreadable = Refusal::Unreadable("what is signed does not name an image");
        let payload: Value = serde_json::from_slice(&self.payload).map_err(|_| unreadable.clone())?;
        match self.form {
            Form::Simple => {
                let critical = &payload["critical"];
                let digest = critical["image"]["docker-manifest-digest"].as_str();
                match (critical["type"].as_str(), digest) {
                    (Some("cosign container image signature"), Some(digest)) => Ok(vec![digest.to_owned()]),
                    _ => Err(unreadable),
                }
            }
            Form::Statement if payload["predicateType"] != SIGNED => {
                Err(Refusal::Unreadable("the statement is not a signature but attests something else"))
            }
            Form::Statement => {
                let subjects = payload["subject"].as_array().ok_or(unreadable)?.iter();
                let digests = subjects.filter_map(|subject| subject["digest"]["sha256"].as_str());
                Ok(digests.map(|hex| format!("sha256:{hex}")).collect())
            }
        }
    }
}

/// The items of a list; none if it is something else.
fn listed(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Tells one annotation and the Secret behind it from others, so that what was proven once need not be proven again.
pub fn fingerprint(verification: &str, secret: &BTreeMap<&str, &[u8]>) -> String {
    let mut hash = Sha256::new_with_prefix(verification);
    for (key, value) in secret {
        hash.update([0]);
        hash.update(key.as_bytes());
        hash.update(Sha256::digest(value));
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
pub(crate) mod tests;
