//! How a repository's registry is entered: credentials, certificates, proxy, from the secrets it names.
//!
//! Source: reference image-automation.md section 4.3. What a secret means is in `secrets.rs`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::image::{ImageProvider, ImageRepository};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt as _;
use oci::{Client, Credential, Keychain, Listed, Name, credentials::Source};
use reconcile::{Context, Endpoint, Identities, Object, Store, identity::account::Account};

use super::{
    Options,
    listings::{Key, Listings},
    login::{Asked, Logins},
    numbers::Numbers,
    repository,
    secrets::{certificates, proxy, pull_secret},
    traffic::Traffic,
};
use crate::Error;

/// Limit for one request; the whole scan has its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Ways into registries that are remembered; more than anybody has certificates for.
const MAX_CLIENTS: usize = 256;

/// The ways into registries. What is learnt about a registry (its scheme, its tokens) is shared by all objects that enter
/// it with the same certificates and proxy.
#[derive(Debug)]
pub(super) struct Registries {
    context: Context,
    logins: Logins,
    traffic: Arc<Traffic>,
    listings: Listings,
    clients: Mutex<HashMap<Endpoint, Client>>,
}

/// The repository of an object, ready to be read.
pub(super) struct Opened {
    pub repository: oci::Repository,
    endpoint: Endpoint,
    credential: Option<[u8; 32]>,
}

impl Registries {
    pub(super) fn new(context: Context, options: Options, numbers: &Numbers) -> Self {
        let logins = Logins::new(Identities::new(context.http.clone()), options.logins, numbers.clone());
        let traffic = Arc::new(Traffic::new(options.limits, numbers.clone()));
        Self { context, logins, traffic, listings: Listings::new(numbers.clone()), clients: Mutex::default() }
    }

    /// Lists the tags of a repository unless they are those of the listing with this `ETag`. Objects that ask for the same
    /// share a listing, if it began after the time given.
    pub(super) async fn list(
        &self,
        opened: &Opened,
        etag: Option<String>,
        after: Option<Timestamp>,
    ) -> Result<Arc<Listed>, Error> {
        let key = Key {
            image: opened.repository.name().clone(),
            endpoint: opened.endpoint.clone(),
            credential: opened.credential,
            etag,
        };
        Ok(self.listings.list(opened.repository.clone(), key, after).await?)
    }

    /// The repository of an object, ready to be read.
    pub(super) async fn open(&self, object: &ImageRepository, name: &Name) -> Result<Opened, Error> {
        let endpoint = self.endpoint(object).await?;
        let credential = match object.spec.provider {
            ImageProvider::Generic => self.credential(object, name).await?,
            provider => Some(self.login(provider, object, name).await?),
        };
        let fingerprint = credential.as_ref().map(Credential::fingerprint);
        let repository = self.client(endpoint.clone()).repository(name, credential);
        Ok(Opened { repository, endpoint, credential: fingerprint })
    }

    /// The cloud's login, in the name of the object's account if it has one.
    async fn login(&self, provider: ImageProvider, object: &ImageRepository, name: &Name) -> Result<Credential, Error> {
        let refused =
            |problem| Error::Login { provider: provider.as_str(), registry: name.registry().to_owned(), problem };
        let namespace = object.namespace().unwrap_or_default();
        let account = match &object.spec.service_account_name {
            Some(account) => Some(Account::find(&self.context.store, &namespace, account).await.map_err(refused)?),
            None => None,
        };
        let labels = repository::labels(object);
        self.logins.credential(Asked { provider, image: name, account: account.as_ref(), object: labels }).await
    }

    /// The client for an endpoint.
    fn client(&self, endpoint: Endpoint) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&endpoint) {
            clients.clear();
        }
        let make = || Client::new(self.traffic.transport(&self.context.http, endpoint.clone()));
        clients.entry(endpoint.clone()).or_insert_with(make).clone()
    }

    /// The credential of `secretRef` and of the account's pull secrets; none if no entry fits the image.
    async fn credential(&self, object: &ImageRepository, name: &Name) -> Result<Option<Credential>, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let mut keychain = Keychain::default();
        if let Some(reference) = &object.spec.secret_ref {
            keychain = keychain.merge(pull_secret(&self.secret(&namespace, &reference.name).await?)?);
        }
        if let Some(account) = &object.spec.service_account_name {
            let found: ServiceAccount = self.required("serviceaccount", &namespace, account).await?;
            for reference in found.image_pull_secrets.into_iter().flatten() {
                let secret = self.required::<Secret>("secret", &namespace, &reference.name).await;
                let secret = secret.map_err(|error| match error {
                    Error::Store(_) => error,
                    missing => Error::PullSecret {
                        namespace: namespace.clone(),
                        account: account.clone(),
                        source: Box::new(missing),
                    },
                })?;
                keychain = keychain.merge(pull_secret(&secret)?);
            }
        }
        Ok(match keychain.find(name) {
            Source::Known(credential) => Some(credential),
            // A secret cannot name a helper program.
            Source::Anonymous | Source::Helper { .. } => None,
        })
    }

    /// Proxy and certificates.
    async fn endpoint(&self, object: &ImageRepository) -> Result<Endpoint, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let mut endpoint = Endpoint { timeout: REQUEST_TIMEOUT, ..Endpoint::default() };
        if let Some(reference) = &object.spec.proxy_secret_ref {
            endpoint.proxy = Some(proxy(&self.required("secret", &namespace, &reference.name).await?)?);
        }
        if let Some(reference) = &object.spec.cert_secret_ref {
            certificates(&self.secret(&namespace, &reference.name).await?, &mut endpoint)?;
        }
        Ok(endpoint)
    }

    /// The Secret of a reference, told as the API server tells it where there is none.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, Error> {
        self.required("secret", namespace, name).await.map_err(|error| match error {
            Error::Missing { name, .. } => Error::NoSecret(name),
            other => other,
        })
    }

    /// An object that must be there.
    pub(super) async fn required<K: Object>(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<K, Error> {
        let store: &Store = &self.context.store;
        let missing = || Error::Missing { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        store.get(namespace, name).await?.ok_or_else(missing)
    }
}
