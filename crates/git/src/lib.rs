//! Git without a checkout: kept bare mirrors, shallow fetches, tree edits, commits and pushes.
//!
//! The only place that touches repositories. Objects are read and written through `gix`'s object database; the
//! protocol (listing, fetch, send-pack) is spoken here, over one kept HTTP connection per server, because `gix` has no
//! push and its HTTP transport cannot be told apart from the redirects it follows. Everything blocks: call it from
//! `spawn_blocking`. No type of `gix` shows outside, since each of its releases breaks them.
//!
//! ```no_run
//! # fn main() -> Result<(), git::Error> {
//! let mirrors = git::Mirrors::new("/var/cache/slipway");
//! let mirror = mirrors.open(&git::Remote::new("https://example.com/fleet.git"))?;
//! let commit = mirror.fetch(&git::Checkout::Branch("main"))?;
//! for file in mirror.files(&commit, std::path::Path::new("apps"))? {
//!     let content = mirror.blob(file.blob)?;
//! #   drop(content);
//! }
//! # Ok(())
//! # }
//! ```

mod commit;
mod connection;
mod error;
mod fetch;
mod github;
mod listing;
mod local;
mod mirror;
mod object;
mod packet;
mod push;
mod remote;
mod secret;
mod session;
mod sign;
mod source;
mod ssh;
mod store;
mod tree;

pub use error::Error;
pub use github::GithubApp;
pub use mirror::{Mirror, Mirrors};
pub use object::{
    Author, Checkout, Commit, Draft, Expected, File, Force, Head, Id, InvalidId, Limits, Mode, NewCommit, Pushed,
};
pub use remote::{Credentials, LocalPaths, Remote};
pub use secret::InvalidSecret;
pub use sign::{InvalidKey, SigningKey};
pub use source::{SecretData, Secrets, Wanted, wrong_provider};
pub use tree::normalize;
