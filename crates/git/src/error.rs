//! What can go wrong with a repository, and what follows from it.

use std::{io, path::PathBuf};

use crate::{Id, sign::InvalidKey};

/// A failed act on a repository. URLs in it carry no user, password or query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be read.
    #[error("failed to parse URL '{url}'")]
    Url {
        /// The URL, without secrets.
        url: String,
    },
    /// The scheme is none that Git servers are asked with.
    #[error("unknown transport '{scheme}'")]
    UnknownTransport {
        /// The scheme.
        scheme: String,
    },
    /// The URL has no scheme.
    #[error("no transport type set")]
    NoTransport,
    /// A certificate, key or proxy that cannot be used.
    #[error("prepare connections to '{url}': {cause}")]
    Client {
        /// The repository.
        url: String,
        /// Why.
        cause: String,
    },
    /// The server wants other credentials, or none it was given suffice.
    #[error("authentication failed for '{url}': the server answered {status}")]
    AuthenticationFailed {
        /// The repository.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// The server refuses our ssh key.
    #[error("authentication failed for '{url}': the server refused the ssh key")]
    SshRefused {
        /// The repository.
        url: String,
    },
    /// The host is not among the known ones, or shows another key than it should.
    #[error("host key verification failed for '{url}': its key is not the one in known_hosts")]
    HostKey {
        /// The repository.
        url: String,
    },
    /// The server knows no such repository (or does not admit it to these credentials).
    #[error("repository '{url}' not found")]
    RepositoryNotFound {
        /// The repository.
        url: String,
    },
    /// The repository has no commit at all.
    #[error("repository '{url}' is empty")]
    EmptyRepository {
        /// The repository.
        url: String,
    },
    /// The wanted branch, tag, reference or commit is not there.
    #[error("{wanted} not found in '{url}'")]
    ReferenceNotFound {
        /// The repository.
        url: String,
        /// Such as `branch main`.
        wanted: String,
    },
    /// A reference name that Git does not allow.
    #[error("'{name}' is not a valid reference name")]
    ReferenceName {
        /// The name.
        name: String,
    },
    /// The server could not be reached, or fell silent.
    #[error("request to '{url}': {cause}")]
    Request {
        /// The repository.
        url: String,
        /// Why, from the outermost to the innermost cause.
        cause: String,
    },
    /// The server answered with a status that is not a success.
    #[error("request to '{url}': the server answered {status}")]
    Status {
        /// The repository.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A redirect that may not be followed.
    #[error("request to '{url}': refused to follow the redirect to '{to}'")]
    Redirect {
        /// The repository.
        url: String,
        /// Where it led.
        to: String,
    },
    /// The answer is not what a Git server says.
    #[error("answer of '{url}': {what}")]
    Protocol {
        /// The repository.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The server reported an error in the protocol's own way.
    #[error("'{url}' reports: {message}")]
    Reported {
        /// The repository.
        url: String,
        /// Its words.
        message: String,
    },
    /// Something is larger than allowed.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// How much would have been fine.
        limit: u64,
    },
    /// The branch moved at the server: fetch, and do the work again on top of what is there.
    #[error("push to {reference} of '{url}' rejected: it is at {}, not at {}", place(.actual.as_ref()), place(.expected.as_ref()))]
    Rejected {
        /// The repository.
        url: String,
        /// The reference.
        reference: String,
        /// Where it was thought to be; `None`: absent.
        expected: Option<Id>,
        /// Where it is; `None`: absent.
        actual: Option<Id>,
    },
    /// The server refused the push by its own rules: a hook, a protected branch.
    #[error("push to {reference} of '{url}' declined: {cause}")]
    Declined {
        /// The repository.
        url: String,
        /// The reference.
        reference: String,
        /// The server's reason and what its hooks printed.
        cause: String,
    },
    /// A path in the commit that would do harm on a disk, such as `.git` or `..`.
    #[error("path '{path}' in commit is not allowed")]
    HostilePath {
        /// The path.
        path: String,
    },
    /// There is nothing at this path of the commit.
    #[error("path '{path}' not found in commit")]
    PathNotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot be written.
    #[error("edit '{path}': {what}")]
    Edit {
        /// The path.
        path: PathBuf,
        /// Such as: it is a symbolic link.
        what: &'static str,
    },
    /// The mirror's folder could not be used.
    #[error("mirror {}: {source}", .path.display())]
    Mirror {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An object of the mirror is missing or damaged. The mirror is fetched anew the next time it is opened.
    #[error("read object {id} of the mirror: {cause}")]
    Damaged {
        /// The object.
        id: Id,
        /// Why.
        cause: String,
    },
    /// A program could not be run: `git` serves `file://`, `ssh` serves `ssh://`.
    #[error("run {program}: {source}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The key cannot sign.
    #[error("sign the commit: {0}")]
    Sign(#[from] InvalidKey),
}

fn place(id: Option<&Id>) -> String {
    id.map_or_else(|| "no commit".to_owned(), Id::to_string)
}

impl Error {
    /// The condition reason that users see.
    /// Source: source-controller v1 `api/v1/condition_types.go`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::AuthenticationFailed { .. } | Self::SshRefused { .. } | Self::HostKey { .. } => {
                "AuthenticationFailed"
            }
            Self::Url { .. } | Self::UnknownTransport { .. } | Self::NoTransport => "URLInvalid",
            _ => "GitOperationFailed",
        }
    }

    /// Whether the same act may succeed later although nobody changes anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Request { .. }
            | Self::Reported { .. }
            | Self::Protocol { .. }
            | Self::Rejected { .. }
            | Self::Mirror { .. }
            | Self::Damaged { .. }
            | Self::Program { .. } => true,
            _ => false,
        }
    }

    /// Whether the push failed only because someone else was faster.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected { .. })
    }
}

/// All causes of an error in one line. Outer layers often repeat the inner ones; these are left out.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        next = cause.source();
    }
    text
}
