//! The scanner stage: tags read from registries and kept, and for every policy the tag that is wanted now.
//!
//! Pure: [`schedule`], [`result`], [`budget`], [`access`], [`reflection`], [`login`], [`signature`], [`timetable`].
//! Shells: [`tags`], [`controller`].

pub mod access;
pub mod budget;
pub mod controller;
pub mod login;
pub mod reflection;
pub mod result;
pub mod schedule;
pub mod signature;
pub mod tags;
pub mod timetable;

use std::sync::Arc;

pub use budget::Limits;
pub use controller::{Asking, Images, LoginCache, Options, controllers};
pub use result::Listing;
pub use tags::Tags;

impl From<oci::Error> for Error {
    fn from(error: oci::Error) -> Self {
        Self::Registry(Arc::new(error))
    }
}

/// What can go wrong between an object and its registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] reconcile::Error),
    /// An object that is referred to does not exist. The text is Flux's.
    #[error("{kind} '{namespace}/{name}' not found")]
    Missing {
        /// `secret`, `serviceaccount`.
        kind: &'static str,
        /// Where it was looked for.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The Secret of `secretRef` or `certSecretRef` does not exist. The text is that of the API server, as Flux shows it.
    #[error("secrets \"{0}\" not found")]
    NoSecret(String),
    /// A pull secret that a ServiceAccount names cannot be had. The text is Flux's.
    #[error("failed to get image pull secret for serviceaccount '{namespace}/{account}': {source}")]
    PullSecret {
        /// Where both are.
        namespace: String,
        /// The account.
        account: String,
        /// What is wrong with the secret.
        source: Box<Self>,
    },
    /// What a secret holds is neither certificate nor key. The text is Flux's.
    #[error("failed to parse {0}")]
    Certificate(&'static str),
    /// A secret exists and cannot be used.
    #[error("secret '{namespace}/{name}': {problem}")]
    Secret {
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong; never what is in it.
        problem: String,
    },
    /// A secret lacks keys. The texts are Flux's.
    #[error("secret '{namespace}/{name}' {problem}")]
    Keys {
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
        /// What it holds and what it lacks.
        problem: &'static str,
    },
    /// A cloud provider gave no login.
    #[error("login with provider '{provider}' for {registry}: {problem}")]
    Login {
        /// `aws`, `azure` or `gcp`.
        provider: &'static str,
        /// Host of the registry.
        registry: String,
        /// What is wrong; never a token.
        problem: String,
    },
    /// An entry of the exclusion list cannot be read.
    #[error("failed to compile regex {pattern}: {source}")]
    Exclusion {
        /// The entry.
        pattern: String,
        /// What is wrong with it.
        source: policy::pattern::InvalidPattern,
    },
    /// The tags could not be stored.
    #[error("failed to set tags for \"{image}\": {source}")]
    Put {
        /// Canonical name of the image.
        image: String,
        /// What the database said.
        source: reconcile::Error,
    },
    /// The registry failed, perhaps for several objects at once.
    #[error(transparent)]
    Registry(#[from] Arc<oci::Error>),
    /// It took too long.
    #[error("no answer within {0}")]
    Timeout(api::Duration),
}
