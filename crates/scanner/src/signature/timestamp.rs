//! Time stamps: that a signature was there at a time, as an authority for time stamps says.
//!
//! Source: RFC 3161 section 2.4.2; RFC 5652 sections 3 and 5; sigstore's `sigstore_common.proto`, `RFC3161SignedTimestamp`.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::der::asn1::ObjectIdentifier;

use super::{
    Refusal, certificate,
    der::{FIELD_0, FIELD_1, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, Value, Values},
    root::TrustedRoot,
};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// `id-ct-TSTInfo`.
const STAMP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
/// `id-kp-timeStamping`, 1.3.6.1.5.5.7.3.8, without tag and length.
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

type Hash = fn(&[u8]) -> Vec<u8>;

/// When an authority of the trusted root saw the message. The answer of the authority is a DER `TimeStampResp`.
pub(super) fn stamped(answer: &[u8], message: &[u8], root: &TrustedRoot) -> Result<Timestamp, Refusal> {
    let refused = |problem: &str| Refusal::Stamp(problem.to_owned());
    let token = Token::read(answer).ok_or_else(|| refused("it cannot be read"))?;
    let stamp = Stamp::read(token.stamp).ok_or_else(|| refused("it cannot be read"))?;
    if (stamp.hash)(message) != stamp.hashed {
        return Err(refused("it is about something else"));
    }
    if !token.covers_stamp() {
        return Err(refused("what is signed is not what it says"));
    }
    let signed = token.signed();
    for authority in root.stamp_authorities.iter().filter(|authority| authority.valid.contains(stamp.at)) {
        // The authority's own certificate stands in the root, in the token, or in both.
        let told = token.certificates.iter().map(|der| CertificateDer::from(*der));
        for certificate in authority.chain.first().cloned().into_iter().chain(told) {
            let is_its_own = certificate::issued(&certificate, authority, TIME_STAMPING, stamp.at).is_ok();
            let key = is_its_own.then(|| certificate::key(&certificate)).flatten();
            if key.is_some_and(|key| key.signed(&signed, token.signature)) {
                return Ok(stamp.at);
            }
        }
    }
    Err(refused("no authority of the trusted root has made it"))
}

/// What an authority answered.
struct Token<'a> {
    /// The content that the rest is about.
    stamp: &'a [u8],
    certificates: Vec<&'a [u8]>,
    /// By which the content is named in the attributes.
    hash: Hash,
    /// The attributes are what is signed.
    attributes: Value<'a>,
    signature: &'a [u8],
}

impl<'a> Token<'a> {
    fn read(answer: &'a [u8]) -> Option<Self> {
        let mut answer = Values(answer).next()?.within(SEQUENCE)?;
        let status = answer.next()?.within(SEQUENCE)?.next()?.of(INTEGER)?;
        // Granted, perhaps with modifications.
        if !matches!(status, [0] | [1]) {
            return None;
        }
        let mut content = answer.next()?.within(SEQUENCE)?;
        is(content.next()?, SIGNED_DATA)?;
        let mut signed = content.next()?.within(FIELD_0)?.next()?.within(SEQUENCE)?;
        let (_version, _hashes) = (signed.next()?, signed.next()?);
        let mut inner = signed.next()?.within(SEQUENCE)?;
        is(inner.next()?, STAMP)?;
        let stamp = inner.next()?.within(FIELD_0)?.next()?.of(OCTET_STRING)?;
        let mut next = signed.next()?;
        let mut certificates = Vec::new();
        if let Some(all) = next.within(FIELD_0) {
            certificates.extend(all.map(|certificate| certificate.whole));
            next = signed.next()?;
        }
        // Lists of what was revoked.
        if next.tag == FIELD_1 {
            next = signed.next()?;
        }
        let mut signer = next.within(SET)?.next()?.within(SEQUENCE)?;
        let (_version, _who) = (signer.next()?, signer.next()?);
        let hash = hash(signer.next()?)?;
        let attributes = signer.next().filter(|attributes| attributes.tag == FIELD_0)?;
        let _algorithm = signer.next()?;
        Some(Self { stamp, certificates, hash, attributes, signature: signer.next()?.of(OCTET_STRING)? })
    }

    /// Whether the attributes name the content.
    fn covers_stamp(&self) -> bool {
        let value = |id: ObjectIdentifier| {
            Values(self.attributes.content).find_map(|attribute| {
                let mut attribute = attribute.within(SEQUENCE)?;
                is(attribute.next()?, id)?;
                attribute.next()?.within(SET)?.next()
            })
        };
        let digest = value(MESSAGE_DIGEST).and_then(|digest| digest.of(OCTET_STRING));
        value(CONTENT_TYPE).is_some_and(|kind| is(kind, STAMP).is_some())
            && digest.is_some_and(|digest| digest == (self.hash)(self.stamp))
    }

    /// The bytes that are signed: the attributes as a set of their own. Source: RFC 5652 section 5.4.
    fn signed(&self) -> Vec<u8> {
        [&[SET], &self.attributes.whole[1..]].concat()
    }
}

/// What an authority says.
struct Stamp<'a> {
    hash: Hash,
    /// Digest of what it is about.
    hashed: &'a [u8],
    at: Timestamp,
}

impl<'a> Stamp<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut stamp = Values(bytes).next()?.within(SEQUENCE)?;
        let (_version, _policy) = (stamp.next()?, stamp.next()?);
        let mut imprint = stamp.next()?.within(SEQUENCE)?;
        let (hash, hashed) = (hash(imprint.next()?)?, imprint.next()?.of(OCTET_STRING)?);
        let _serial = stamp.next()?;
        Some(Self { hash, hashed, at: time(stamp.next()?.of(GENERALIZED_TIME)?)? })
    }
}

fn is(value: Value<'_>, id: ObjectIdentifier) -> Option<()> {
    (value.of(OBJECT_IDENTIFIER)? == id.as_bytes()).then_some(())
}

/// What an identifier of an algorithm means.
fn hash(algorithm: Value<'_>) -> Option<Hash> {
    let id = algorithm.within(SEQUENCE)?.next()?;
    let known: [(ObjectIdentifier, Hash); 3] = [
        (SHA256, |bytes| Sha256::digest(bytes).to_vec()),
        (SHA384, |bytes| Sha384::digest(bytes).to_vec()),
        (SHA512, |bytes| Sha512::digest(bytes).to_vec()),
    ];
    known.into_iter().find(|(known, _)| is(id, *known).is_some()).map(|(_, hash)| hash)
}

/// `20260102030405Z`; parts of a second are left out. Source: RFC 3161 section 2.4.2, `genTime`.
fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = text.split_once('.').map_or(text, |(whole, _)| whole);
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| &digits[from..from + 2];
    let (year, month, day) = (&digits[..4], part(4), part(6));
    format!("{year}-{month}-{day}T{}:{}:{}Z", part(8), part(10), part(12)).parse().ok()
}
