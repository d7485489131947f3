//! One mirror's folder: objects, references, the shallow boundary. It is a bare repository that `git --git-dir` can read.
//!
//! It survives a kill at any instant: what is written last is `packed-refs`, and only a commit named there is believed to be
//! complete. Whoever opens a mirror holds its lock, so every lock or temporary file found there is a leftover.

pub(crate) mod eviction;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use gix_object::{FindExt as _, Kind};
use gix_odb::HeaderExt as _;

use crate::{Error, Id, error::causes, object::NewObject};

/// Object access for the length of one call.
pub(crate) type Objects = gix_odb::HandleArc;

/// A folder with a mirror in it, held by nobody else.
pub(crate) struct Store {
    folder: PathBuf,
    objects: Mutex<Arc<gix_odb::Store>>,
    /// Held, not read: closing it frees the lock.
    _lock: File,
}

/// One object larger than this is not read, whatever the server says.
pub(crate) const OBJECT_LIMIT_BYTES: usize = 256 << 20;
/// Beyond, a mirror is fetched anew rather than repacked: depth 1 makes that cheap.
const PACKS_LIMIT: usize = 24;
/// Loose objects in one of the 256 folders.
const LOOSE_LIMIT: usize = 24;

impl Store {
    /// Opens the mirror `key` below `cache`, after waiting for whoever has it open. Damage is repaired by starting afresh.
    pub fn open(cache: &Path, key: &str) -> Result<Self, Error> {
        let folder = cache.join(key);
        fs::create_dir_all(cache).map_err(at(cache))?;
        let path = cache.join(format!("{key}.lock"));
        let lock = eviction::lock(&path).map_err(at(&path))?;
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        lay_out(&folder).map_err(at(&folder))?;
        let sound = sweep(&folder).map_err(at(&folder))?;
        let objects = Mutex::new(database(&folder)?);
        let store = Self { folder, objects, _lock: lock };
        if !sound {
            tracing::warn!(folder = %store.folder.display(), "mirror is damaged or overgrown, fetching it anew");
            store.reset()?;
        }
        Ok(store)
    }

    /// Access to the objects. One that is not found is not looked for again: what is fetched is told by [`Self::refresh`].
    pub fn objects(&self) -> Objects {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner).to_cache_arc();
        objects.refresh_never();
        objects
    }

    /// Whether the object is here.
    pub fn contains(&self, id: Id) -> bool {
        gix_object::Exists::exists(&self.objects(), &id.object_id())
    }

    /// Where packs are written.
    pub fn pack_folder(&self) -> PathBuf {
        self.folder.join("objects/pack")
    }

    /// Notices packs written since.
    pub fn refresh(&self) -> Result<(), Error> {
        *self.objects.lock().unwrap_or_else(PoisonError::into_inner) = database(&self.folder)?;
        Ok(())
    }

    /// Forgets everything.
    pub fn reset(&self) -> Result<(), Error> {
        self.distrust()?;
        let objects = self.folder.join("objects");
        remove(&self.folder.join("shallow")).and_then(|()| fs::remove_dir_all(&objects)).map_err(at(&objects))?;
        lay_out(&self.folder).map_err(at(&self.folder))?;
        self.refresh()
    }

    /// No commit is believed to be complete any more.
    pub fn distrust(&self) -> Result<(), Error> {
        remove(&self.references_path()).map_err(at(&self.folder))
    }

    /// The object that damage was found in; the mirror starts afresh from here.
    pub fn damaged(&self, id: Id, cause: impl Into<String>) -> Error {
        match self.distrust() {
            Ok(()) => Error::Damaged { id, cause: cause.into() },
            Err(error) => error,
        }
    }

    /// The references whose commits are complete here, as last seen at the server.
    pub fn references(&self) -> BTreeMap<String, Id> {
        let text = fs::read_to_string(self.references_path()).unwrap_or_default();
        let entries = text.lines().filter_map(|line| line.split_once(' '));
        entries.filter_map(|(id, name)| Some((name.to_owned(), id.parse().ok()?))).collect()
    }

    /// Notes that `reference` is at `id`, whose commit is complete here.
    pub fn write_reference(&self, reference: &str, id: Id) -> Result<(), Error> {
        let mut references = self.references();
        if references.insert(reference.to_owned(), id) == Some(id) {
            return Ok(());
        }
        let lines = references.iter().map(|(name, id)| format!("{id} {name}\n"));
        let text: String = std::iter::once("# pack-refs with: sorted \n".to_owned()).chain(lines).collect();
        replace(&self.references_path(), &text)
    }

    /// Notes that `reference` is gone at the server.
    pub fn remove_reference(&self, reference: &str) -> Result<(), Error> {
        let mut references = self.references();
        if references.remove(reference).is_none() {
            return Ok(());
        }
        let lines = references.iter().map(|(name, id)| format!("{id} {name}\n"));
        replace(&self.references_path(), &lines.collect::<String>())
    }

    /// The commits whose parents were never fetched.
    pub fn shallow(&self) -> Vec<Id> {
        let text = fs::read_to_string(self.folder.join("shallow")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Adds to [`Self::shallow`].
    pub fn add_shallow(&self, more: &[Id]) -> Result<(), Error> {
        let mut ids = self.shallow();
        ids.extend(more);
        ids.sort_unstable();
        ids.dedup();
        replace(&self.folder.join("shallow"), &ids.iter().map(|id| format!("{id}\n")).collect::<String>())
    }

    /// The content of an object, which must be of the given kind.
    pub fn read(&self, objects: &Objects, id: Id, kind: Kind) -> Result<Vec<u8>, Error> {
        match self.read_any(objects, id)? {
            (found, content) if found == kind => Ok(content),
            (found, _) => Err(self.damaged(id, format!("expected a {kind}, found a {found}"))),
        }
    }

    /// The kind and the content of an object.
    pub fn read_any(&self, objects: &Objects, id: Id) -> Result<(Kind, Vec<u8>), Error> {
        let mut content = Vec::new();
        match objects.find(&id.object_id(), &mut content).map(|data| data.kind) {
            Ok(kind) => Ok((kind, content)),
            Err(error) => Err(self.damaged(id, causes(&error))),
        }
    }

    /// The kind of an object.
    pub fn kind(&self, objects: &Objects, id: Id) -> Result<Kind, Error> {
        objects.header(id.object_id()).map(|header| header.kind()).map_err(|error| self.damaged(id, causes(&error)))
    }

    /// The length of an object, in bytes.
    pub fn size(&self, objects: &Objects, id: Id) -> Result<u64, Error> {
        objects.header(id.object_id()).map(|header| header.size()).map_err(|error| self.damaged(id, causes(&error)))
    }

    /// Takes in objects made here, those that are not here yet.
    pub fn add(&self, new: &[NewObject]) -> Result<(), Error> {
        let failed = |error| Error::Mirror { path: self.folder.clone(), source: io::Error::other(error) };
        let objects = self.objects();
        for NewObject { id, kind, content } in new {
            let id = id.object_id();
            if !gix_object::Exists::exists(&objects, &id) {
                gix_object::Write::write_buf_with_known_id(&objects, *kind, content, id).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Takes in a pack of objects made here.
    pub fn add_pack(&self, pack: &[u8]) -> Result<(), Error> {
        let path = self.pack_folder();
        ingest(self, &mut &*pack).map_err(|error| at(&path)(io::Error::other(error)))?;
        self.refresh()
    }

    fn references_path(&self) -> PathBuf {
        self.folder.join("packed-refs")
    }
}

/// The id that `content` has as an object.
pub(crate) fn hash(kind: Kind, content: &[u8]) -> gix_error::Result<gix_hash::ObjectId> {
    gix_object::compute_hash(gix_hash::Kind::Sha1, kind, content)
}

/// Turns an I/O error at `path` into ours.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Mirror { path, source }
}

fn database(folder: &Path) -> Result<Arc<gix_odb::Store>, Error> {
    let path = folder.join("objects");
    let options = gix_odb::store::init::Options { alloc_limit_bytes: Some(OBJECT_LIMIT_BYTES), ..Default::default() };
    gix_odb::Store::at_opts(path.clone(), gix_hash::Kind::Sha1, &mut std::iter::empty(), options)
        .map(Arc::new)
        .map_err(at(&path))
}

/// What makes a folder a bare repository.
fn lay_out(folder: &Path) -> io::Result<()> {
    for part in ["refs", "objects/pack", "objects/info"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let files = [
        ("HEAD", "ref: refs/heads/main\n"),
        ("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n"),
    ];
    for (name, content) in files {
        let path = folder.join(name);
        if fs::metadata(&path).map_or(true, |metadata| metadata.len() != content.len() as u64) {
            fs::write(path, content)?;
        }
    }
    Ok(())
}

/// Clears away what an interrupted run left, and tells whether the rest can be used.
fn sweep(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "lock" || extension == "new") {
            fs::remove_file(path)?;
        }
    }
    let packs = folder.join("objects/pack");
    let mut sound = true;
    let mut count = 0;
    for entry in fs::read_dir(&packs)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("pack") if name.starts_with("pack-") => {
                count += 1;
                if !path.with_extension("idx").is_file() {
                    fs::remove_file(&path)?;
                } else if !same_trailer(&path).unwrap_or(false) {
                    sound = false;
                }
            }
            Some("idx") if name.starts_with("pack-") => sound &= path.with_extension("pack").is_file(),
            _ => fs::remove_file(&path)?,
        }
    }
    let loose = fs::read_dir(folder.join("objects/17")).map_or(0, Iterator::count);
    Ok(sound && count <= PACKS_LIMIT && loose <= LOOSE_LIMIT)
}

/// Whether the index belongs to the pack as it is: it repeats the pack's last 20 bytes. A cut pack fails.
fn same_trailer(pack: &Path) -> io::Result<bool> {
    let tail = |path: &Path, from_end: i64| -> io::Result<[u8; 20]> {
        let mut bytes = [0; 20];
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-from_end))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    Ok(tail(pack, 20)? == tail(&pack.with_extension("idx"), 40)?)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file so that it has either the old or the new content.
fn replace(path: &Path, content: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    fs::write(&new, content).and_then(|()| fs::rename(&new, path)).map_err(at(path))
}

/// Takes the objects of a pack into the mirror. A pack may lean on objects that are here already.
pub(crate) fn ingest(store: &Store, pack: &mut dyn BufRead) -> gix_error::Result<()> {
    let options =
        gix_pack::bundle::write::Options { alloc_limit_bytes: Some(OBJECT_LIMIT_BYTES), ..Default::default() };
    let outcome = gix_pack::Bundle::write_to_directory(
        pack,
        Some(&store.pack_folder()),
        &mut gix_utils::progress::Discard,
        &std::sync::atomic::AtomicBool::new(false),
        Some(store.objects()),
        gix_hash::Kind::Sha1,
        options,
    )?;
    if let Some(keep) = outcome.keep_path {
        // A kept marker is only a leftover, which the next start clears away.
        let _ = fs::remove_file(keep);
    }
    Ok(())
}
