//! From events to messages, and from webhooks to reconciles: which Alerts take an event, what each Provider's service is
//! sent, an outbox that loses none; what a webhook proves, and whom it wakes.
//!
//! A stage crate: `alert`, `provider`, `outbox`, `intake`, `facts` and `receiver` decide as pure functions; `controller` is the shell.

pub mod alert;
pub mod controller;
pub mod facts;
pub mod intake;
pub mod outbox;
pub mod provider;
pub mod receiver;

pub use controller::{Accounts, Hooks, Notification, Settings, controllers, forward};

/// Name of the controller in events, as Flux users know it.
pub const CONTROLLER: &str = "notification-controller";

/// Why a notification was not delivered. No message holds an address or a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Provider's type is one of Flux's, or none at all, and we cannot speak it.
    #[error("type {0} is not supported yet")]
    Unsupported(String),
    /// The Provider or one of its Secrets cannot be used as it is.
    #[error("{0}")]
    Invalid(String),
    /// The Provider or one of its Secrets is not there.
    #[error("{0} not found")]
    Missing(String),
    /// The cloud or forge that hands out the login did not.
    #[error("login: {0}")]
    Login(String),
    /// The service refused.
    #[error("the service answered {status}{detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's own words, with `: ` before them, or nothing.
        detail: String,
        /// `Retry-After`: seconds, or a date.
        retry_after: Option<String>,
    },
    /// The service could not be reached.
    #[error("{0}")]
    Http(#[from] reconcile::HttpError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] reconcile::Error),
}

impl From<reconcile::Fault> for Error {
    fn from(fault: reconcile::Fault) -> Self {
        Self::Http(fault.into())
    }
}

impl Error {
    /// The reason of the event that users see.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported(_) | Self::Invalid(_) => "InvalidConfig",
            _ => "NotificationDispatchFailed",
        }
    }

    /// How long the service wants to be left alone.
    pub fn retry_after(&self, now: jiff::Timestamp) -> Option<std::time::Duration> {
        let Self::Refused { retry_after: Some(text), .. } = self else { return None };
        if let Ok(seconds) = text.trim().parse() {
            return Some(std::time::Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
        at.duration_since(now).try_into().ok()
    }

    /// Whether trying again later can help without anybody changing anything we would notice.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Invalid(_) => false,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Missing(_) | Self::Login(_) | Self::Http(_) | Self::Store(_) => true,
        }
    }
}
