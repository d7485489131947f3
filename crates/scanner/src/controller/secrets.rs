//! What the secrets of a repository say: credentials, certificates, a proxy.
//!
//! Source: reference image-automation.md section 4.3.

use api::proxy::InvalidProxy;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use oci::Keychain;
use reconcile::Endpoint;

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
    let content = value(secret, key).ok_or_else(|| problem(secret, format!("the key '{key}' is missing")))?;
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
        (Some(certificate), Some(key)) => Some([certificate, b"\n", key].concat()),
        (None, None) if authorities.is_some() => None,
        (None, None) => return Err(problem(secret, "neither 'ca.crt' nor 'tls.crt' and 'tls.key' is set")),
        _ => return Err(problem(secret, "'tls.crt' and 'tls.key' must be set together")),
    };
    endpoint.ca = authorities.map(<[u8]>::to_vec);
    Ok(())
}

/// The proxy's address with its credentials.
pub(super) fn proxy(secret: &Secret) -> Result<String, Error> {
    let text = |key| value(secret, key).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let address = text("address").ok_or_else(|| problem(secret, "the key 'address' is missing"))?;
    api::proxy::url(&address, text("username").as_deref(), text("password").as_deref()).map_err(|invalid| match invalid
    {
        InvalidProxy::NoUrl(error) => problem(secret, format!("the address is not a URL: {error}")),
        other => problem(secret, other.to_string()),
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
            (json!({}), "the key 'address' is missing"),
            (json!({"address": ""}), "the address is not a URL: relative URL without a base"),
            (json!({"address": "ftp://x"}), "the address must begin with http, https or socks5"),
        ] {
            let refused = proxy(&secret("Opaque", &wrong)).expect_err("refused").to_string();
            assert!(refused.ends_with(problem), "{refused}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let mut endpoint = Endpoint::default();
        certificates(&secret("Opaque", &json!({"caFile": "C"})), &mut endpoint).expect("authorities alone");
        assert_eq!((endpoint.ca.as_deref(), &endpoint.identity), (Some(&b"C"[..]), &None));
        assert!(certificates(&secret("Opaque", &json!({"tls.crt": "C"})), &mut endpoint).is_err());
        assert!(certificates(&secret("Opaque", &json!({})), &mut endpoint).is_err());
        assert!(certificates(&secret("kubernetes.io/basic-auth", &json!({"ca.crt": "C"})), &mut endpoint).is_err());
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
