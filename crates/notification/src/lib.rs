//! From events to messages: which Alerts take an event, what each Provider's service is sent, and an outbox that loses none.
//!
//! A stage crate: `alert`, `provider` and `outbox` decide as pure functions; `controller` is the shell.

pub mod alert;
pub mod controller;
pub mod outbox;
pub mod provider;

pub use controller::{Notification, Settings};

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
    /// The service refused.
    #[error("the service answered {status}{detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's own words, with `: ` before them, or nothing.
        detail: String,
    },
    /// The service could not be reached.
    #[error("{0}")]
    Http(#[from] reconcile::HttpError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] reconcile::Error),
}

impl Error {
    /// The reason of the event that users see.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported(_) | Self::Invalid(_) => "InvalidConfig",
            _ => "NotificationDispatchFailed",
        }
    }

    /// Whether trying again later can help without anybody changing anything we would notice.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Invalid(_) => false,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Missing(_) | Self::Http(_) | Self::Store(_) => true,
        }
    }
}
