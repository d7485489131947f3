//! How OpenPGP keeps a private key behind a passphrase: the passphrase is stretched to a key, which encrypts with AES.
//! Source: RFC 4880 sections 3.7 and 5.5.3.

use aes::cipher::{Block, BlockEncrypt, KeyInit};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{InvalidKey, packets::Input};

/// Hash algorithms.
const SHA1: u8 = 2;
const SHA256: u8 = 8;
const SHA384: u8 = 9;
const SHA512: u8 = 10;

/// How a passphrase becomes a key.
pub(super) struct Stretch<'a> {
    hash: u8,
    salt: &'a [u8],
    /// Bytes that are hashed.
    count: usize,
}

impl<'a> Stretch<'a> {
    /// `Some(None)`: a stub, whose secret half is elsewhere.
    pub(super) fn read(input: &mut Input<'a>) -> Option<Option<Self>> {
        let (kind, hash) = (input.byte()?, input.byte()?);
        Some(match kind {
            0 => Some(Self { hash, salt: &[], count: 0 }),
            1 => Some(Self { hash, salt: input.take(8)?, count: 0 }),
            3 => {
                let salt = input.take(8)?;
                let coded = usize::from(input.byte()?);
                Some(Self { hash, salt, count: (16 + (coded & 15)) << ((coded >> 4) + 6) })
            }
            101 => None,
            _ => return None,
        })
    }

    pub(super) fn key(&self, passphrase: &[u8], length: usize) -> Result<Vec<u8>, InvalidKey> {
        let once = [self.salt, passphrase].concat();
        let count = self.count.max(once.len());
        // Hashed in pieces: GnuPG asks for up to 65 MB.
        let piece = once.repeat((1 << 16) / once.len().max(1) + 1);
        let mut key = Vec::new();
        // A key longer than the hash takes more hashes, each begun with one more zero.
        for zeros in 0.. {
            if key.len() >= length {
                break;
            }
            let mut hasher = Hasher::new(self.hash)?;
            hasher.update(&vec![0; zeros]);
            let mut rest = count;
            while rest > 0 {
                let part = rest.min(piece.len());
                hasher.update(&piece[..part]);
                rest -= part;
            }
            key.extend(hasher.finish()?);
        }
        key.truncate(length);
        Ok(key)
    }
}

/// AES in cipher feedback mode.
pub(super) fn decrypt(key: &[u8], initial: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    fn with<C: KeyInit + BlockEncrypt>(key: &[u8], initial: &[u8], content: &[u8]) -> Option<Vec<u8>> {
        let cipher = C::new_from_slice(key).ok()?;
        let mut clear = Vec::with_capacity(content.len());
        let mut before = initial;
        for chunk in content.chunks(16) {
            let mut block = Block::<C>::clone_from_slice(before);
            cipher.encrypt_block(&mut block);
            clear.extend(chunk.iter().zip(&block).map(|(byte, mask)| byte ^ mask));
            before = chunk;
        }
        Some(clear)
    }
    match key.len() {
        16 => with::<aes::Aes128>(key, initial, content),
        24 => with::<aes::Aes192>(key, initial, content),
        _ => with::<aes::Aes256>(key, initial, content),
    }
}

/// The SHA-1 hash, which OpenPGP names keys by.
pub(super) fn sha1(bytes: &[u8]) -> Result<Vec<u8>, InvalidKey> {
    let mut hasher = Hasher::new(SHA1)?;
    hasher.update(bytes);
    hasher.finish()
}

/// The hashes that protect keys.
enum Hasher {
    Sha1(gix_hash::Hasher),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: u8) -> Result<Self, InvalidKey> {
        Ok(match algorithm {
            SHA1 => Self::Sha1(gix_hash::hasher(gix_hash::Kind::Sha1)),
            SHA256 => Self::Sha256(Sha256::new()),
            SHA384 => Self::Sha384(Sha384::new()),
            SHA512 => Self::Sha512(Sha512::new()),
            other => return Err(InvalidKey::Unreadable(format!("openpgp: hash {other} is not supported"))),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Result<Vec<u8>, InvalidKey> {
        Ok(match self {
            Self::Sha1(hasher) => {
                let digest = hasher.try_finalize().map_err(|error| InvalidKey::Unreadable(error.to_string()))?;
                digest.as_slice().to_vec()
            }
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha384(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        })
    }
}
