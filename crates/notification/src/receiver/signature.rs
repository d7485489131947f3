//! Proofs of the sender: HMACs over the body and shared words, compared in constant time. Pure.

use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::{Hook, Refusal};

/// A header that must hold exactly the token.
///
/// Differs: Flux compares these in a time that depends on the first difference.
pub fn equal(hook: Hook<'_>, name: &str, token: &[u8]) -> Result<(), Refusal> {
    if bool::from(hook.header(name).ct_eq(token)) {
        return Ok(());
    }
    Err(Refusal::new(format!("the header {name} does not hold the token")))
}

/// `<sha1|sha256|sha512>=<hex>`: the HMAC of the body.
pub fn prefixed(signature: &[u8], token: &[u8], body: &[u8]) -> Result<(), Refusal> {
    let text = std::str::from_utf8(signature).unwrap_or_default();
    if text.is_empty() {
        return Err(Refusal::new("the signature is missing"));
    }
    let (algorithm, digits) =
        text.split_once('=').ok_or_else(|| Refusal::new("the signature does not name its algorithm"))?;
    let algorithm = match algorithm {
        "sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => hmac::HMAC_SHA256,
        "sha512" => hmac::HMAC_SHA512,
        _ => return Err(Refusal::new("the signature's algorithm is not sha1, sha256 or sha512")),
    };
    let expected = hex::decode(digits).map_err(|_| Refusal::new("the signature is not written in hex"))?;
    hmac::verify(&hmac::Key::new(algorithm, token), body, &expected)
        .map_err(|_| Refusal::new("the signature is not that of the body"))
}

/// GitHub's and Bitbucket's signature; the body is JSON or a form. SHA-256 is looked at before SHA-1.
pub fn hub(hook: Hook<'_>, token: &[u8]) -> Result<(), Refusal> {
    match media_type(hook).as_str() {
        "application/json" | "application/x-www-form-urlencoded" => {}
        _ => return Err(Refusal::new("the Content-Type is neither JSON nor a form")),
    }
    let signature = match hook.header("x-hub-signature-256") {
        [] => hook.header("x-hub-signature"),
        signature => signature,
    };
    prefixed(signature, token, hook.body)
}

/// Nexus' signature: HMAC-SHA-1 in lower-case hex, compared as text.
pub fn nexus(signature: &[u8], token: &[u8], body: &[u8]) -> Result<(), Refusal> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token);
    let expected = hex::encode(hmac::sign(&key, body));
    if bool::from(signature.ct_eq(expected.as_bytes())) {
        return Ok(());
    }
    Err(Refusal::new("the signature is not that of the body"))
}

/// The media type of the body, in lower case, without parameters.
pub fn media_type(hook: Hook<'_>) -> String {
    hook.text("content-type").split(';').next().unwrap_or_default().trim().to_lowercase()
}
