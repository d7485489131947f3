//! One machine as a cluster: runs Deployments as processes and serves HTTPRoutes, so that the same manifests work without
//! Kubernetes. For trial, CI and single hosts; processes are **not** isolated from each other or from the machine.

pub mod container;
pub mod controller;
pub mod endpoints;
pub mod gateway;
pub mod guard;
pub mod image;
pub mod layers;
pub mod pods;
pub mod rollout;
pub mod selector;
pub mod supervisor;

pub use controller::{Beside, Choice, Options, controllers};

use std::{io, path::Path};

/// What a step came to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image could not be had from its registry.
    #[error("image {image}: {source}")]
    Pull {
        /// The image as the manifest names it.
        image: String,
        /// What the registry client met.
        #[source]
        source: Box<oci::Error>,
    },
    /// The image is not on this machine and must not be pulled.
    #[error("image {image} is not present and imagePullPolicy forbids to pull it")]
    NotPresent {
        /// The image as the manifest names it.
        image: String,
    },
    /// A layer of the image was refused.
    #[error("image {image}, layer {layer}: {problem}")]
    Layer {
        /// The image as the manifest names it.
        image: String,
        /// Digest of the layer.
        layer: String,
        /// What is wrong.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A process could not be started, or what it needs could not be had.
    #[error("cannot {act}: {source}")]
    Process {
        /// What was to be done.
        act: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A test plan made the effect fail.
    #[error(transparent)]
    Fault(#[from] reconcile::Fault),
}

impl Error {
    /// A failed act on a file.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| Self::File { path, source }
    }

    /// The reason of the condition that users see.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Pull { .. } => "ErrImagePull",
            Self::NotPresent { .. } => "ErrImageNeverPull",
            Self::Layer { .. } => "ErrImageInvalid",
            Self::File { .. } | Self::Process { .. } | Self::Fault(_) => "Failed",
        }
    }
}
