//! What a repository holds, in our own words: ids, commits, files. No type of the Git library shows here.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::SigningKey;

/// The SHA-1 id of a commit, tree or blob. Prints as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(crate) [u8; 20]);

impl Id {
    /// Forty zeroes: how the protocol writes "this reference does not exist".
    pub(crate) const ZERO: Self = Self([0; 20]);

    pub(crate) fn object_id(self) -> gix_hash::ObjectId {
        gix_hash::ObjectId::from_bytes_or_panic(&self.0)
    }
}

impl From<gix_hash::ObjectId> for Id {
    fn from(id: gix_hash::ObjectId) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(id.as_slice());
        Self(bytes)
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not the id of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 40 hexadecimal digits")]
pub struct InvalidId;

/// Which commit is wanted. A caller with several of them takes the first of: commit, name, tag, semver, branch.
/// Source: source-controller v1 `spec.ref`.
#[derive(Clone, Copy)]
pub enum Checkout<'a> {
    /// The tip of a branch, named without `refs/heads/`.
    Branch(&'a str),
    /// A tag, named without `refs/tags/`.
    Tag(&'a str),
    /// The tag that the function picks among all; `None` means that none fits.
    PickTag(&'a dyn Fn(&[String]) -> Option<String>),
    /// A full reference name, such as `refs/pull/420/head`.
    Name(&'a str),
    /// This very commit; the branch, if given, is only how the revision is written.
    Commit {
        /// The commit's id.
        id: Id,
        /// The branch it is said to be on.
        branch: Option<&'a str>,
    },
}

impl fmt::Debug for Checkout<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(formatter, "branch {name}"),
            Self::Tag(name) => write!(formatter, "tag {name}"),
            Self::PickTag(_) => formatter.write_str("a tag in range"),
            Self::Name(name) => write!(formatter, "reference {name}"),
            Self::Commit { id, .. } => write!(formatter, "commit {id}"),
        }
    }
}

/// What the server says a reference points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The full name, such as `refs/heads/main`; empty for a bare commit.
    pub reference: String,
    /// The commit, also where an annotated tag stands between.
    pub commit: Id,
    /// What the reference holds: the commit, or the annotated tag.
    pub(crate) object: Id,
}

impl Head {
    /// The revision as Flux writes it: `main@sha1:…`.
    #[must_use]
    pub fn revision(&self) -> String {
        revision(&self.reference, self.commit)
    }
}

/// A commit whose files are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: Id,
    /// Its root folder.
    pub tree: Id,
    /// The commits before it; more than one for a merge.
    pub parents: Vec<Id>,
    /// The reference that led to it, such as `refs/heads/main`; empty for a bare commit.
    pub reference: String,
    /// Who wrote it.
    pub author: Author,
    /// When it was committed.
    pub time: jiff::Timestamp,
    /// Its message as stored.
    pub message: String,
}

impl Commit {
    /// The revision as Flux writes it: `main@sha1:…`, `v1.2.3@sha1:…`, and `sha1:…` for a bare commit.
    /// Source: delivery.md section 4, source-controller v1 `status.artifact.revision`.
    #[must_use]
    pub fn revision(&self) -> String {
        revision(&self.reference, self.id)
    }
}

fn revision(reference: &str, id: Id) -> String {
    if reference.is_empty() {
        return format!("sha1:{id}");
    }
    let short = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| reference.strip_prefix(prefix));
    format!("{}@sha1:{id}", short.unwrap_or(reference))
}

/// The person or robot a commit names, as author and as committer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name; `<`, `>` and line breaks are dropped, since the format cannot hold them.
    pub name: String,
    /// E-mail address, treated alike.
    pub email: String,
}

/// What a new commit says besides its files.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Author and committer.
    pub author: &'a Author,
    /// The message, used as it is.
    pub message: &'a str,
    /// When it is made; it counts in whole seconds.
    pub time: jiff::Timestamp,
    /// Who signs it.
    pub signing: Option<&'a SigningKey>,
}

/// One entry of a commit's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// From the root of the repository, with `/` between folders.
    pub path: PathBuf,
    /// What it is.
    pub mode: Mode,
    /// The blob with its content (for [`Mode::Submodule`] a commit of another repository).
    pub blob: Id,
}

/// What a path in a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A plain file.
    File,
    /// A file with the executable bit.
    Executable,
    /// A symbolic link; the blob holds its target. Nothing in this crate follows it.
    Link,
    /// A place where another repository belongs. It is never fetched.
    Submodule,
}

/// How much of a commit may be taken into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of files.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 100_000, file_bytes: 50 << 20, total_bytes: 256 << 20 }
    }
}

/// A commit made here, which no server has yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit {
    /// The commit.
    pub commit: Commit,
    /// The paths whose content differs from the parent's, sorted.
    pub files: Vec<PathBuf>,
    /// Exactly what the server does not have: commit, trees, blobs. The mirror takes them in when they are pushed.
    pub(crate) objects: Vec<NewObject>,
}

/// An object made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewObject {
    pub id: Id,
    pub kind: gix_object::Kind,
    pub content: Vec<u8>,
}

/// What the branch must be at the server for a push to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// At this commit. The push is refused with `Error::Rejected` when someone else was faster.
    At(Id),
    /// Absent: the push creates it.
    Absent,
    /// Anything: overwrite (`git push --force`).
    Anything,
}

/// Whether a reference may be moved to where its present commit is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// `+` before a refspec.
    Yes,
    /// Only forward.
    No,
}

/// The push was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The reference that now points to `commit`.
    pub reference: String,
    /// The commit.
    pub commit: Id,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_written_as_flux_does() {
        let id = Id([0xab; 20]);
        let hash = "ab".repeat(20);
        let cases = [
            ("refs/heads/main", format!("main@sha1:{hash}")),
            ("refs/heads/feature/x", format!("feature/x@sha1:{hash}")),
            ("refs/tags/v1.0.0", format!("v1.0.0@sha1:{hash}")),
            ("refs/pull/1/head", format!("refs/pull/1/head@sha1:{hash}")),
            ("", format!("sha1:{hash}")),
        ];
        for (reference, expected) in cases {
            assert_eq!(revision(reference, id), expected);
        }
    }

    #[test]
    fn ids_are_forty_digits() {
        assert_eq!("ab".repeat(20).parse::<Id>().unwrap().to_string(), "ab".repeat(20));
        for text in ["", "ab", "zz", &"a".repeat(41), &"g".repeat(40)] {
            assert_eq!(text.parse::<Id>(), Err(InvalidId), "{text}");
        }
    }
}
