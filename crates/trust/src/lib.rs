//! Whom servers have to be vouched for by where a Secret says `ca.crt`: the system's authorities and those, and a server whose
//! own certificate is among those.
//!
//! A certificate made as documentations show it, with `openssl req -x509`, calls itself an authority and serves as the
//! server's at once. Go, and so Flux, takes it where it is trusted itself; webpki refuses it with `CaUsedAsEndEntity`.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

/// Why there is no such configuration.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// What should be certificates is none.
    #[error("the certificate authorities are no certificates in PEM")]
    Authorities,
    /// What should be a client's certificate and key is not both.
    #[error("the client's certificate and key are not in PEM")]
    Identity,
    /// TLS cannot be spoken with them.
    #[error(transparent)]
    Tls(#[from] Error),
}

/// How to speak TLS with servers that one of the authorities vouches for, in PEM, or one of the system's; without any, the
/// system's alone. `identity` is the client's own certificate and key, in PEM.
///
/// # Errors
/// When an authority, the certificate or the key cannot be read.
pub fn client(authorities: Option<&[u8]>, identity: Option<&[u8]>) -> Result<ClientConfig, Invalid> {
    let read = |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    let own = authorities.map(read).unwrap_or_default();
    if authorities.is_some() && own.is_empty() {
        return Err(Invalid::Authorities);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in &own {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(ring::default_provider());
    let inner = verifier(roots, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Trust { inner, own }));
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity).collect::<Result<_, _>>().unwrap_or_default();
    match PrivateKeyDer::from_pem_slice(identity) {
        Ok(key) if !chain.is_empty() => Ok(builder.with_client_auth_cert(chain, key)?),
        _ => Err(Invalid::Identity),
    }
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    built.map_err(|error| Error::General(error.to_string()))
}

/// webpki's verdict, but for certificates that are trusted themselves.
#[derive(Debug)]
struct Trust {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.inner.verify_server_cert(certificate, intermediates, name, stapled, now) {
            // webpki looks at the time before it looks at this, so that only the name is left.
            Err(error) if is_authority(&error) && self.own.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether a certificate was refused because it calls itself an authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return false };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command, time::Duration};

    use super::*;

    /// A certificate of a server that vouches for itself, as Docker's and Git servers' documentations make it.
    fn made(folder: &Path, name: &str, alternative: &str, extra: &[&str]) -> Vec<u8> {
        let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")));
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
            ])
            .args(["-subj", "/CN=registry", "-addext", &format!("subjectAltName={alternative}")])
            .args(extra)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("apt-get install openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(certificate).expect("a certificate")
    }

    /// What becomes of a server with this certificate, where these authorities are trusted, so many days from now.
    fn verdict(authorities: &[u8], server: &[u8], name: &str, days: u64) -> Result<(), String> {
        let own: Vec<_> = CertificateDer::pem_slice_iter(authorities).map(|one| one.expect("PEM")).collect();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(own.clone());
        let inner = verifier(roots, &Arc::new(ring::default_provider())).expect("a verifier");
        let server = CertificateDer::from_pem_slice(server).expect("PEM");
        let name = ServerName::try_from(name).expect("a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + days * 86_400));
        let verdict = Trust { inner, own }.verify_server_cert(&server, &[], &name, &[], now);
        verdict.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_that_vouches_for_itself_is_taken_where_it_is_trusted_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = made(folder.path(), "one", "DNS:registry.example,IP:10.0.0.1", &[]);
        let other = made(folder.path(), "other", "DNS:registry.example", &[]);
        let plain = made(folder.path(), "plain", "DNS:registry.example", &["-addext", "basicConstraints=CA:FALSE"]);
        let both = [other.clone(), one.clone()].concat();
        for (authorities, server, name, days, expected) in [
            (&one, &one, "registry.example", 0, None),
            (&one, &one, "10.0.0.1", 0, None),
            (&both, &one, "registry.example", 29, None),
            (&plain, &plain, "registry.example", 0, None),
            (&one, &one, "evil.example", 0, Some("not valid for name")),
            (&one, &one, "registry.example", 31, Some("expired")),
            (&other, &one, "registry.example", 0, Some("CaUsedAsEndEntity")),
        ] {
            let verdict = verdict(authorities, server, name, days);
            let is_expected = match (&verdict, expected) {
                (Ok(()), None) => true,
                (Err(error), Some(part)) => error.contains(part),
                _ => false,
            };
            assert!(is_expected, "{name} in {days} days: {verdict:?}");
        }
    }

    #[test]
    fn what_is_no_pem_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = made(folder.path(), "one", "DNS:registry.example", &[]);
        let key = std::fs::read(folder.path().join("one.key")).expect("a key");
        assert!(matches!(client(Some(b"nonsense"), None), Err(Invalid::Authorities)));
        assert!(matches!(client(Some(&one), Some(b"nonsense")), Err(Invalid::Identity)));
        client(Some(&one), Some(&[one.clone(), key].concat())).expect("both are there");
    }
}
