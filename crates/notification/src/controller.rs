//! The shell: events to Providers' services, Receivers' readiness, and webhooks that wake objects.

mod about;
mod batch;
mod dispatch;
mod forward;
mod health;
mod hooks;
mod identity;
mod login;
mod poke;
mod publish;
mod queues;
mod receivers;
mod records;
mod send;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use reconcile::{Context, Controller, Shutdown};

use self::receivers::{Receivers, secret_changed};
use crate::outbox::{FIRST_WAIT, MAX_AGE};

pub use self::{
    dispatch::Notification,
    forward::forward,
    hooks::{Answer, Hooks, Known, MAX_BODY_BYTES},
    login::Accounts,
    records::OUTBOX,
};

/// Where Google keeps the keys of its tokens.
pub const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// What the command line may change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the repetition of an event is dropped. Flux: `--rate-limit-interval`.
    pub rate_limit: Duration,
    /// How long a notification is tried.
    pub max_age: Duration,
    /// Whether references to other namespaces are refused.
    pub no_cross_namespace_refs: bool,
    /// First wait after a failed try; it doubles.
    pub first_wait: Duration,
    /// Address of the dashboard as people reach it.
    pub external_url: Option<String>,
    /// Where Google's keys are.
    pub google_keys: String,
    /// In whose name clouds may be asked.
    pub accounts: Accounts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate_limit: Duration::from_secs(300),
            max_age: MAX_AGE,
            first_wait: FIRST_WAIT,
            external_url: None,
            no_cross_namespace_refs: false,
            google_keys: GOOGLE_KEYS.into(),
            accounts: Accounts::default(),
        }
    }
}

/// Runs alerts and Receivers until told to stop. Webhooks are answered by [`Hooks`], wherever a server runs.
pub async fn controllers(context: Context, settings: Settings, shutdown: Shutdown) {
    let mut receivers = Controller::new(context.clone(), Receivers { store: context.store.clone() });
    // On a cluster all Secrets would be read for it; there the interval does.
    if context.store.is_standalone() {
        receivers = receivers.watches::<Secret>(secret_changed);
    }
    let alerts = Notification::new(context, settings);
    tokio::join!(alerts.run(shutdown.clone()), receivers.run(shutdown));
}
