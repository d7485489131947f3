//! Time stamps: that a signature was there at a time, as an authority for time stamps says.
//!
//! Source: RFC 3161 section 2.4.2; RFC 5652 sections 3 and 5; sigstore's `sigstore_common.proto`, `RFC3161SignedTimestamp`.

use cms::{
    cert::CertificateChoices,
    content_info::ContentInfo,
    signed_data::{SignedData, SignerInfo},
};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::{
    der::{
        self, Any, AnyRef, Decode as _, Encode as _, Error, Reader, SliceReader, Tag, Tagged as _,
        asn1::{ObjectIdentifier, OctetString, OctetStringRef},
    },
    spki::AlgorithmIdentifierRef,
};

use super::{Refusal, certificate, root::TrustedRoot};

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
    let unreadable = |_| refused("it cannot be read");
    let token = Token::read(answer).map_err(unreadable)?;
    let stamp = Stamp::read(&token.stamp).map_err(unreadable)?;
    if (stamp.hash)(message) != stamp.hashed {
        return Err(refused("it is about something else"));
    }
    if !token.covers_stamp() {
        return Err(refused("what is signed is not what it says"));
    }
    // The attributes are signed, as a set of their own. Source: RFC 5652 section 5.4.
    let signed = token.signer.signed_attrs.to_der().map_err(unreadable)?;
    for authority in root.stamp_authorities.iter().filter(|authority| authority.valid.contains(stamp.at)) {
        // The authority's own certificate stands in the root, in the token, or in both.
        for certificate in authority.chain.first().into_iter().chain(&token.certificates) {
            let is_its_own = certificate::issued(certificate, authority, TIME_STAMPING, stamp.at).is_ok();
            let key = is_its_own.then(|| certificate::key(certificate)).flatten();
            if key.is_some_and(|key| key.signed(&signed, token.signer.signature.as_bytes())) {
                return Ok(stamp.at);
            }
        }
    }
    Err(refused("no authority of the trusted root has made it"))
}

/// What an authority answered.
struct Token {
    /// The content that the rest is about.
    stamp: OctetString,
    certificates: Vec<CertificateDer<'static>>,
    signer: SignerInfo,
}

impl Token {
    fn read(answer: &[u8]) -> der::Result<Self> {
        let content: ContentInfo = SliceReader::new(answer)?.sequence(|answer| {
            let status = answer.sequence(|status| {
                let code = u8::decode(status)?;
                skip_rest(status)?;
                Ok(code)
            })?;
            // Granted, perhaps with modifications.
            if status > 1 {
                return Err(Tag::Integer.value_error());
            }
            answer.decode()
        })?;
        if content.content_type != SIGNED_DATA {
            return Err(wrong_kind());
        }
        let signed: SignedData = content.content.decode_as()?;
        let inner = signed.encap_content_info;
        let stamp = inner.econtent.filter(|_| inner.econtent_type == STAMP).ok_or_else(wrong_kind)?;
        let all = signed.certificates.iter().flat_map(|all| all.0.iter());
        let certificates = all.filter_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => Some(certificate.to_der().map(CertificateDer::from)),
            CertificateChoices::Other(_) => None,
        });
        Ok(Self {
            stamp: stamp.decode_as()?,
            certificates: certificates.collect::<der::Result<_>>()?,
            signer: signed.signer_infos.0.get(0).cloned().ok_or_else(wrong_kind)?,
        })
    }

    /// Whether the attributes name the content.
    fn covers_stamp(&self) -> bool {
        let value = |id: ObjectIdentifier| -> Option<&Any> {
            let mut attributes = self.signer.signed_attrs.iter().flat_map(|attributes| attributes.iter());
            attributes.find(|attribute| attribute.oid == id)?.values.get(0)
        };
        let kind = value(CONTENT_TYPE).and_then(|kind| kind.decode_as::<ObjectIdentifier>().ok());
        let digest = value(MESSAGE_DIGEST).and_then(|digest| digest.decode_as::<OctetString>().ok());
        let hash = hash(self.signer.digest_alg.oid).ok();
        kind == Some(STAMP)
            && digest.zip(hash).is_some_and(|(digest, hash)| digest.as_bytes() == hash(self.stamp.as_bytes()))
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
    /// Reads a `TSTInfo` as far as its time.
    fn read(content: &'a OctetString) -> der::Result<Self> {
        SliceReader::new(content.as_bytes())?.sequence(|stamp| {
            let (_version, _policy) = (u8::decode(stamp)?, ObjectIdentifier::decode(stamp)?);
            let (algorithm, hashed) = stamp.sequence(|imprint| {
                Ok((AlgorithmIdentifierRef::decode(imprint)?, OctetStringRef::decode(imprint)?.as_bytes()))
            })?;
            let (_serial, at) = (AnyRef::decode(stamp)?, AnyRef::decode(stamp)?);
            skip_rest(stamp)?;
            Ok(Self { hash: hash(algorithm.oid)?, hashed, at: time(at)? })
        })
    }
}

/// Passes over what nobody asks for.
fn skip_rest<'a>(reader: &mut impl Reader<'a>) -> der::Result<()> {
    while !reader.is_finished() {
        AnyRef::decode(reader)?;
    }
    Ok(())
}

fn wrong_kind() -> Error {
    Tag::ObjectIdentifier.value_error()
}

/// What an identifier of an algorithm means.
fn hash(algorithm: ObjectIdentifier) -> der::Result<Hash> {
    match algorithm {
        SHA256 => Ok(|bytes| Sha256::digest(bytes).to_vec()),
        SHA384 => Ok(|bytes| Sha384::digest(bytes).to_vec()),
        SHA512 => Ok(|bytes| Sha512::digest(bytes).to_vec()),
        _ => Err(wrong_kind()),
    }
}

/// `20260102030405Z`; parts of a second, which the crate does not know, are left out. Source: RFC 3161 section 2.4.2, `genTime`.
fn time(value: AnyRef<'_>) -> der::Result<Timestamp> {
    value.tag().assert_eq(Tag::GeneralizedTime)?;
    let text = std::str::from_utf8(value.value()).ok().and_then(|text| text.strip_suffix('Z'));
    let whole =
        text.map(|text| text.split_once('.').map_or(text, |(whole, _)| whole)).filter(|whole| whole.len() == 14);
    let at = whole.and_then(|whole| jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", whole).ok());
    let at = at.and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
    at.map(|at| at.timestamp()).ok_or_else(|| Tag::GeneralizedTime.value_error())
}
