//! The updater: what policies chose, written into Git. `controller` is the shell, all else is pure.

pub mod batch;
pub mod branches;
pub mod controller;
pub mod groups;
pub mod message;
pub mod pull_request;
pub mod refspec;
pub mod selector;
pub mod setters;
pub mod signing;

use reconcile::Fault;

/// What can go wrong between an automation and its repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Git step failed.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The reference to check out cannot be read.
    #[error("{0}")]
    Reference(String),
    /// The process ends while the step is under way.
    #[error("slipway is shutting down")]
    Interrupted,
    /// A test plan made the step fail.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Error {
    /// The error with its causes in one line, each said once.
    pub fn chain(&self) -> String {
        reconcile::causes(self)
    }
}
