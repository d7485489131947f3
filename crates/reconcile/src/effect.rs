//! The seam: every effect on the world passes [`effect`]. In production it is the call itself, unless the lease that
//! allows it ran out.

use std::{fmt::Display, future::Future};

/// What kind of effect it is; with the key it names the effect in a test plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// An object is read.
    Get,
    /// Objects are listed.
    List,
    /// An object is applied.
    Apply,
    /// An object is patched.
    Patch,
    /// An object's status is written.
    Status,
    /// An object is deleted.
    Delete,
    /// An event is recorded.
    Record,
    /// A stage's record is written to the embedded database.
    Put,
    /// An HTTP request is sent.
    Http,
    /// A step on a Git repository, local or remote.
    Git,
    /// A file outside the store is written.
    File,
    /// A process is started or stopped.
    Process,
}

impl Site {
    /// Whether the effect changes something.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List)
    }
}

/// A failure that a test plan asked for. Never seen in production.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("injected fault at {site:?} {key}")]
pub struct Fault {
    /// Where.
    pub site: Site,
    /// On what.
    pub key: String,
}

/// Performs an effect, if it changes something only as long as this process may act (see [`crate::fence`]). Built for
/// production this is `f.await`, and nobody reads the key; built with the feature `simulation` a plan on this
/// thread may fail it, delay it, repeat it, or stop the world before or after it.
#[inline]
pub async fn effect<T, E: From<Fault>>(
    site: Site,
    key: &(impl Display + Sync + ?Sized),
    f: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    if site.writes() {
        crate::fence::pass().await;
    }
    #[cfg(feature = "simulation")]
    {
        crate::simulation::pass(site, &key.to_string(), f).await
    }
    #[cfg(not(feature = "simulation"))]
    {
        let _ = key;
        f.await
    }
}
