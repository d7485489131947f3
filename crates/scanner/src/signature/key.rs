//! Public keys, and whether they made a signature. `ring` verifies, but for P-521 and for Ed25519 over a hash, which it does
//! not know.

use ed25519_dalek::{Signature as EdSignature, VerifyingKey as EdKey};
use p521::ecdsa::{DerSignature, Signature, VerifyingKey, signature::hazmat::PrehashVerifier as _};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256, Sha512};
use x509_cert::{
    der::{Decode as _, asn1::ObjectIdentifier},
    spki::SubjectPublicKeyInfoRef,
};

const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

type Algorithm = &'static dyn VerificationAlgorithm;
type Algorithms = &'static [Algorithm];

// Cosign signs with SHA-256 whatever the curve; newer releases take the hash that goes with it. Authorities for time stamps
// take what they like.
static BY_P256: [Algorithm; 2] = [&signature::ECDSA_P256_SHA256_ASN1, &signature::ECDSA_P256_SHA384_ASN1];
static BY_P384: [Algorithm; 2] = [&signature::ECDSA_P384_SHA384_ASN1, &signature::ECDSA_P384_SHA256_ASN1];
static BY_RSA: [Algorithm; 3] = [
    &signature::RSA_PKCS1_2048_8192_SHA256,
    &signature::RSA_PKCS1_2048_8192_SHA384,
    &signature::RSA_PKCS1_2048_8192_SHA512,
];

/// A public key: ECDSA on P-256, P-384 or P-521, Ed25519, RSA from 2,048 bits on.
#[derive(Clone)]
pub struct PublicKey(Kind);

#[derive(Clone)]
enum Kind {
    Ring { algorithms: Algorithms, bits: Vec<u8> },
    P521(Box<VerifyingKey>),
    Ed25519(Box<EdKey>),
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Kind::Ring { .. } => "PublicKey",
            Kind::P521(_) => "PublicKey(P-521)",
            Kind::Ed25519(_) => "PublicKey(Ed25519)",
        })
    }
}

impl PublicKey {
    /// The keys of a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, String> {
        let blocks = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
        let keys: Vec<_> = blocks
            .map(|block| Self::from_der(block.map_err(|error| format!("it is not PEM: {error}"))?.as_ref()))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("it holds no PUBLIC KEY".into()) } else { Ok(keys) }
    }

    /// The key of a SubjectPublicKeyInfo. Source: RFC 5280 section 4.1.2.7, RFC 5480, RFC 8410.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| "it is not a public key".to_owned())?;
        let bits = info.subject_public_key.as_bytes().ok_or("it is not a public key")?;
        let curve = || info.algorithm.parameters_oid().ok();
        let algorithms: Algorithms = match info.algorithm.oid {
            ELLIPTIC if curve() == Some(P256) => &BY_P256,
            ELLIPTIC if curve() == Some(P384) => &BY_P384,
            ELLIPTIC if curve() == Some(P521) => {
                let key = VerifyingKey::from_sec1_bytes(bits).map_err(|_| "it is not a public key")?;
                return Ok(Self(Kind::P521(Box::new(key))));
            }
            ED25519 => {
                let key = bits.try_into().ok().and_then(|bits| EdKey::from_bytes(bits).ok());
                return Ok(Self(Kind::Ed25519(Box::new(key.ok_or("it is not a public key")?))));
            }
            RSA => &BY_RSA,
            _ => return Err("it is neither ECDSA on P-256, P-384 or P-521, nor Ed25519, nor RSA".into()),
        };
        Ok(Self(Kind::Ring { algorithms, bits: bits.to_vec() }))
    }

    /// Whether the key's owner signed the message.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Kind::Ring { algorithms, bits } => {
                let by = |algorithm: &Algorithm| UnparsedPublicKey::new(*algorithm, bits).verify(message, signature);
                algorithms.iter().any(|algorithm| by(algorithm).is_ok())
            }
            Kind::P521(key) => {
                let signature = DerSignature::from_bytes(signature).and_then(Signature::try_from);
                let by =
                    |digest: &[u8]| signature.as_ref().is_ok_and(|one| key.verify_prehash(&wide(digest), one).is_ok());
                by(&Sha256::digest(message)) || by(&Sha512::digest(message))
            }
            // Cosign 3 signs a hash (`Ed25519ph` in RFC 8032), older releases and logs the message itself.
            Kind::Ed25519(key) => EdSignature::from_slice(signature).is_ok_and(|signature| {
                let hash = Sha512::new_with_prefix(message);
                key.verify_strict(message, &signature).is_ok()
                    || key.verify_prehashed_strict(hash, None, &signature).is_ok()
            }),
        }
    }
}

/// A digest as a number on P-521: the crate takes none that is shorter than half of the curve's.
fn wide(digest: &[u8]) -> [u8; 66] {
    let mut number = [0; 66];
    number[66 - digest.len()..].copy_from_slice(digest);
    number
}
