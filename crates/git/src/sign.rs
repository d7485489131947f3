//! Signatures on commits that `git verify-commit` accepts, made in the process: no gpg, no agent, no key on the disk.
//! Source: Git `Documentation/gitformat-signature.txt`; reference image-automation.md section 6.6.

mod identity;
mod openpgp;
mod packets;
mod passphrase;

use std::fmt;

pub(crate) use identity::decrypted;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use ssh_key::{Algorithm, HashAlg, LineEnding, Signature, SshSig, private::KeypairData, public::KeyData};

/// Shortest RSA modulus that signs.
const RSA_MINIMUM_BITS: usize = 2048;
/// What SSH signatures on Git's objects are good for.
const NAMESPACE: &str = "git";

/// Why a key cannot sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It is no key, or one of a kind that is not known here.
    #[error("{0}")]
    Unreadable(String),
    /// The armour holds keys of several owners.
    #[error("multiple entities read, could not determine which signing key to use")]
    SeveralEntities,
    /// It is encrypted, and no passphrase is given.
    #[error("the key is encrypted and no passphrase is given")]
    PassphraseMissing,
    /// The passphrase does not open it.
    #[error("{0}")]
    PassphraseWrong(String),
}

/// A key that signs commits.
#[derive(Clone)]
pub struct SigningKey(Kind);

#[derive(Clone)]
enum Kind {
    Ssh(KeypairData),
    OpenPgp(openpgp::Key),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            Kind::Ssh(_) => "SigningKey(ssh, ***)",
            Kind::OpenPgp(_) => "SigningKey(gpg, ***)",
        })
    }
}

impl SigningKey {
    /// An SSH key: Ed25519, ECDSA on P-256, P-384 or P-521, or RSA of at least 2048 bits.
    ///
    /// # Errors
    /// When it cannot be read, or the passphrase does not fit.
    pub fn ssh(identity: &[u8], passphrase: Option<&[u8]>) -> Result<Self, InvalidKey> {
        let pair = decrypted(identity, passphrase)?;
        if let KeypairData::Rsa(rsa) = &pair {
            let bits = rsa.public.n.as_positive_bytes().map_or(0, <[u8]>::len) * 8;
            if bits < RSA_MINIMUM_BITS {
                return Err(InvalidKey::Unreadable(format!("an RSA key of {bits} bits is too short")));
            }
        }
        Ok(Self(Kind::Ssh(pair)))
    }

    /// An OpenPGP key as `gpg --export-secret-keys --armor` writes it: RSA, Ed25519, or ECDSA on P-256, P-384 or P-521. Of
    /// several that may sign the newest subkey is taken that is good at `now`.
    ///
    /// # Errors
    /// When it cannot be read, holds several owners, or the passphrase does not fit.
    pub fn openpgp(armored: &[u8], passphrase: Option<&[u8]>, now: jiff::Timestamp) -> Result<Self, InvalidKey> {
        openpgp::Key::read(armored, passphrase, now).map(|key| Self(Kind::OpenPgp(key)))
    }

    /// The signature on a commit's content, armoured, without a line end behind it.
    pub(crate) fn sign(&self, content: &[u8], time: jiff::Timestamp) -> Result<String, InvalidKey> {
        let armored = match &self.0 {
            Kind::Ssh(pair) => ssh(pair, content).map_err(|error| InvalidKey::Unreadable(error.to_string()))?,
            Kind::OpenPgp(key) => key.sign(content, time)?,
        };
        Ok(armored.trim_end().to_owned())
    }
}

fn ssh(pair: &KeypairData, content: &[u8]) -> Result<String, ssh_key::Error> {
    let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, content)?;
    let signature = raw(pair, &message)?;
    SshSig::new(KeyData::try_from(pair)?, NAMESPACE, HashAlg::Sha512, signature)?.to_pem(LineEnding::LF)
}

/// The bare signature of a key pair; RSA with SHA-512.
fn raw(pair: &KeypairData, message: &[u8]) -> Result<Signature, ssh_key::Error> {
    let KeypairData::Rsa(pair) = pair else {
        return pair.try_sign(message).map_err(|_| ssh_key::Error::Crypto);
    };
    // ssh-key 0.6.7 puts the first prime in the place of the second when it converts this key itself.
    let number = |value: &ssh_key::Mpint| rsa::BigUint::try_from(value);
    let (public, private) = (&pair.public, &pair.private);
    let primes = vec![number(&private.p)?, number(&private.q)?];
    let key = rsa::RsaPrivateKey::from_components(number(&public.n)?, number(&public.e)?, number(&private.d)?, primes);
    let key = rsa::pkcs1v15::SigningKey::<sha2::Sha512>::new(key.map_err(|_| ssh_key::Error::Crypto)?);
    let signature = key.try_sign(message).map_err(|_| ssh_key::Error::Crypto)?;
    Signature::new(Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, signature.to_vec())
}
