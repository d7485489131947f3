//! The registry client: image names, credentials, token challenges, tag lists, manifests, blobs, and small images to push.
//! It speaks OCI distribution over a [`Transport`] that it is given, so it owns no socket, no clock and no TLS settings.

pub mod challenge;
pub mod client;
pub mod credential_program;
pub mod credentials;
pub mod digest;
pub mod image;
pub mod link;
pub mod listing;
pub mod manifest;
pub mod name;
mod platforms;
pub mod push;
pub mod reference;
mod referrers;
pub mod repository;
mod token;
pub mod transport;
mod words;

use std::time::Duration;

use http::StatusCode;

pub use client::Client;
pub use credentials::{Credential, Keychain};
pub use digest::Digest;
pub use listing::Listed;
pub use name::{Name, NameError};
pub use reference::Reference;
pub use repository::Repository;
pub use transport::{Body, Transport, TransportError};

/// What a call to a registry came to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why talking to a registry failed. A message names the request, and never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image's name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A Docker configuration or pull secret is unreadable, or a credential helper failed.
    #[error("{0}")]
    Credentials(String),
    /// No answer came back.
    #[error("{request}: {source}")]
    Transport {
        /// Method and address.
        request: String,
        /// What the transport met.
        #[source]
        source: TransportError,
    },
    /// The registry, or its token server, answered with an error.
    #[error("{request}: {detail}")]
    Status {
        /// Method and address.
        request: String,
        /// The status.
        status: StatusCode,
        /// The registry's own words, shortened, or the status' name.
        detail: String,
        /// How long the registry asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer breaks the protocol, or a rule that keeps credentials safe.
    #[error("{request}: {problem}")]
    Protocol {
        /// Method and address.
        request: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// Neither HTTPS nor plain HTTP led in.
    #[error("{secure}; {plain}")]
    Both {
        /// What became of HTTPS.
        secure: Box<Self>,
        /// What became of plain HTTP.
        plain: Box<Self>,
    },
    /// The bytes are not those which the digest or the size promised.
    #[error("{what}: expected {expected}, got {actual}")]
    Mismatch {
        /// The blob or manifest.
        what: String,
        /// What was promised.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The image cannot be used here.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// The reason of the condition that users see.
    /// Source: `reference/image-automation.md`, section 2.1: only what fails before the scan is `AuthenticationFailed`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "ImageURLInvalid",
            Self::Credentials(_) => "AuthenticationFailed",
            _ => "ReadOperationFailed",
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.is_transient(),
            Self::Both { plain, .. } => plain.is_transient(),
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522),
            _ => false,
        }
    }

    /// The status of the answer, if the registry gave one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Both { plain, .. } => plain.status(),
            _ => None,
        }
    }

    /// How long the registry asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Both { plain, .. } => plain.retry_after(),
            _ => None,
        }
    }

    pub(crate) fn both(secure: Self, plain: Self) -> Self {
        Self::Both { secure: Box::new(secure), plain: Box::new(plain) }
    }

    pub(crate) fn protocol(request: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Protocol { request: request.into(), problem: problem.into() }
    }
}
