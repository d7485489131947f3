//! How a repository's registry is entered: credentials, certificates, proxy, from the secrets it names.
//!
//! Source: reference image-automation.md section 4.3.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::image::{ImageProvider, ImageRepository};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt as _;
use oci::{Client, Credential, Keychain, Name, Transport, TransportError, credentials::Source};
use reconcile::{Context, Endpoint, Http, HttpError, Object, Store, clock};
use url::Url;

use super::login::Logins;
use crate::Error;

/// Limit for one request; the whole scan has its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Ways into registries that are remembered; more than anybody has certificates for.
const MAX_CLIENTS: usize = 256;
/// Longest address of a proxy.
const MAX_ADDRESS: usize = 2048;

/// The ways into registries. What is learnt about a registry (its scheme, its tokens) is shared by all objects that enter
/// it with the same certificates and proxy.
#[derive(Debug)]
pub(super) struct Registries {
    context: Context,
    logins: Logins,
    clients: Mutex<HashMap<Endpoint, Client>>,
}

impl Registries {
    pub(super) fn new(context: Context) -> Self {
        let environment = |name: &str| std::env::var(name).ok();
        let logins = Logins::new(context.http.clone(), Box::new(environment));
        Self { context, logins, clients: Mutex::default() }
    }

    /// The repository of an object, ready to be read.
    pub(super) async fn open(&self, object: &ImageRepository, name: &Name) -> Result<oci::Repository, Error> {
        let credential = match object.spec.provider {
            ImageProvider::Generic => self.credential(object, name).await?,
            // Differs: Flux can log in as the object's own account; our own identity in its place would give away too much.
            provider if object.spec.service_account_name.is_some() => {
                return Err(Error::Login {
                    provider: provider.as_str(),
                    registry: name.registry().to_owned(),
                    problem: "spec.serviceAccountName is not supported yet with this provider".into(),
                });
            }
            provider => Some(self.logins.credential(provider, name.registry()).await?),
        };
        let endpoint = self.endpoint(object).await?;
        Ok(self.client(endpoint).repository(name, credential))
    }

    /// The client for an endpoint.
    fn client(&self, endpoint: Endpoint) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&endpoint) {
            clients.clear();
        }
        let make = || Client::new(transport(&self.context.http, endpoint.clone()));
        clients.entry(endpoint.clone()).or_insert_with(make).clone()
    }

    /// The credential of `secretRef` and of the account's pull secrets; none if no entry fits the image.
    async fn credential(&self, object: &ImageRepository, name: &Name) -> Result<Option<Credential>, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let mut names = Vec::new();
        names.extend(object.spec.secret_ref.as_ref().map(|reference| reference.name.clone()));
        if let Some(account) = &object.spec.service_account_name {
            let account: ServiceAccount = self.required("service account", &namespace, account).await?;
            names.extend(account.image_pull_secrets.into_iter().flatten().map(|reference| reference.name));
        }
        let mut keychain = Keychain::default();
        for secret in names {
            let secret: Secret = self.required("secret", &namespace, &secret).await?;
            keychain = keychain.merge(pull_secret(&secret)?);
        }
        Ok(match keychain.find(name) {
            Source::Known(credential) => Some(credential),
            // A secret cannot name a helper program.
            Source::Anonymous | Source::Helper { .. } => None,
        })
    }

    /// Certificates and proxy.
    async fn endpoint(&self, object: &ImageRepository) -> Result<Endpoint, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let mut endpoint = Endpoint { timeout: REQUEST_TIMEOUT, ..Endpoint::default() };
        if let Some(reference) = &object.spec.cert_secret_ref {
            certificates(&self.required("secret", &namespace, &reference.name).await?, &mut endpoint)?;
        }
        if let Some(reference) = &object.spec.proxy_secret_ref {
            endpoint.proxy = Some(proxy(&self.required("secret", &namespace, &reference.name).await?)?);
        }
        Ok(endpoint)
    }

    /// An object that must be there.
    async fn required<K: Object>(&self, kind: &'static str, namespace: &str, name: &str) -> Result<K, Error> {
        let store: &Store = &self.context.store;
        let missing = || Error::Missing { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        store.get(namespace, name).await?.ok_or_else(missing)
    }
}

/// A way to send requests with the settings of an endpoint.
pub(super) fn transport(http: &Http, endpoint: Endpoint) -> Transport {
    let http = http.clone();
    let send = move |request: http::Request<bytes::Bytes>| {
        let (http, endpoint) = (http.clone(), endpoint.clone());
        async move {
            let answer = http.stream(request, &endpoint).await.map_err(|error| failure(&error))?;
            Ok(answer.map(|body| body.map(|piece| piece.map_err(|error| failure(&error))).boxed()))
        }
        .boxed()
    };
    Transport::new(send, |time| clock::sleep(time).boxed())
}

/// The client's failure as the registry client knows it: settings do not mend themselves.
fn failure(error: &HttpError) -> TransportError {
    match error {
        HttpError::Settings(_) | HttpError::TooLarge(_) => TransportError::permanent(error.to_string()),
        _ => TransportError::transient(error.to_string()),
    }
}

/// Reads what is under the key of a pull secret.
type Reader = fn(&[u8]) -> oci::Result<Keychain>;

/// The credentials of a pull secret. Only the two types made for them count; others hold none.
fn pull_secret(secret: &Secret) -> Result<Keychain, Error> {
    let (key, read): (_, Reader) = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => (".dockerconfigjson", Keychain::from_dockerconfigjson),
        Some("kubernetes.io/dockercfg") => (".dockercfg", Keychain::from_dockercfg),
        _ => return Ok(Keychain::default()),
    };
    let content = value(secret, key).ok_or_else(|| problem(secret, format!("the key '{key}' is missing")))?;
    read(content).map_err(|error| problem(secret, error.to_string()))
}

/// Client certificate and authorities, under their keys or the older ones.
fn certificates(secret: &Secret, endpoint: &mut Endpoint) -> Result<(), Error> {
    let either = |key, older| value(secret, key).or_else(|| value(secret, older));
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
fn proxy(secret: &Secret) -> Result<String, Error> {
    let text = |key| value(secret, key).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let address = text("address").ok_or_else(|| problem(secret, "the key 'address' is missing"))?;
    if address.len() > MAX_ADDRESS {
        return Err(problem(secret, format!("the address is longer than {MAX_ADDRESS} characters")));
    }
    let mut url =
        Url::parse(&address).map_err(|error| problem(secret, format!("the address is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5") {
        return Err(problem(secret, "the address must begin with http, https or socks5"));
    }
    let user = text("username").map_or(Ok(()), |user| url.set_username(&user));
    let password = text("password").map_or(Ok(()), |password| url.set_password(Some(&password)));
    user.and(password).map_err(|()| problem(secret, "the address cannot carry credentials"))?;
    Ok(url.to_string())
}

/// The bytes under a key.
fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}

/// The error that names the secret.
fn problem(secret: &Secret, problem: impl Into<String>) -> Error {
    Error::Secret {
        namespace: secret.namespace().unwrap_or_default(),
        name: secret.name_any(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
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
        let given = json!({"address": "http://proxy:3128", "username": "u@x", "password": "p:w"});
        assert_eq!(proxy(&secret("Opaque", &given)).expect("a proxy"), "http://u%40x:p%3Aw@proxy:3128/");
        for wrong in [json!({}), json!({"address": "ftp://x"}), json!({"address": "x"})] {
            assert!(proxy(&secret("Opaque", &wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let mut endpoint = Endpoint::default();
        certificates(&secret("Opaque", &json!({"caFile": "C"})), &mut endpoint).expect("authorities alone");
        assert_eq!((endpoint.ca.as_deref(), &endpoint.identity), (Some(&b"C"[..]), &None));
        assert!(certificates(&secret("Opaque", &json!({"tls.crt": "C"})), &mut endpoint).is_err());
        assert!(certificates(&secret("Opaque", &json!({})), &mut endpoint).is_err());
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
