//! Logins that have to be asked for before a service is told: clouds' and forges'.

use api::notification::Provider;
use kube::ResourceExt as _;
use reconcile::{Http, Identities, Store, identity::account::Account};

use crate::{
    Error,
    provider::{Settings, googlepubsub, settings::Login},
};

/// What a Provider with an account of its own is told while it may not use it.
const CLOSED: &str = "to use spec.serviceAccountName for provider authentication please enable the \
    ObjectLevelWorkloadIdentity feature gate in the controller";

/// In whose name clouds may be asked. Flux: the feature gate `ObjectLevelWorkloadIdentity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounts {
    /// In our own.
    #[default]
    Ours,
    /// In that of the ServiceAccount that a Provider names, else in our own.
    Named,
}

/// Whoever hands out logins.
#[derive(Clone, Debug)]
pub(super) struct Logins {
    identities: Identities,
    accounts: Accounts,
}

impl Logins {
    pub(super) fn new(http: Http, accounts: Accounts) -> Self {
        Self { identities: Identities::new(http), accounts }
    }

    /// With the login that the service wants, if it wants one that has to be asked for.
    pub(super) async fn log_in(
        &self,
        store: &Store,
        provider: &Provider,
        settings: Settings,
    ) -> Result<Settings, Error> {
        let Some(login) = settings.login() else { return Ok(settings) };
        let account = match &provider.spec.service_account_name {
            Some(name) if login.is_ours() => Some(self.account(store, provider, name).await?),
            _ => None,
        };
        let identities = &self.identities;
        let token = match (login, account) {
            (Login::Google(None), Some(account)) => identities.google_of(&account).await.map(|(token, _)| token),
            (Login::Google(key), _) => identities.google(key.map(str::as_bytes), googlepubsub::SCOPE).await,
            (Login::Azure(resource), Some(account)) => identities.azure_of(&account, resource).await,
            (Login::Azure(resource), None) => identities.azure(resource).await,
            (Login::App(app), _) => identities.github(app).await,
        };
        Ok(settings.logged_in(token.map_err(Error::Login)?))
    }

    async fn account(&self, store: &Store, provider: &Provider, name: &str) -> Result<Account, Error> {
        match self.accounts {
            Accounts::Ours => Err(Error::Invalid(CLOSED.into())),
            Accounts::Named => {
                let namespace = provider.namespace().unwrap_or_default();
                Account::find(store, &namespace, name).await.map_err(Error::Login)
            }
        }
    }
}
