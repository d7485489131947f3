//! Certificates of keyless signatures: whether an authority issued them, and to whom.
//!
//! The chain is checked by `webpki`. Source: Fulcio's "Certificate Specification" and "Sigstore OID information".

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{
    EndEntityCert, KeyUsage, anchor_from_trusted_cert,
    ring::{ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, ED25519},
    ring::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512},
};
use x509_cert::{
    Certificate,
    der::{
        Decode as _, Encode as _,
        asn1::{ObjectIdentifier, OctetStringRef, Utf8StringRef},
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{
    Refusal,
    key::PublicKey,
    root::{Authority, Log, TrustedRoot, log},
};

/// What authorities sign certificates with.
const ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 8] = [
    ECDSA_P256_SHA256,
    ECDSA_P256_SHA384,
    ECDSA_P384_SHA256,
    ECDSA_P384_SHA384,
    ED25519,
    RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
];
/// `id-kp-codeSigning`, 1.3.6.1.5.5.7.3.3, without tag and length.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// Who vouches for the identity: bare text in the older form, an ASN.1 text in the newer.
const ISSUER_BARE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// A name that is neither an address nor a URI.
const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
/// Stamps of certificate logs. Source: RFC 6962 section 3.3.
const STAMPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// Whom a certificate was issued to.
#[derive(Debug)]
pub struct Signer {
    /// Who vouches for the identity.
    pub issuer: String,
    /// The identity; a certificate may give several names.
    pub subjects: Vec<String>,
    /// What it signs with.
    pub key: PublicKey,
}

/// Reads a certificate that one of the authorities issued for signing code, and that was valid at that time.
pub fn signer(der: &CertificateDer<'_>, root: &TrustedRoot, at: Timestamp) -> Result<Signer, Refusal> {
    let authority = issuer(der, root, at)?;
    let unreadable = |_| Refusal::Certificate("it cannot be read".into());
    let certificate = Certificate::from_der(der).map_err(unreadable)?;
    if !root.certificate_logs.is_empty() {
        stamped(&certificate, authority, &root.certificate_logs)?;
    }
    let tbs = &certificate.tbs_certificate;
    let names = tbs.get::<SubjectAltName>().map_err(unreadable)?.map(|(_, names)| names.0).unwrap_or_default();
    let info = tbs.subject_public_key_info.to_der().map_err(unreadable)?;
    Ok(Signer {
        issuer: vouching(&certificate)
            .ok_or_else(|| Refusal::Certificate("it names no issuer of identities".into()))?,
        subjects: names.iter().filter_map(subject).collect(),
        key: PublicKey::from_der(&info).map_err(Refusal::Certificate)?,
    })
}

/// The authority that issued the certificate.
fn issuer<'a>(der: &CertificateDer<'_>, root: &'a TrustedRoot, at: Timestamp) -> Result<&'a Authority, Refusal> {
    let mut problem = Refusal::Certificate("no authority of the trusted root issued certificates then".into());
    for authority in root.authorities.iter().filter(|authority| authority.valid.contains(at)) {
        match issued(der, authority, CODE_SIGNING, at) {
            Ok(()) => return Ok(authority),
            Err(refusal) => problem = refusal,
        }
    }
    Err(problem)
}

/// Whether the authority issued the certificate for that use, and it was valid at that time.
pub(super) fn issued(
    der: &CertificateDer<'_>,
    authority: &Authority,
    usage: &'static [u8],
    at: Timestamp,
) -> Result<(), Refusal> {
    let certificate = EndEntityCert::try_from(der).map_err(refused)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_second().unsigned_abs()));
    let (last, intermediates) =
        authority.chain.split_last().ok_or_else(|| Refusal::Certificate("an authority has no certificate".into()))?;
    let anchors = [anchor_from_trusted_cert(last).map_err(refused)?];
    let usage = KeyUsage::required(usage);
    let path = certificate.verify_for_usage(&ALGORITHMS, &anchors, intermediates, time, usage, None, None);
    path.map(drop).map_err(refused)
}

/// What is wrong with a chain, in words.
fn refused(error: webpki::Error) -> Refusal {
    use webpki::Error::{
        CertExpired, CertNotValidYet, InvalidSignatureForPublicKey, RequiredEkuNotFoundContext, UnknownIssuer,
    };
    Refusal::Certificate(match error {
        CertExpired { .. } => "it had expired when the signature was made".into(),
        CertNotValidYet { .. } => "it was not valid yet when the signature was made".into(),
        UnknownIssuer | InvalidSignatureForPublicKey => "no authority of the trusted root issued it".into(),
        RequiredEkuNotFoundContext(_) => "it is not for signing code".into(),
        other => format!("{other:?}"),
    })
}

/// Who vouches for the identity.
fn vouching(certificate: &Certificate) -> Option<String> {
    let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
    let value = |id| extensions.iter().find(|extension| extension.extn_id == id).map(|one| one.extn_value.as_bytes());
    let newer = value(ISSUER).and_then(|value| Utf8StringRef::from_der(value).ok().map(|text| text.to_string()));
    newer.or_else(|| value(ISSUER_BARE).and_then(|value| String::from_utf8(value.to_vec()).ok()))
}

fn subject(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(address) => Some(address.to_string()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        GeneralName::OtherName(other) if other.type_id == OTHER_NAME => {
            Utf8StringRef::try_from(&other.value).ok().map(|text| text.to_string())
        }
        _ => None,
    }
}

/// Whether a known log recorded the certificate before it was issued.
fn stamped(certificate: &Certificate, authority: &Authority, logs: &[Log]) -> Result<(), Refusal> {
    let refused = |problem: &str| Refusal::Certificate(problem.to_owned());
    let unreadable = |_| refused("the stamp of the certificate log cannot be read");
    let mut bare = certificate.tbs_certificate.clone();
    let extensions = bare.extensions.get_or_insert_default();
    let found = extensions.iter().position(|extension| extension.extn_id == STAMPS);
    let extension = extensions.remove(found.ok_or_else(|| refused("it has no stamp of a certificate log"))?);
    let list = OctetStringRef::from_der(extension.extn_value.as_bytes()).map_err(unreadable)?;
    let bare = bare.to_der().map_err(unreadable)?;
    let keys: Vec<[u8; 32]> = authority.chain.iter().filter_map(|one| key_hash(one)).collect();
    let is_proven = |stamp: &Stamp<'_>| {
        let at = Timestamp::from_millisecond(i64::try_from(stamp.millisecond).unwrap_or(i64::MAX));
        let log = at.ok().and_then(|at| log(logs, stamp.log, Some(at)));
        log.is_some_and(|log| keys.iter().any(|key| log.key.signed(&stamp.covered(key, &bare), stamp.signature)))
    };
    let stamps = stamps(list.as_bytes()).ok_or_else(|| refused("the stamp of the certificate log cannot be read"))?;
    match stamps.iter().any(is_proven) {
        true => Ok(()),
        false => Err(refused("no certificate log of the trusted root has stamped it")),
    }
}

/// Digest of the key that a certificate is for.
fn key_hash(der: &CertificateDer<'_>) -> Option<[u8; 32]> {
    Some(Sha256::digest(key_info(der)?).into())
}

/// The key that a certificate is for.
pub(super) fn key(der: &CertificateDer<'_>) -> Option<PublicKey> {
    PublicKey::from_der(&key_info(der)?).ok()
}

/// The SubjectPublicKeyInfo of a certificate.
fn key_info(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Certificate::from_der(der).ok()?.tbs_certificate.subject_public_key_info.to_der().ok()
}

/// A stamp of a certificate log. Source: RFC 6962 section 3.2.
pub(super) struct Stamp<'a> {
    log: &'a [u8],
    millisecond: u64,
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl Stamp<'_> {
    /// The bytes that the log signed: of a certificate without stamps, whose issuer has a key with that digest.
    fn covered(&self, issuer: &[u8; 32], bare: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bare.len()).unwrap_or(u32::MAX).to_be_bytes();
        let extensions = u16::try_from(self.extensions.len()).unwrap_or(u16::MAX).to_be_bytes();
        // Version 1, a stamp, of a precertificate.
        let (head, time) = ([0, 0], self.millisecond.to_be_bytes());
        [&head[..], &time, &[0, 1], issuer, &length[1..], bare, &extensions, self.extensions].concat()
    }
}

/// The stamps of a list; none if it is malformed.
pub(super) fn stamps(list: &[u8]) -> Option<Vec<Stamp<'_>>> {
    let (mut rest, end) = counted(list)?;
    let mut stamps = Vec::new();
    while !rest.is_empty() {
        let (one, after) = counted(rest)?;
        rest = after;
        let (version, one) = one.split_first()?;
        let (log, one) = one.split_at_checked(32)?;
        let (millisecond, one) = one.split_at_checked(8)?;
        let (extensions, one) = counted(one)?;
        // Two bytes name the algorithm, which the log's key settles.
        let (signature, after) = counted(one.get(2..)?)?;
        if *version != 0 || !after.is_empty() {
            return None;
        }
        stamps.push(Stamp {
            log,
            millisecond: u64::from_be_bytes(millisecond.try_into().ok()?),
            extensions,
            signature,
        });
    }
    end.is_empty().then_some(stamps)
}

/// Bytes with their count in two bytes before them, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_at_checked(2)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(count.try_into().ok()?)))
}
