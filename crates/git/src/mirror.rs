//! Kept mirrors, one for each repository: what callers hold.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    Checkout, Commit, Draft, Error, Expected, File, Force, Head, Id, Limits, NewCommit, Pushed, Remote, commit,
    listing::{self, Reference},
    remote::Location,
    session::{Session, Sessions},
    store::{self, Store},
    tree,
};

/// The mirrors of a process, below one cache folder. Keeps connections to servers open between runs, so create one and
/// clone it.
#[derive(Clone)]
pub struct Mirrors {
    cache: PathBuf,
    sessions: Arc<Sessions>,
    opened: Arc<AtomicU32>,
}

/// Each time so many mirrors were opened, those that nobody uses any more are looked for.
const EVICT_EVERY: u32 = 256;

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Mirrors").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Mirrors {
    /// Mirrors below `cache`, a folder that is created when first needed and may be deleted at any time nobody uses it.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self { cache: cache.into(), sessions: Arc::default(), opened: Arc::default() }
    }

    /// The remote with a login that its server takes: an app of GitHub's gets a token, which is kept while it is good.
    ///
    /// # Errors
    /// When the app is refused, or its server cannot be reached.
    pub fn login(&self, remote: &Remote, now: jiff::Timestamp) -> Result<Remote, Error> {
        self.sessions.login(remote, now)
    }

    /// Opens the mirror of `remote`, and waits for as long as someone else has it open, in this process or another.
    /// Hold it for one run, not longer. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// When the URL is of no use, or the cache folder cannot be written.
    pub fn open(&self, remote: &Remote) -> Result<Mirror, Error> {
        let session = self.sessions.get(remote)?;
        let key = key(remote)?;
        let store = Store::open(&self.cache, &key)?;
        if self.opened.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVICT_EVERY)
            && let Err(error) = store::eviction::evict(&self.cache, &key)
        {
            tracing::warn!(%error, cache = %self.cache.display(), "cannot clear away unused mirrors");
        }
        Ok(Mirror { session, store })
    }
}

/// The folder of a remote: a name that says which host, and a digest that tells repositories apart.
fn key(remote: &Remote) -> Result<String, Error> {
    let location = Location::parse(remote)?;
    let identity = format!("{}\0{}", remote.scope, location.address);
    let digest = store::hash(gix_object::Kind::Blob, identity.as_bytes());
    let digest = digest.map_err(|_| Error::Url { url: crate::remote::redact(&remote.url) })?;
    Ok(digest.to_string())
}

/// A mirror, held by nobody else until it is dropped.
pub struct Mirror {
    session: Arc<Session>,
    store: Store,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.session.connection.rest();
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Mirror").field("url", &self.session.connection.name).finish_non_exhaustive()
    }
}

impl Mirror {
    /// Opens a mirror on its own, with connections of its own. See [`Mirrors::open`].
    ///
    /// # Errors
    /// As [`Mirrors::open`].
    pub fn open(cache: &Path, remote: &Remote) -> Result<Self, Error> {
        Mirrors::new(cache).open(remote)
    }

    /// Asks the server where the wanted commit is; fetches nothing.
    ///
    /// # Errors
    /// `ReferenceNotFound`, `EmptyRepository`, and all that may befall a request.
    pub fn head(&self, wanted: &Checkout<'_>) -> Result<Head, Error> {
        match wanted {
            Checkout::Commit { id, branch } => {
                let reference = branch.map(|branch| format!("refs/heads/{branch}")).unwrap_or_default();
                Ok(Head { reference, commit: *id, object: *id })
            }
            Checkout::Branch(name) => self.reference(wanted, &format!("refs/heads/{name}")),
            Checkout::Tag(name) => self.reference(wanted, &format!("refs/tags/{name}")),
            Checkout::Name(name) => self.reference(wanted, name),
            Checkout::PickTag(pick) => {
                let tags = listing::list(&self.session, &["refs/tags/"])?;
                let short = |tag: &Reference| tag.name.trim_start_matches("refs/tags/").to_owned();
                let names: Vec<String> = tags.iter().map(short).collect();
                let chosen = pick(&names).and_then(|name| tags.iter().find(|tag| short(tag) == name));
                chosen.map(head_of).ok_or_else(|| self.not_found(wanted))
            }
        }
    }

    /// The wanted commit with all its files, fetched from the server unless it is here. Only this commit: no history.
    ///
    /// # Errors
    /// As [`Self::head`].
    pub fn fetch(&self, wanted: &Checkout<'_>) -> Result<Commit, Error> {
        let head = self.head(wanted)?;
        let here = self.store.references().values().any(|id| *id == head.object);
        if here && let Ok(commit) = self.complete(&head) {
            return self.keep(wanted, &head, commit);
        }
        // The second attempt starts from nothing: what is here may be damaged, or the server too clever about it.
        let first = crate::fetch::fetch(&self.session, &self.store, head.object).and_then(|()| self.complete(&head));
        let commit = match first {
            Ok(commit) => commit,
            Err(Error::Damaged { .. } | Error::Protocol { .. }) if !self.store.shallow().is_empty() => {
                tracing::warn!(repository = %self.session.connection.name, "fetching the repository anew");
                self.store.reset()?;
                crate::fetch::fetch(&self.session, &self.store, head.object)?;
                self.complete(&head)?
            }
            Err(Error::Reported { message, .. }) if message.contains("not our ref") => {
                return Err(self.not_found(wanted));
            }
            Err(error) => return Err(error),
        };
        self.keep(wanted, &head, commit)
    }

    /// The wanted commit as it was last fetched or pushed, without asking the server. `None` when that is not known here,
    /// and always for [`Checkout::PickTag`]. To push on top of it is safe: if the branch moved, the push is rejected.
    ///
    /// # Errors
    /// When the mirror is damaged.
    pub fn last(&self, wanted: &Checkout<'_>) -> Result<Option<Commit>, Error> {
        let references = self.store.references();
        let reference = match wanted {
            Checkout::Branch(name) => format!("refs/heads/{name}"),
            Checkout::Tag(name) => format!("refs/tags/{name}"),
            Checkout::Name(name) => (*name).to_owned(),
            Checkout::PickTag(_) => return Ok(None),
            Checkout::Commit { id, branch } => {
                let here = references.values().any(|known| known == id);
                let reference = branch.map(|branch| format!("refs/heads/{branch}")).unwrap_or_default();
                return here.then(|| commit::read(&self.store, *id, &reference)).transpose();
            }
        };
        references.get(&reference).map(|id| commit::read(&self.store, *id, &reference)).transpose()
    }

    /// Whether the commit is here.
    #[must_use]
    pub fn contains(&self, commit: Id) -> bool {
        self.store.contains(commit)
    }

    /// The files at or below `path` (empty: all), sorted by path, with links and submodules, which are not followed.
    ///
    /// # Errors
    /// `PathNotFound`; `HostilePath` when a name would do harm on a disk.
    pub fn files(&self, commit: &Commit, path: &Path) -> Result<Vec<File>, Error> {
        tree::files(&self.store, commit, path)
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When the mirror is damaged.
    pub fn blob(&self, id: Id) -> Result<Vec<u8>, Error> {
        self.store.read(&self.store.objects(), id, gix_object::Kind::Blob)
    }

    /// The contents of many files, in the order asked. Faster than one by one.
    ///
    /// # Errors
    /// When the mirror is damaged.
    pub fn blobs(&self, ids: &[Id]) -> Result<Vec<Vec<u8>>, Error> {
        let objects = self.store.objects();
        ids.iter().map(|id| self.store.read(&objects, *id, gix_object::Kind::Blob)).collect()
    }

    /// The lengths of many files in bytes, in the order asked; none is read.
    ///
    /// # Errors
    /// When the mirror is damaged.
    pub fn sizes(&self, ids: &[Id]) -> Result<Vec<u64>, Error> {
        let objects = self.store.objects();
        ids.iter().map(|id| self.store.size(&objects, *id)).collect()
    }

    /// The contents of all plain files at or below `path` (empty: all), by path from the root of the repository.
    /// Symbolic links and submodules are left out, as in Flux's artifacts.
    ///
    /// # Errors
    /// `TooLarge` beyond the limits, and as [`Self::files`].
    pub fn folder(&self, commit: &Commit, path: &Path, limits: Limits) -> Result<BTreeMap<PathBuf, Vec<u8>>, Error> {
        tree::folder(&self.store, commit, path, limits)
    }

    /// Makes a commit on top of `parent` (`None`: the first of a repository) in which the files of `edits` have the given
    /// contents. `None` when they have them already. File modes are kept.
    ///
    /// # Errors
    /// `Edit` when a path is a link, a folder or a submodule; `HostilePath`; `Sign` when the key cannot.
    pub fn commit(
        &self,
        parent: Option<&Commit>,
        edits: &BTreeMap<PathBuf, Vec<u8>>,
        draft: &Draft<'_>,
    ) -> Result<Option<NewCommit>, Error> {
        commit::create(&self.store, parent, edits, draft)
    }

    /// Pushes `new` to `reference`, a full name such as `refs/heads/main`. One request to the server when it was pushed to
    /// before, else two. To repeat a push after a lost answer is safe: one that was taken succeeds again.
    ///
    /// # Errors
    /// `Rejected` when the reference is not as `expected`; `Declined` when the server's rules forbid it.
    pub fn push(
        &self,
        new: &NewCommit,
        reference: &str,
        expected: Expected,
        options: &[String],
    ) -> Result<Pushed, Error> {
        crate::push::push(&self.session, &self.store, new, reference, expected, options)
    }

    /// Points `reference` to a commit that the server has. Without force only where that loses nothing as far as is known
    /// here: the reference is absent, at the commit, or at one of its parents.
    ///
    /// # Errors
    /// As [`Self::push`]; `Declined` when the reference is elsewhere.
    pub fn publish(&self, commit: &Commit, reference: &str, force: Force, options: &[String]) -> Result<Pushed, Error> {
        if !listing::is_valid_name(reference) {
            return Err(Error::ReferenceName { name: reference.to_owned() });
        }
        let listed = listing::list(&self.session, &[reference])?;
        let actual = listed.iter().find(|known| known.name == reference).map(|known| known.object);
        let expected = match actual {
            None => Expected::Absent,
            Some(at) if force == Force::Yes || at == commit.id || commit.parents.contains(&at) => Expected::At(at),
            Some(_) => {
                let cause = "not known to be a fast-forward; + before the refspec forces it".to_owned();
                let url = self.session.connection.name.clone();
                return Err(Error::Declined { url, reference: reference.to_owned(), cause });
            }
        };
        let known = NewCommit { commit: commit.clone(), files: Vec::new(), objects: Vec::new() };
        self.push(&known, reference, expected, options)
    }

    fn reference(&self, wanted: &Checkout<'_>, name: &str) -> Result<Head, Error> {
        if !listing::is_valid_name(name) {
            return Err(Error::ReferenceName { name: name.to_owned() });
        }
        let references = listing::list(&self.session, &[name])?;
        if let Some(found) = references.iter().find(|reference| reference.name == name) {
            return Ok(head_of(found));
        }
        self.store.remove_reference(name)?;
        match listing::list(&self.session, &["refs/"])?.is_empty() {
            true => Err(Error::EmptyRepository { url: self.session.connection.name.clone() }),
            false => Err(self.not_found(wanted)),
        }
    }

    fn not_found(&self, wanted: &Checkout<'_>) -> Error {
        Error::ReferenceNotFound { url: self.session.connection.name.clone(), wanted: format!("{wanted:?}") }
    }

    /// The commit, if it is here with everything in it.
    fn complete(&self, head: &Head) -> Result<Commit, Error> {
        let commit = commit::read(&self.store, head.object, &head.reference)?;
        match tree::is_complete(&self.store, commit.tree) {
            true => Ok(commit),
            false => Err(self.store.damaged(commit.id, "some of its files are missing")),
        }
    }

    fn keep(&self, wanted: &Checkout<'_>, head: &Head, commit: Commit) -> Result<Commit, Error> {
        // A commit asked for by id says nothing on where a branch is.
        let name = match wanted {
            Checkout::Commit { id, .. } => format!("refs/commits/{id}"),
            _ => head.reference.clone(),
        };
        self.store.write_reference(&name, head.object)?;
        Ok(commit)
    }
}

fn head_of(reference: &Reference) -> Head {
    let commit = reference.peeled.unwrap_or(reference.object);
    Head { reference: reference.name.clone(), commit, object: reference.object }
}
