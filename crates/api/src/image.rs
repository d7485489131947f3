//! `image.toolkit.fluxcd.io`: ImageRepository, ImagePolicy, ImageUpdateAutomation, and the image they agree on.
//!
//! Source: reference image-automation.md section 1; versions `v1` and `v1beta2` have the same fields, so one type reads both.

mod automation;
mod policy;
mod repository;
mod verification;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{automation::*, policy::*, repository::*, verification::*};

/// An image that a policy chose: repository, tag, and the digest if one was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageRef {
    /// The repository as `spec.image` has it, not the canonical name.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// `sha256:…`; empty when digests are not reflected.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

impl ImageRef {
    /// The reference that an old status held as `name:tag`, split at the last colon.
    ///
    /// Source: reference image-automation.md section 1.1, history of `latestImage`.
    pub fn from_legacy(text: &str) -> Option<Self> {
        let (name, tag) = text.rsplit_once(':')?;
        Some(Self { name: name.to_owned(), tag: tag.to_owned(), digest: String::new() })
    }
}

impl fmt::Display for ImageRef {
    /// `name:tag`, with a digest `name:tag@digest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)?;
        match self.digest.as_str() {
            "" => Ok(()),
            digest => write!(f, "@{digest}"),
        }
    }
}

/// Whether a switch is off and need not be written.
fn is_false(switch: &bool) -> bool {
    !switch
}

#[cfg(test)]
mod tests;
