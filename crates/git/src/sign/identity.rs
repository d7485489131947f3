//! SSH private keys, in the forms that OpenSSH and Go's `ssh` package read: OpenSSH's own, PKCS #1, SEC 1 and PKCS #8,
//! which `flux create secret git` writes. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rsa::{pkcs1::DecodeRsaPrivateKey as _, pkcs8::DecodePrivateKey as _};
use ssh_key::{
    EcdsaCurve, PrivateKey,
    private::{EcdsaKeypair, Ed25519Keypair, KeypairData, RsaKeypair},
};

use super::InvalidKey;

/// First bytes of OpenSSH's own form.
const OPENSSH: &[u8] = b"openssh-key-v1\0";
/// What stands before the seed of an Ed25519 key in PKCS #8. Source: RFC 8410 section 7.
const ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The pair of a key on a curve.
macro_rules! ecdsa {
    ($curve:ident, $key:expr) => {
        $key.ok()
            .map(|key| KeypairData::from(EcdsaKeypair::$curve { public: key.public_key().into(), private: key.into() }))
    };
}

/// The key pair of an SSH identity, decrypted.
pub(crate) fn decrypted(identity: &[u8], passphrase: Option<&[u8]>) -> Result<KeypairData, InvalidKey> {
    let text = std::str::from_utf8(identity).map_err(|error| InvalidKey::Unreadable(error.to_string()))?.trim();
    let section = |label: &str| Some(&text[text.find(&format!("-----BEGIN {label}-----"))?..]);
    let (read, kind) = if let Some(text) = section("RSA PRIVATE KEY") {
        (rsa::RsaPrivateKey::from_pkcs1_pem(text).ok().and_then(rsa_pair), "PKCS #1")
    } else if let Some(text) = section("EC PRIVATE KEY") {
        (sec1(text), "SEC 1")
    } else if let Some(text) = section("PRIVATE KEY") {
        (pkcs8(text), "PKCS #8")
    } else {
        return openssh(text, passphrase);
    };
    read.ok_or_else(|| InvalidKey::Unreadable(format!("it is no key in the form of {kind}, or one of an unknown kind")))
}

fn rsa_pair(key: rsa::RsaPrivateKey) -> Option<KeypairData> {
    RsaKeypair::try_from(&key).ok().map(KeypairData::Rsa)
}

fn sec1(text: &str) -> Option<KeypairData> {
    ecdsa!(NistP256, p256::SecretKey::from_sec1_pem(text))
        .or_else(|| ecdsa!(NistP384, p384::SecretKey::from_sec1_pem(text)))
        .or_else(|| ecdsa!(NistP521, p521::SecretKey::from_sec1_pem(text)))
}

fn pkcs8(text: &str) -> Option<KeypairData> {
    let ed25519 = || {
        let der = base64_of(text)?;
        let seed = der.strip_prefix(&ED25519)?.first_chunk()?;
        Some(KeypairData::from(Ed25519Keypair::from_seed(seed)))
    };
    let rsa = || rsa::RsaPrivateKey::from_pkcs8_pem(text).ok().and_then(rsa_pair);
    ecdsa!(NistP256, p256::SecretKey::from_pkcs8_pem(text))
        .or_else(|| ecdsa!(NistP384, p384::SecretKey::from_pkcs8_pem(text)))
        .or_else(|| ecdsa!(NistP521, p521::SecretKey::from_pkcs8_pem(text)))
        .or_else(ed25519)
        .or_else(rsa)
}

/// OpenSSH's own form. ssh-key 0.6.7 reads no ECDSA key whose number begins with a zero byte, one in 256 and half of those
/// on P-521: these are read here.
fn openssh(text: &str, passphrase: Option<&[u8]>) -> Result<KeypairData, InvalidKey> {
    let key = match PrivateKey::from_openssh(text) {
        Ok(key) => key,
        Err(error) => {
            let short = plain_section(text).and_then(|section| ecdsa_pair(&section));
            return short.ok_or_else(|| InvalidKey::Unreadable(error.to_string()));
        }
    };
    let KeypairData::Encrypted(section) = key.key_data() else { return Ok(key.key_data().clone()) };
    let passphrase = passphrase.ok_or(InvalidKey::PassphraseMissing)?;
    match key.decrypt(passphrase) {
        Ok(opened) => Ok(opened.key_data().clone()),
        Err(error) => {
            let short = opened(&key, section, passphrase).and_then(|section| ecdsa_pair(&section));
            short.ok_or_else(|| InvalidKey::PassphraseWrong(error.to_string()))
        }
    }
}

/// The private section of a key that is not encrypted.
fn plain_section(text: &str) -> Option<Vec<u8>> {
    let bytes = base64_of(text)?;
    let mut rest = bytes.strip_prefix(OPENSSH)?;
    let (_cipher, _derivation, _options) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    let (_number_of_keys, mut rest) = rest.split_first_chunk::<4>()?;
    let _public = string(&mut rest)?;
    string(&mut rest).map(<[u8]>::to_vec)
}

/// The private section of an encrypted key.
fn opened(key: &PrivateKey, section: &[u8], passphrase: &[u8]) -> Option<Vec<u8>> {
    let (secret, start) = key.kdf().derive_key_and_iv(key.cipher(), passphrase).ok()?;
    let mut section = section.to_vec();
    key.cipher().decrypt(&secret, &start, &mut section, None).ok()?;
    Some(section)
}

/// The ECDSA pair of a private section. Source: OpenSSH `PROTOCOL.key`.
fn ecdsa_pair(section: &[u8]) -> Option<KeypairData> {
    let (check, mut rest) = section.split_first_chunk::<8>()?;
    if check[..4] != check[4..] {
        return None;
    }
    let (algorithm, _curve, _point) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    let number = string(&mut rest)?;
    let curve = match algorithm {
        b"ecdsa-sha2-nistp256" => EcdsaCurve::NistP256,
        b"ecdsa-sha2-nistp384" => EcdsaCurve::NistP384,
        b"ecdsa-sha2-nistp521" => EcdsaCurve::NistP521,
        _ => return None,
    };
    ecdsa(curve, number)
}

/// The pair of a secret number on a curve.
pub(super) fn ecdsa(curve: EcdsaCurve, number: &[u8]) -> Option<KeypairData> {
    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    match curve {
        EcdsaCurve::NistP256 => ecdsa!(NistP256, p256::SecretKey::from_slice(number)),
        EcdsaCurve::NistP384 => ecdsa!(NistP384, p384::SecretKey::from_slice(number)),
        EcdsaCurve::NistP521 => ecdsa!(NistP521, p521::SecretKey::from_slice(number)),
    }
}

/// What stands in base64 between the first two lines of dashes.
fn base64_of(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().skip(1).take_while(|line| !line.starts_with("-----"));
    BASE64_STANDARD.decode(lines.map(str::trim).collect::<String>()).ok()
}

/// Bytes with their number before them.
pub(super) fn string<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (text, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = behind;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ed25519_key_in_pkcs8_is_read() {
        // The example of RFC 8410, section 10.3.
        let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let Ok(KeypairData::Ed25519(pair)) = decrypted(text.as_bytes(), None) else { panic!("no Ed25519 key") };
        assert_eq!(hex::encode(pair.public.0), "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
        let wrong = decrypted(text.replace("MC4C", "MC4D").as_bytes(), None).unwrap_err();
        assert!(wrong.to_string().contains("PKCS #8"), "{wrong}");
    }

    proptest! {
        #[test]
        fn no_section_makes_the_reader_panic(mut section in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ecdsa_pair(&section);
            section.splice(..0, [1; 8]);
            section.splice(8..8, [0, 0, 0, 19].into_iter().chain(*b"ecdsa-sha2-nistp256"));
            let _ = ecdsa_pair(&section);
            let text = format!("-----\n{}\n-----", BASE64_STANDARD.encode([OPENSSH, &section].concat()));
            let _ = decrypted(text.as_bytes(), Some(b"secret"));
        }
    }
}
