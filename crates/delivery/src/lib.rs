//! Delivery: a Git repository is fetched, a folder of it is built, and the objects are kept applied.
//!
//! A stage crate. Pure: [`build`] (a folder becomes objects), [`order`] and [`apply`] (what an apply does), [`inventory`]
//! (what was applied, what left), [`drift`] and [`takeover`] (whose fields are whose), [`health`], [`dependency`], [`history`],
//! [`decrypt`], [`substitute`], [`revision`] and [`ignore`].
//! The shell is [`controller`]: GitRepository and Kustomization.

pub mod apply;
pub mod build;
pub mod controller;
pub mod decrypt;
pub mod dependency;
pub mod drift;
pub mod health;
pub mod history;
pub mod ignore;
pub mod inventory;
pub mod order;
pub mod revision;
pub mod scope;
pub mod substitute;
pub mod takeover;
pub mod tree;

/// What can go wrong on the way from a repository to applied objects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Git operation.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] reconcile::Error),
    /// A Secret that a GitRepository refers to is missing or has not what is needed.
    #[error("failed to get secret '{secret}': {problem}")]
    Secret {
        /// `namespace/name`.
        secret: String,
        /// What is wrong with it, without its content.
        problem: String,
    },
    /// The cloud that is a GitRepository's provider gives no login.
    #[error("failed to configure authentication options for {url}: {problem}")]
    Login {
        /// Address of the repository.
        url: String,
        /// Why.
        problem: String,
    },
    /// The process ends while a Git operation is under way.
    #[error("git operation was interrupted")]
    Interrupted,
    /// A test plan made the effect fail.
    #[error(transparent)]
    Fault(#[from] reconcile::Fault),
}

impl Error {
    /// Reason of the Ready condition. Source: Flux source-controller.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Git(error) => error.reason(),
            Self::Secret { .. } | Self::Login { .. } => "AuthenticationFailed",
            Self::Store(_) | Self::Interrupted | Self::Fault(_) => "GitOperationFailed",
        }
    }

    /// Whether trying again later can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Git(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Secret { .. } => false,
            Self::Interrupted | Self::Fault(_) | Self::Login { .. } => true,
        }
    }
}
