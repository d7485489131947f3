//! The loop every kind goes through, the store it works on, and the seam through which every effect passes.
//!
//! A service crate: stages build on it, it knows none of them. What it offers:
//! - [`Store`]: the Kubernetes API, or one machine's folder of manifests with one embedded database; the same verbs.
//! - [`Controller`]: one run per object at a time, retry with back-off, conditions, events, metrics, a tracing span.
//! - [`effect()`] and [`clock`]: the only doors to the world and to time, so that tests can fail, cut and repeat.
//! - [`Http`]: the one HTTP client.

mod backoff;
pub mod clock;
pub mod controller;
pub mod database;
pub mod effect;
pub mod event;
pub mod fence;
pub mod http;
pub mod identity;
pub mod leader;
mod lease;
pub mod object;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod store;
pub mod telemetry;
mod timetable;

pub use controller::{Announce, Concerned, Controller, Done, Failure, Metadata, Reconciler, Retry, Shutdown, Style};
pub use database::{Database, Record};
pub use effect::{Fault, Site, effect};
pub use event::{Event, Events, Notice, Severity};
pub use http::{Body, Endpoint, Http, HttpError};
pub use identity::Identities;
pub use kube::runtime::{reflector::ObjectRef, watcher};
pub use object::Object;
pub use store::{Cluster, Directory, Rate, Scope, Store, Verb};
pub use telemetry::{Awaited, Metrics};
pub use timetable::{Crowd, Timetable};

/// Everything a controller may touch.
#[derive(Clone, Debug)]
pub struct Context {
    /// The objects.
    pub store: Store,
    /// The one HTTP client.
    pub http: Http,
    /// Where events go.
    pub events: Events,
    /// Where numbers go.
    pub metrics: Metrics,
}

impl Context {
    /// Over a store that also takes the events; `instance` names the process in them. Numbers begin at nothing.
    pub fn new(store: Store, http: Http, instance: impl Into<String>) -> Self {
        Self { events: Events::new(store.clone(), instance), store, http, metrics: Metrics::default() }
    }
}

/// What can go wrong between the loop and the world.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API answered with an error, or not at all.
    #[error("kubernetes: {0}")]
    Kube(#[from] Box<kube::Error>),
    /// The API server does not know the kind.
    #[error("{api_version} {kind} is not known to the API server")]
    UnknownKind {
        /// `group/version`.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// A watch of the Kubernetes API broke.
    #[error("watch: {0}")]
    Watch(#[from] Box<kube::runtime::watcher::Error>),
    /// The embedded database refused.
    #[error("database {path}: {source}")]
    Database {
        /// The database file.
        path: String,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The embedded database was written by another version.
    #[error("database {path}: {problem}")]
    Schema {
        /// The database file.
        path: String,
        /// By which, and what helps.
        problem: String,
    },
    /// Another process holds the state file.
    #[error("{path} is in use by another slipway; one process at a time can own it")]
    Locked {
        /// The database file.
        path: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An object lacks kind or name, or has another shape than its kind.
    #[error("{object}: {problem}")]
    Invalid {
        /// The object, as far as it is known.
        object: String,
        /// What is wrong, with the field.
        problem: String,
    },
    /// The object to change is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// Somebody else changed the object since it was read.
    #[error("{0} was changed by somebody else meanwhile")]
    Conflict(String),
    /// The API server does not allow it, or is not able to.
    #[error("{object}: {problem}")]
    Refused {
        /// The object.
        object: String,
        /// What the API server said.
        problem: String,
    },
    /// A test plan made the effect fail.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Error {
    /// Whether trying again later can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Invalid { .. } | Self::UnknownKind { .. })
    }

    /// Whether this mends itself and the log need not tell it: the connection to the API server was lost, of which the log
    /// is told once, it is too busy or just starts, or the version from which a watch would go on has expired.
    pub fn is_interruption(&self) -> bool {
        use kube::{Error as Kube, runtime::watcher::Error as Watch};
        let passes = |code: u16| matches!(code, 410 | 429 | 500..);
        let error = match self {
            Self::Kube(error) => &**error,
            Self::Watch(error) => match &**error {
                Watch::InitialListFailed(error) | Watch::WatchStartFailed(error) | Watch::WatchFailed(error) => error,
                Watch::WatchError(status) => return passes(status.code),
                Watch::NoResourceVersion => return false,
            },
            _ => return false,
        };
        match error {
            Kube::Api(status) => passes(status.code),
            error => matches!(error, Kube::Service(_) | Kube::HyperError(_) | Kube::ReadEvents(_)),
        }
    }
}

/// An error and its causes in one line. Outer layers often repeat the inner ones; these are left out.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;
