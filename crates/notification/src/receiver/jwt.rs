//! Signed tokens (JWT) and the keys (JWKS) that prove them. Pure.
//!
//! Only signatures with a public key count: `none` and shared keys are never accepted.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;

/// Longest token that is read.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// How far the clocks of issuer and receiver may differ where a token is not valid yet.
const SKEW_SECONDS: f64 = 300.0;

/// A token, read and not yet believed.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    algorithm: String,
    key: Option<String>,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

/// What a token must name to be ours.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// One of these as `iss`.
    pub issuers: &'a [&'a str],
    /// Among `aud`.
    pub audience: &'a str,
}

impl<'a> Token<'a> {
    /// Reads a token in its compact form.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let malformed = || Refusal::new("the bearer token is not a JWT");
        if text.len() > MAX_TOKEN_BYTES {
            return Err(malformed());
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        let claims: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())?;
        if !claims.is_object() {
            return Err(malformed());
        }
        Ok(Self { algorithm: header.alg, key: header.kid, claims, signed, signature: decode(signature)? })
    }

    /// Who the token says it is from.
    pub fn issuer(&self) -> &str {
        self.claims["iss"].as_str().unwrap_or_default()
    }

    /// What the token says; worth nothing before [`Token::verify`].
    pub fn claims(&self) -> &Value {
        &self.claims
    }

    /// The name of the key that signed it.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether it is signed by one of the keys, for us, and valid now.
    pub fn verify(&self, keys: &KeySet, expected: Expected<'_>, now: jiff::Timestamp) -> Result<(), Refusal> {
        let mut candidates =
            keys.keys.iter().filter(|key| self.key.is_none() || key.kid.is_none() || key.kid == self.key);
        if !candidates.any(|key| key.signed(&self.algorithm, self.signed.as_bytes(), &self.signature)) {
            return Err(Refusal::new("the token is not signed by a key of its issuer"));
        }
        if !expected.issuers.contains(&self.issuer()) {
            return Err(Refusal::new("the token is of another issuer"));
        }
        let audience = match &self.claims["aud"] {
            Value::String(one) => one == expected.audience,
            Value::Array(all) => all.iter().any(|one| one.as_str() == Some(expected.audience)),
            _ => false,
        };
        if !audience {
            return Err(Refusal::new("the token is for another audience"));
        }
        let now = now.as_second() as f64;
        let expires =
            self.claims["exp"].as_f64().ok_or_else(|| Refusal::new("the token does not say when it expires"))?;
        if now >= expires {
            return Err(Refusal::new("the token has expired"));
        }
        if self.claims["nbf"].as_f64().is_some_and(|from| now + SKEW_SECONDS < from) {
            return Err(Refusal::new("the token is not valid yet"));
        }
        Ok(())
    }
}

/// The public keys of an issuer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl KeySet {
    /// Reads a JWKS document. A key that we cannot use is passed over.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(text).map_err(|_| Refusal::new("the issuer's keys are not a JWKS document"))
    }

    /// Whether a key of that name is among them.
    pub fn has(&self, name: Option<&str>) -> bool {
        name.is_none() || self.keys.iter().any(|key| key.kid.as_deref() == name)
    }
}

impl Key {
    fn signed(&self, algorithm: &str, message: &[u8], signed: &[u8]) -> bool {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return false;
        }
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = RsaPublicKeyComponents { n: decode(&self.n), e: decode(&self.e) };
                key.verify(parameters, message, signed).is_ok()
            }
            ("EC", curve) => {
                let parameters = match (algorithm, curve) {
                    ("ES256", "P-256") => &signature::ECDSA_P256_SHA256_FIXED,
                    ("ES384", "P-384") => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => return false,
                };
                let point = [vec![4], decode(&self.x), decode(&self.y)].concat();
                UnparsedPublicKey::new(parameters, point).verify(message, signed).is_ok()
            }
            ("OKP", "Ed25519") if algorithm == "EdDSA" => {
                UnparsedPublicKey::new(&signature::ED25519, decode(&self.x)).verify(message, signed).is_ok()
            }
            _ => false,
        }
    }
}
