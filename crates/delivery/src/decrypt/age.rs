//! age, as far as a data key needs it: X25519 recipients, armoured, one piece. Source: age-encryption.org/v1.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::bech32;

const VERSION: &str = "age-encryption.org/v1";
/// Longest piece of a payload; a data key is far shorter.
const PIECE: usize = 64 << 10;

/// A secret key: the text `AGE-SECRET-KEY-1…`.
#[derive(Clone)]
pub struct Identity([u8; 32]);

impl Identity {
    /// Reads a key.
    pub fn parse(text: &str) -> Option<Self> {
        bech32::decode("age-secret-key-", text)?.try_into().ok().map(Self)
    }

    /// The file key in a recipient's stanza; none if that is for somebody else.
    fn unwrap(&self, share: &[u8; 32], body: &[u8]) -> Option<Vec<u8>> {
        let recipient = x25519(self.0, X25519_BASEPOINT_BYTES);
        let shared = x25519(self.0, *share);
        let salt = [share.as_slice(), &recipient].concat();
        open(&derive(&shared, &salt, "age-encryption.org/v1/X25519"), [0; 12], body)
    }
}

/// The content of an armoured file that one of the identities opens.
pub fn decrypt(armoured: &str, identities: &[Identity]) -> Option<Vec<u8>> {
    let inner = armoured.trim().strip_prefix("-----BEGIN AGE ENCRYPTED FILE-----")?;
    let inner = inner.strip_suffix("-----END AGE ENCRYPTED FILE-----")?;
    let text: String = inner.split_whitespace().collect();
    let file = BASE64_STANDARD.decode(text).ok()?;
    let end = file.windows(5).position(|window| window == b"\n--- ")? + 1;
    let header = std::str::from_utf8(&file[..end]).ok()?;
    let rest = &file[end + "--- ".len()..];
    let line = rest.iter().position(|byte| *byte == b'\n')?;
    let code = BASE64_STANDARD_NO_PAD.decode(&rest[..line]).ok()?;
    let file_key = file_key(header, identities)?;
    let mut check = mac(&derive(&file_key, &[], "header"));
    check.update(header.as_bytes());
    check.update(b"---");
    check.verify_slice(&code).ok()?;
    let (nonce, payload) = rest[line + 1..].split_at_checked(16)?;
    if payload.len() > PIECE {
        return None;
    }
    // Eleven bytes count the pieces; the last says that there are no more.
    let last = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    open(&derive(&file_key, nonce, "payload"), last, payload)
}

/// The file key, from the first stanza that an identity opens.
fn file_key(header: &str, identities: &[Identity]) -> Option<Vec<u8>> {
    let stanzas = header.strip_prefix(VERSION)?.split("\n-> ").skip(1);
    for stanza in stanzas {
        let (arguments, body) = stanza.split_once('\n')?;
        let Some(share) = arguments.strip_prefix("X25519 ") else { continue };
        let share: [u8; 32] = BASE64_STANDARD_NO_PAD.decode(share).ok()?.try_into().ok()?;
        let body = BASE64_STANDARD_NO_PAD.decode(body.replace('\n', "")).ok()?;
        if let Some(key) = identities.iter().find_map(|identity| identity.unwrap(&share, &body)) {
            return Some(key);
        }
    }
    None
}

/// ChaCha20-Poly1305 without more.
fn open(key: &[u8; 32], nonce: [u8; 12], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut buffer = sealed.to_vec();
    let plain = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut buffer).ok()?;
    Some(plain.to_vec())
}

/// HKDF with SHA-256 for 32 bytes. Source: RFC 5869.
fn derive(secret: &[u8], salt: &[u8], info: &str) -> [u8; 32] {
    let mut extract = mac(salt);
    extract.update(secret);
    let mut expand = mac(&extract.finalize().into_bytes());
    expand.update(info.as_bytes());
    expand.update(&[1]);
    expand.finalize().into_bytes().into()
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("because HMAC takes keys of any length")
}
