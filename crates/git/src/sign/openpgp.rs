//! OpenPGP keys as GnuPG exports them, and their signatures on binary documents.
//!
//! Only the form is ours, the arithmetic is that of the crates below: the `pgp` crate would add the ciphers of thirty years,
//! and `gpg` an agent, a key ring on the disk and two processes for every commit.
//! Source: RFC 4880; RFC 6637 for ECDSA keys; RFC 9580 for Ed25519 keys; `libgcrypt`'s and GnuPG's EdDSA of `draft-koch-eddsa-for-openpgp`.

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use ssh_key::{
    Algorithm, EcdsaCurve, Mpint,
    private::{Ed25519Keypair, KeypairData, RsaKeypair, RsaPrivateKey},
    public::RsaPublicKey,
};

use super::{
    InvalidKey, identity,
    packets::{self, Input, Packet},
    passphrase::{Stretch, decrypt, sha1},
};

/// Kinds of packets.
const SIGNATURE: u8 = 2;
const SECRET_KEY: u8 = 5;
const SECRET_SUBKEY: u8 = 7;
/// Public key algorithms.
const RSA: u8 = 1;
const RSA_SIGN_ONLY: u8 = 3;
const ECDSA: u8 = 19;
const EDDSA: u8 = 22;
const ED25519: u8 = 27;
/// The hash algorithms of our signatures.
const SHA256: u8 = 8;
const SHA384: u8 = 9;
const SHA512: u8 = 10;
/// Name of the curve Ed25519 in EdDSA keys.
const ED25519_CURVE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// Names of the curves in ECDSA keys. Source: RFC 6637 section 11.
const ECDSA_CURVES: [(&[u8], EcdsaCurve); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], EcdsaCurve::NistP256),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], EcdsaCurve::NistP384),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], EcdsaCurve::NistP521),
];

/// Computes a digest.
type Hash = fn(&[u8]) -> Vec<u8>;

/// A key that signs.
#[derive(Clone)]
pub(super) struct Key {
    pair: KeypairData,
    algorithm: u8,
    fingerprint: Vec<u8>,
}

/// A key of the armour, as far as it is known without the passphrase.
struct Found<'a> {
    body: &'a [u8],
    created: u64,
    /// Seconds after its creation.
    expires: Option<u64>,
    signs: bool,
    revoked: bool,
}

impl Key {
    /// Reads an armoured key. A subkey that signs is taken before the primary one, and the newest of them.
    /// Source: go-crypto `openpgp` `Entity.SigningKey`, which Flux signs with.
    pub(super) fn read(armored: &[u8], passphrase: Option<&[u8]>, now: jiff::Timestamp) -> Result<Self, InvalidKey> {
        let unreadable = |what: &str| InvalidKey::Unreadable(format!("openpgp: {what}"));
        let bytes = packets::unarmor(armored).ok_or_else(|| unreadable("no armored private key found"))?;
        let packets = packets::packets(&bytes).ok_or_else(|| unreadable("malformed packets"))?;
        match packets.iter().filter(|packet| packet.tag == SECRET_KEY).count() {
            0 => return Err(unreadable("no private key found")),
            1 => {}
            _ => return Err(InvalidKey::SeveralEntities),
        }
        let now = u64::try_from(now.as_second()).unwrap_or_default();
        let mut found = keys(&packets);
        let primary = (!found.is_empty()).then(|| found.remove(0));
        found.retain(|key| {
            let is_current = key.expires.is_none_or(|seconds| seconds == 0 || key.created + seconds > now);
            key.signs && !key.revoked && is_current
        });
        found.sort_by_key(|key| std::cmp::Reverse(key.created));
        let mut first = None;
        for key in found.iter().chain(&primary) {
            match Self::parse(key.body, passphrase) {
                Ok(key) => return Ok(key),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| unreadable("no key that signs")))
    }

    fn parse(body: &[u8], passphrase: Option<&[u8]>) -> Result<Self, InvalidKey> {
        let malformed = || InvalidKey::Unreadable("openpgp: malformed private key".to_owned());
        let mut input = Input(body);
        let (version, _) = (input.byte().ok_or_else(malformed)?, input.take(4));
        let algorithm = input.byte().ok_or_else(malformed)?;
        if version != 4 {
            return Err(InvalidKey::Unreadable(format!("openpgp: a key of version {version} is not supported")));
        }
        let public = Public::read(algorithm, &mut input)?;
        let public_length = body.len() - input.0.len();
        let secret = secret(input, passphrase)?;
        let pair = public.with_secret(&secret).ok_or_else(malformed)?;
        Ok(Self { pair, algorithm, fingerprint: fingerprint(&body[..public_length])? })
    }

    /// The armoured signature on a binary document.
    pub(super) fn sign(&self, content: &[u8], time: jiff::Timestamp) -> Result<String, InvalidKey> {
        let failed = || InvalidKey::Unreadable("openpgp: the key does not sign".to_owned());
        let created = u32::try_from(time.as_second()).unwrap_or_default().to_be_bytes();
        let mut hashed = vec![5, 2];
        hashed.extend(created);
        hashed.extend([22, 33, 4]);
        hashed.extend(&self.fingerprint);
        let (hash, hash_of) = self.hash();
        let mut signed = vec![4, 0, self.algorithm, hash, 0, hashed.len() as u8];
        signed.extend(hashed);
        let mut message = content.to_vec();
        message.extend(&signed);
        message.extend([4, 0xff]);
        message.extend(u32::try_from(signed.len()).unwrap_or_default().to_be_bytes());
        let digest = hash_of(&message);
        let mut body = signed;
        let issuer = &self.fingerprint[self.fingerprint.len() - 8..];
        body.extend([0, 10, 9, 16]);
        body.extend(issuer);
        body.extend(&digest[..2]);
        body.extend(self.signature(&message, &digest).ok_or_else(failed)?);
        let mut packet = Vec::new();
        packets::append(&mut packet, SIGNATURE, &body);
        Ok(packets::armor(&packet))
    }

    /// The hash that goes with the key: its number in OpenPGP, and what computes it.
    fn hash(&self) -> (u8, Hash) {
        match self.pair.algorithm() {
            Ok(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }) => (SHA256, |bytes| Sha256::digest(bytes).to_vec()),
            Ok(Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }) => (SHA384, |bytes| Sha384::digest(bytes).to_vec()),
            _ => (SHA512, |bytes| Sha512::digest(bytes).to_vec()),
        }
    }

    /// The signature as its packet ends with it. RSA and ECDSA hash the message themselves, Ed25519 takes the hash for its
    /// message.
    fn signature(&self, message: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
        let message = if matches!(self.pair, KeypairData::Ed25519(_)) { digest } else { message };
        let signature = super::raw(&self.pair, message).ok()?;
        let bytes = signature.as_bytes();
        let numbers = match self.algorithm {
            ED25519 => return Some(bytes.to_vec()),
            EDDSA => {
                let (r, s) = bytes.split_at_checked(32)?;
                vec![r, s]
            }
            ECDSA => {
                let mut rest = bytes;
                vec![identity::string(&mut rest)?, identity::string(&mut rest)?]
            }
            _ => vec![bytes],
        };
        let mut body = Vec::new();
        numbers.into_iter().for_each(|number| packets::append_number(&mut body, number));
        Some(body)
    }
}

/// The keys in the order of the armour, with what their signatures say of them; the primary one comes first.
fn keys<'a>(packets: &[Packet<'a>]) -> Vec<Found<'a>> {
    let mut found: Vec<Found<'a>> = Vec::new();
    for packet in packets {
        match packet.tag {
            SECRET_KEY | SECRET_SUBKEY => {
                let created = packet.body.get(1..5).map_or(0, |bytes| Input(bytes).number::<4>().unwrap_or_default());
                let created = created as u64;
                found.push(Found { body: packet.body, created, expires: None, signs: false, revoked: false });
            }
            SIGNATURE => {
                if let Some(key) = found.last_mut() {
                    learn(key, packet.body);
                }
            }
            _ => {}
        }
    }
    found
}

/// Takes over what a signature of version 4 says: the binding of a subkey, or its revocation.
fn learn(key: &mut Found<'_>, body: &[u8]) {
    let (Some(4), Some(kind)) = (body.first(), body.get(1)) else { return };
    let mut input = Input(body.get(4..).unwrap_or_default());
    let hashed = input.number::<2>().and_then(|length| input.take(length)).unwrap_or_default();
    match kind {
        0x20 | 0x28 => key.revoked = true,
        0x18 => {
            for (kind, content) in packets::subpackets(hashed).unwrap_or_default() {
                match kind {
                    9 => key.expires = Input(content).number::<4>().map(|seconds| seconds as u64),
                    27 => key.signs = content.first().is_some_and(|flags| flags & 2 != 0),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// The public half of a key.
enum Public<'a> {
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
    /// On this curve.
    Ecdsa(EcdsaCurve),
    /// With its seed as a number.
    EdDsa,
    /// With its seed as it is.
    Ed25519,
}

impl<'a> Public<'a> {
    fn read(algorithm: u8, input: &mut Input<'a>) -> Result<Self, InvalidKey> {
        let malformed = || InvalidKey::Unreadable("openpgp: malformed public key".to_owned());
        match algorithm {
            RSA | RSA_SIGN_ONLY => {
                let n = input.integer().ok_or_else(malformed)?;
                Ok(Self::Rsa { n, e: input.integer().ok_or_else(malformed)? })
            }
            ECDSA | EDDSA => {
                let length = input.byte().ok_or_else(malformed)?;
                let curve = input.take(length.into()).ok_or_else(malformed)?;
                let _point = input.integer().ok_or_else(malformed)?;
                let ecdsa = || ECDSA_CURVES.into_iter().find(|(name, _)| *name == curve).map(|(_, curve)| curve);
                let found = match algorithm {
                    ECDSA => ecdsa().map(Self::Ecdsa),
                    _ => (curve == ED25519_CURVE).then_some(Self::EdDsa),
                };
                found.ok_or_else(|| {
                    let problem = "openpgp: of curves only Ed25519, P-256, P-384 and P-521 are supported";
                    InvalidKey::Unreadable(problem.to_owned())
                })
            }
            ED25519 => input.take(32).map(|_| Self::Ed25519).ok_or_else(malformed),
            other => Err(InvalidKey::Unreadable(format!(
                "openpgp: keys of algorithm {other} are not supported, use RSA, ECDSA or Ed25519"
            ))),
        }
    }

    fn with_secret(&self, secret: &[u8]) -> Option<KeypairData> {
        let mut input = Input(secret);
        let number = |bytes: &[u8]| Mpint::from_positive_bytes(bytes).ok();
        Some(match self {
            Self::Rsa { n, e } => {
                let (d, p, q, inverse) = (input.integer()?, input.integer()?, input.integer()?, input.integer()?);
                // OpenPGP keeps the inverse of the first prime, SSH that of the second.
                let private = RsaPrivateKey { d: number(d)?, iqmp: number(inverse)?, p: number(q)?, q: number(p)? };
                KeypairData::Rsa(RsaKeypair { public: RsaPublicKey { e: number(e)?, n: number(n)? }, private })
            }
            Self::Ecdsa(curve) => identity::ecdsa(*curve, input.integer()?)?,
            Self::EdDsa | Self::Ed25519 => {
                let bytes = if matches!(self, Self::EdDsa) { input.integer()? } else { input.take(32)? };
                let mut seed = [0; 32];
                seed.get_mut(32usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
                KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed))
            }
        })
    }
}

/// The secret half in the clear.
fn secret(mut input: Input<'_>, passphrase: Option<&[u8]>) -> Result<Vec<u8>, InvalidKey> {
    let malformed = || InvalidKey::Unreadable("openpgp: malformed private key".to_owned());
    let unsupported =
        |what: &str| InvalidKey::Unreadable(format!("openpgp: the private key is {what}, which is not supported"));
    let usage = input.byte().ok_or_else(malformed)?;
    match usage {
        0 => {
            let (secret, sum) = input.0.split_at_checked(input.0.len().wrapping_sub(2)).ok_or_else(malformed)?;
            return if checksum(secret) == sum { Ok(secret.to_vec()) } else { Err(malformed()) };
        }
        254 | 255 => {}
        _ => return Err(unsupported("encrypted in a way that GnuPG does not use for exports")),
    }
    let cipher = input.byte().ok_or_else(malformed)?;
    let key_length = match cipher {
        7 => 16,
        8 => 24,
        9 => 32,
        _ => return Err(unsupported("not encrypted with AES")),
    };
    let stretch = Stretch::read(&mut input).ok_or_else(malformed)?;
    let Some(stretch) = stretch else { return Err(unsupported("not here, only a stub of it")) };
    let initial = input.take(16).ok_or_else(malformed)?;
    let key = stretch.key(passphrase.ok_or(InvalidKey::PassphraseMissing)?, key_length)?;
    let clear = decrypt(&key, initial, input.0).ok_or_else(malformed)?;
    let check = if usage == 254 { 20 } else { 2 };
    let (secret, sum) = clear.split_at_checked(clear.len().wrapping_sub(check)).ok_or_else(malformed)?;
    let expected = if usage == 254 { sha1(secret)? } else { checksum(secret).to_vec() };
    match expected == sum {
        true => Ok(secret.to_vec()),
        false => Err(InvalidKey::PassphraseWrong("openpgp: the passphrase does not fit".to_owned())),
    }
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    bytes.iter().fold(0u16, |sum, byte| sum.wrapping_add((*byte).into())).to_be_bytes()
}

fn fingerprint(public: &[u8]) -> Result<Vec<u8>, InvalidKey> {
    let length = u16::try_from(public.len()).unwrap_or_default().to_be_bytes();
    sha1(&[&[0x99][..], &length, public].concat())
}
