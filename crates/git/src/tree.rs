//! Reads the files of a commit. Nothing is written to disk, no link is followed, and names that would do harm on a disk are refused.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use gix_object::{
    Kind, TreeRefIter,
    bstr::{BStr, ByteSlice as _},
    tree::{EntryKind, EntryRef},
};

use crate::{
    Commit, Error, File, Id, Limits, Mode,
    store::{Objects, Store},
};

/// Folders within folders; deeper is someone's attempt to exhaust the stack.
const DEPTH_LIMIT: usize = 256;
/// Files and folders in one commit. A few small objects that name each other can stand for billions of files.
const ENTRIES_LIMIT: usize = 1_000_000;

/// All files at or below `path`, sorted by path. An empty path is the whole commit.
pub(crate) fn files(store: &Store, commit: &Commit, path: &Path) -> Result<Vec<File>, Error> {
    let objects = store.objects();
    let mut found = Vec::new();
    match look_up(store, &objects, commit.tree, path)? {
        Found::Folder(tree) => {
            let mut walk = Walk { store, objects: &objects, entries: 0, found: Vec::new() };
            walk.folder(tree, &normalize(path)?, 0)?;
            found = walk.found;
        }
        Found::File(file) => found.push(file),
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The content of all plain files at or below `path`, by path from the root of the repository.
pub(crate) fn folder(
    store: &Store,
    commit: &Commit,
    path: &Path,
    limits: Limits,
) -> Result<BTreeMap<PathBuf, Vec<u8>>, Error> {
    let files = files(store, commit, path)?;
    let objects = store.objects();
    let mut contents = BTreeMap::new();
    let mut total = 0;
    for file in files.into_iter().filter(|file| matches!(file.mode, Mode::File | Mode::Executable)) {
        let size = store.size(&objects, file.blob)?;
        total += size;
        let too_large = |what: String, limit| Err(Error::TooLarge { what, limit });
        if size > limits.file_bytes {
            return too_large(format!("file '{}'", file.path.display()), limits.file_bytes);
        }
        if total > limits.total_bytes {
            return too_large(format!("the content of '{}'", path.display()), limits.total_bytes);
        }
        if contents.len() == limits.files {
            return too_large(format!("the number of files in '{}'", path.display()), limits.files as u64);
        }
        contents.insert(file.path, store.read(&objects, file.blob, Kind::Blob)?);
    }
    Ok(contents)
}

/// Whether everything the commit's tree names is here.
pub(crate) fn is_complete(store: &Store, tree: Id) -> bool {
    let objects = store.objects();
    let mut waiting = vec![tree];
    let mut seen = std::collections::HashSet::new();
    let mut buffer = Vec::new();
    while let Some(tree) = waiting.pop() {
        if !seen.insert(tree) {
            continue;
        }
        let Ok(data) = gix_object::FindExt::find(&objects, &tree.object_id(), &mut buffer) else { return false };
        if data.kind != Kind::Tree {
            return false;
        }
        for entry in TreeRefIter::from_bytes(data.data, gix_hash::Kind::Sha1) {
            let Ok(entry) = entry else { return false };
            match entry.mode.kind() {
                EntryKind::Tree => waiting.push(entry.oid.to_owned().into()),
                EntryKind::Commit => {}
                _ if gix_object::Exists::exists(&objects, entry.oid) => {}
                _ => return false,
            }
        }
    }
    true
}

/// Refuses what would do harm on a disk: `.git` in any spelling a file system may take for it, `..`, a path separator.
pub(crate) fn check_name(parent: &Path, name: &BStr, mode: EntryKind) -> Result<(), Error> {
    use gix_validate::path::component;
    let options = component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    let link = (mode == EntryKind::Link).then_some(component::Mode::Symlink);
    let refused = || Error::HostilePath { path: parent.join(name.to_str_lossy().as_ref()).display().to_string() };
    match gix_validate::path::component(name, link, options) {
        Ok(_) if !name.contains(&0) => Ok(()),
        _ => Err(refused()),
    }
}

/// A path in a repository without `.` and `..`.
///
/// # Errors
/// `HostilePath` when it leads out of the repository.
pub fn normalize(path: &Path) -> Result<PathBuf, Error> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return Err(Error::HostilePath { path: path.display().to_string() }),
        }
    }
    Ok(clean)
}

enum Found {
    Folder(Id),
    File(File),
}

fn look_up(store: &Store, objects: &Objects, root: Id, path: &Path) -> Result<Found, Error> {
    let clean = normalize(path)?;
    let missing = || Error::PathNotFound { path: path.to_owned() };
    let mut tree = root;
    let mut parts = clean.iter().peekable();
    while let Some(part) = parts.next() {
        let content = store.read(objects, tree, Kind::Tree)?;
        let entries = entries(store, tree, &content)?;
        let entry = entries.iter().find(|entry| entry.filename.as_bytes() == part.as_encoded_bytes());
        let entry = entry.ok_or_else(missing)?;
        match (entry.mode.kind(), parts.peek()) {
            (EntryKind::Tree, _) => tree = entry.oid.to_owned().into(),
            (_, None) => return Ok(Found::File(file(entry, clean.clone()))),
            (_, Some(_)) => return Err(missing()),
        }
    }
    Ok(Found::Folder(tree))
}

struct Walk<'a> {
    store: &'a Store,
    objects: &'a Objects,
    entries: usize,
    found: Vec<File>,
}

impl Walk<'_> {
    fn folder(&mut self, tree: Id, path: &Path, depth: usize) -> Result<(), Error> {
        if depth == DEPTH_LIMIT {
            return Err(Error::TooLarge { what: "the depth of folders".to_owned(), limit: DEPTH_LIMIT as u64 });
        }
        let content = self.store.read(self.objects, tree, Kind::Tree)?;
        for entry in entries(self.store, tree, &content)? {
            self.entries += 1;
            if self.entries > ENTRIES_LIMIT {
                return Err(Error::TooLarge { what: "the number of files".to_owned(), limit: ENTRIES_LIMIT as u64 });
            }
            check_name(path, entry.filename, entry.mode.kind())?;
            let name = entry.filename.to_path().map_err(|_| Error::HostilePath { path: entry.filename.to_string() })?;
            match entry.mode.kind() {
                EntryKind::Tree => self.folder(entry.oid.to_owned().into(), &path.join(name), depth + 1)?,
                _ => self.found.push(file(&entry, path.join(name))),
            }
        }
        Ok(())
    }
}

fn entries<'a>(store: &Store, tree: Id, content: &'a [u8]) -> Result<Vec<EntryRef<'a>>, Error> {
    let entries = TreeRefIter::from_bytes(content, gix_hash::Kind::Sha1).entries();
    entries.map_err(|error| store.damaged(tree, crate::error::causes(&error)))
}

fn file(entry: &EntryRef<'_>, path: PathBuf) -> File {
    let mode = match entry.mode.kind() {
        EntryKind::Blob | EntryKind::Tree => Mode::File,
        EntryKind::BlobExecutable => Mode::Executable,
        EntryKind::Link => Mode::Link,
        EntryKind::Commit => Mode::Submodule,
    };
    File { path, mode, blob: entry.oid.to_owned().into() }
}
