//! Asks cloud providers for logins and keeps them for most of their life.
//!
//! Who we are comes from the environment: keys or tokens that the platform puts there, else the machine's metadata server. In
//! the name of a ServiceAccount, the cluster's token for it is exchanged.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::image::ImageProvider;
use jiff::Timestamp;
use oci::{Credential, Name};
use reconcile::{Identities, clock, identity::account::Account};

use super::numbers::{Numbers, OutcomeLabels, RepositoryLabels};
use crate::{
    Error,
    login::{Login, Target, azure, gcp, target},
};

/// How logins are kept. Source: reference image-automation.md section 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginCache {
    /// Logins kept at most, `--token-cache-max-size`; 0 keeps none.
    pub size: usize,
    /// Longest life of a kept login, `--token-cache-max-duration`.
    pub longest: Duration,
}

impl Default for LoginCache {
    fn default() -> Self {
        Self { size: 100, longest: Duration::from_secs(3600) }
    }
}

/// What is kept for a registry, and until when.
type Kept = HashMap<(ImageProvider, String, String), (Credential, Timestamp)>;

/// For whom a login is looked for.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub provider: ImageProvider,
    pub image: &'a Name,
    /// The account in whose name the cloud is asked; ourselves if there is none.
    pub account: Option<&'a Account>,
    pub object: RepositoryLabels,
}

/// The logins.
pub(super) struct Logins {
    identities: Identities,
    numbers: Numbers,
    cache: LoginCache,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

impl Logins {
    /// Logins for whoever we are to the clouds.
    pub(super) fn new(identities: Identities, cache: LoginCache, numbers: Numbers) -> Self {
        Self { identities, numbers, cache, kept: Mutex::default() }
    }

    /// The login for a registry.
    pub(super) async fn credential(&self, asked: Asked<'_>) -> Result<Credential, Error> {
        let Asked { provider, image, account, object } = asked;
        let key = (provider, image.registry().to_owned(), account.map(Account::key).unwrap_or_default());
        let now = clock::now();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((credential, _)) = kept.filter(|(_, until)| *until > now) {
            self.numbers.login_events.get_or_create(&object.looking("cache_hit")).inc();
            return Ok(credential);
        }
        self.numbers.login_events.get_or_create(&object.looking("cache_miss")).inc();
        let login = self.login(provider, image, account).await;
        let status = if login.is_ok() { "success" } else { "failure" };
        self.numbers.login_requests.get_or_create(&OutcomeLabels { status }).inc();
        let login = login.map_err(|problem| Error::Login {
            provider: provider.as_str(),
            registry: image.registry().to_owned(),
            problem,
        })?;
        // Four fifths of its life, so that it does not end in the middle of a scan.
        let lasts = Duration::from_secs(login.lasts_seconds * 4 / 5).min(self.cache.longest);
        self.keep(key, (login.credential.clone(), now + lasts), now);
        Ok(login.credential)
    }

    /// Keeps a login if there is room for it.
    fn keep(&self, key: (ImageProvider, String, String), login: (Credential, Timestamp), now: Timestamp) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        if before >= self.cache.size {
            all.retain(|_, (_, until)| *until > now);
        }
        self.numbers.login_evictions.inc_by((before - all.len()) as u64);
        if all.len() < self.cache.size {
            all.insert(key, login);
        }
        self.numbers.kept_logins.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
    }

    async fn login(&self, provider: ImageProvider, name: &Name, account: Option<&Account>) -> Result<Login, String> {
        let identities = &self.identities;
        let cloud = match identities.file("AZURE_ENVIRONMENT_FILEPATH")? {
            Some(content) => azure::Cloud::parse(&content)?,
            None => azure::Cloud::default(),
        };
        match target(provider, name.registry(), &cloud).ok_or("the registry does not belong to the provider")? {
            Target::Aws(registry) => {
                let keys = match account {
                    Some(account) => identities.aws_of(account, registry.region()).await?,
                    None => identities.aws(registry.region()).await?,
                };
                let endpoint = identities.aws_endpoint(registry.service());
                registry.login(&identities.ask(registry.ask(&keys, endpoint.as_deref(), clock::now())?).await?)
            }
            Target::Azure => {
                let token = match account {
                    Some(account) => identities.azure_of(account, &cloud.resource()).await?,
                    None => identities.azure(&cloud.resource()).await?,
                };
                azure::login(&identities.ask(azure::exchange(name.scheme(), name.registry(), &token)?).await?)
            }
            Target::Gcp => match account {
                Some(account) => Ok(gcp::login_by(identities.google_of(account).await?)),
                None => gcp::login(&identities.google_machine().await?),
            },
        }
    }
}

#[cfg(test)]
mod tests;
