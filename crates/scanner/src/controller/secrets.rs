//! What the secrets of a repository say: credentials, certificates, a proxy.
//!
//! Source: reference image-automation.md section 4.3. The texts of what is wrong with certificates and proxies are those of
//! fluxcd/pkg `runtime/secrets`.

use api::proxy::InvalidProxy;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use oci::Keychain;
use reconcile::Endpoint;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::Error;

/// Reads what is under the key of a pull secret.
type Reader = fn(&[u8]) -> oci::Result<Keychain>;

/// The credentials of a pull secret. Only the two types made for them count; others hold none.
pub(super) fn pull_secret(secret: &Secret) -> Result<Keychain, Error> {
    let (key, read): (_, Reader) = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => (".dockerconfigjson", Keychain::from_dockerconfigjson),
        Some("kubernetes.io/dockercfg") => (".dockercfg", Keychain::from_dockercfg),
        _ => return Ok(Keychain::default()),
    };
    let content = value(secret, key).ok_or_else(|| problem(secret, format!("key '{key}' not found")))?;
    read(content).map_err(|error| problem(secret, error.to_string()))
}

/// Client certificate and authorities, under their keys or the older ones.
pub(super) fn certificates(secret: &Secret, endpoint: &mut Endpoint) -> Result<(), Error> {
    if let Some(other) = secret.type_.as_deref().filter(|kind| !matches!(*kind, "" | "Opaque" | "kubernetes.io/tls")) {
        return Err(problem(
            secret,
            format!("certificates are read from a secret of type Opaque or kubernetes.io/tls, not '{other}'"),
        ));
    }
    let either = |key, older| {
        let found = value(secret, key);
        found.or_else(|| {
            let found = value(secret, older)?;
            tracing::warn!(secret = %secret.name_any(), older, key, "the key of a certificate secret is deprecated");
            Some(found)
        })
    };
    let authorities = either("ca.crt", "caFile");
    endpoint.identity = match (either("tls.crt", "certFile"), either("tls.key", "keyFile")) {
        (Some(certificate), Some(key)) => Some(pair(certificate, key)?),
        (None, None) if authorities.is_some() => None,
        (None, None) => {
            return Err(lacks(secret, "must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"));
        }
        (Some(_), None) => return Err(lacks(secret, "contains 'tls.crt' but missing 'tls.key'")),
        (None, Some(_)) => return Err(lacks(secret, "contains 'tls.key' but missing 'tls.crt'")),
    };
    if authorities.is_some_and(|pem| !CertificateDer::pem_slice_iter(pem).any(|one| one.is_ok())) {
        return Err(Error::Certificate("CA certificate"));
    }
    endpoint.ca = authorities.map(<[u8]>::to_vec);
    Ok(())
}

/// Certificate and key in one text.
fn pair(certificate: &[u8], key: &[u8]) -> Result<Vec<u8>, Error> {
    if CertificateDer::from_pem_slice(certificate).is_err() {
        return Err(Error::Certificate(
            "TLS certificate and key: tls: failed to find any PEM data in certificate input",
        ));
    }
    if PrivateKeyDer::from_pem_slice(key).is_err() {
        return Err(Error::Certificate("TLS certificate and key: tls: failed to find any PEM data in key input"));
    }
    Ok([certificate, b"\n", key].concat())
}

/// The proxy's address with its credentials.
pub(super) fn proxy(secret: &Secret) -> Result<String, Error> {
    let text = |key| value(secret, key).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let address = text("address").ok_or_else(|| problem(secret, "key 'address' not found"))?;
    if address.is_empty() {
        return Err(problem(secret, "proxy address is empty"));
    }
    api::proxy::url(&address, text("username").as_deref(), text("password").as_deref()).map_err(|invalid| {
        let text = match invalid {
            // Differs: the address, which Flux shows, may hold a password.
            InvalidProxy::NoUrl(error) => format!("failed to parse proxy address: {error}"),
            InvalidProxy::TooLong => "proxy URL exceeds maximum length of 2048 characters".to_owned(),
            InvalidProxy::Scheme => {
                let scheme = address.split(':').next().unwrap_or_default();
                format!("proxy URL must use one of the supported schemes (http, https, socks5), got '{scheme}'")
            }
            InvalidProxy::NoLogin => invalid.to_string(),
        };
        problem(secret, text)
    })
}

/// The bytes under a key.
fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}

/// The error that names the secret.
pub(super) fn problem(secret: &Secret, problem: impl Into<String>) -> Error {
    Error::Secret {
        namespace: secret.namespace().unwrap_or_default(),
        name: secret.name_any(),
        problem: problem.into(),
    }
}

/// The error that says which keys are missing.
fn lacks(secret: &Secret, problem: &'static str) -> Error {
    Error::Keys { namespace: secret.namespace().unwrap_or_default(), name: secret.name_any(), problem }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use oci::{Name, credentials::Source};
    use serde_json::{Value, json};

    use super::*;

    fn secret(type_: &str, data: &Value) -> Secret {
        let bytes = |value: &Value| ByteString(value.as_str().unwrap_or_default().into());
        Secret {
            type_: Some(type_.to_owned()),
            data: data.as_object().map(|data| data.iter().map(|(key, value)| (key.clone(), bytes(value))).collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn a_proxy_carries_its_credentials() {
        let given = json!({"address": "http://proxy:3128", "username": "u@x", "password": "p:w%41"});
        assert_eq!(proxy(&secret("Opaque", &given)).expect("a proxy"), "http://u%40x:p%3Aw%2541@proxy:3128/");
        for (wrong, problem) in [
            (json!({}), "secret '/': key 'address' not found"),
            (json!({"address": ""}), "secret '/': proxy address is empty"),
            (json!({"address": "http://[::1"}), "secret '/': failed to parse proxy address: invalid IPv6 address"),
            (
                json!({"address": "ftp://x"}),
                "secret '/': proxy URL must use one of the supported schemes (http, https, socks5), got 'ftp'",
            ),
            (
                json!({"address": format!("http://{}", "a".repeat(2048))}),
                "secret '/': proxy URL exceeds maximum length of 2048 characters",
            ),
        ] {
            assert_eq!(proxy(&secret("Opaque", &wrong)).expect_err("refused").to_string(), problem);
        }
    }

    #[test]
    fn certificates_are_refused_in_fluxs_words() {
        let pem = |what: &str| format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
        let (certificate, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
        let mut endpoint = Endpoint::default();
        certificates(&secret("Opaque", &json!({"caFile": certificate})), &mut endpoint).expect("authorities alone");
        assert_eq!((endpoint.ca.as_deref(), &endpoint.identity), (Some(certificate.as_bytes()), &None));
        let both = json!({"tls.crt": certificate, "tls.key": key});
        certificates(&secret("kubernetes.io/tls", &both), &mut endpoint).expect("a pair");
        assert!(endpoint.identity.is_some());
        for (type_, data, problem) in [
            ("Opaque", json!({"tls.crt": "C"}), "secret '/' contains 'tls.crt' but missing 'tls.key'"),
            ("Opaque", json!({"tls.key": "C"}), "secret '/' contains 'tls.key' but missing 'tls.crt'"),
            ("Opaque", json!({}), "secret '/' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"),
            ("Opaque", json!({"ca.crt": "C"}), "failed to parse CA certificate"),
            (
                "Opaque",
                json!({"tls.crt": "C", "tls.key": key}),
                "failed to parse TLS certificate and key: tls: failed to find any PEM data in certificate input",
            ),
            (
                "Opaque",
                json!({"tls.crt": certificate, "tls.key": "K"}),
                "failed to parse TLS certificate and key: tls: failed to find any PEM data in key input",
            ),
            (
                "kubernetes.io/basic-auth",
                json!({"ca.crt": certificate}),
                "secret '/': certificates are read from a secret of type Opaque or kubernetes.io/tls, not \
                 'kubernetes.io/basic-auth'",
            ),
        ] {
            let refused = certificates(&secret(type_, &data), &mut endpoint).expect_err("refused");
            assert_eq!(refused.to_string(), problem);
        }
    }

    #[test]
    fn only_secrets_made_for_it_hold_credentials() {
        let name = Name::parse("example.com/foo/bar").expect("a name");
        let config = "{\"auths\": {\"example.com\": {\"username\": \"u\", \"password\": \"p\"}}}";
        let found = |type_: &str| {
            let secret = secret(type_, &json!({".dockerconfigjson": config}));
            matches!(pull_secret(&secret).expect("readable").find(&name), Source::Known(_))
        };
        assert!(found("kubernetes.io/dockerconfigjson"));
        assert!(!found("Opaque"));
        assert!(pull_secret(&secret("kubernetes.io/dockercfg", &json!({}))).is_err());
    }
}
