//! Makes commits: changes files in a tree without a checkout, and counts exactly which objects are new.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gix_object::{
    CommitRef, Kind, Tree, TreeRefIter, WriteTo as _,
    bstr::{BString, ByteSlice as _},
    tree::{Entry, EntryKind},
};

use crate::{
    Author, Commit, Draft, Error, Id, NewCommit,
    error::causes,
    object::NewObject,
    store::{self, Objects, Store},
    tree,
};

/// The files to change, with their whole new content.
pub(crate) type Edits = BTreeMap<PathBuf, Vec<u8>>;

/// Reads the commit that `object` is, or is an annotated tag of.
pub(crate) fn read(store: &Store, object: Id, reference: &str) -> Result<Commit, Error> {
    let objects = store.objects();
    let mut id = object;
    // A tag of a tag of a tag is as far as anyone ever went.
    for _ in 0..5 {
        if store.kind(&objects, id)? != Kind::Tag {
            break;
        }
        let content = store.read(&objects, id, Kind::Tag)?;
        let target = content.lines().next().and_then(|line| line.strip_prefix(b"object "));
        let target = target.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
        id = target.ok_or_else(|| store.damaged(id, "malformed tag"))?;
    }
    let content = store.read(&objects, id, Kind::Commit)?;
    let parsed = parse(&content).map_err(|error| store.damaged(id, causes(&error)))?;
    Ok(Commit { id, reference: reference.to_owned(), ..parsed })
}

fn parse(content: &[u8]) -> gix_error::Result<Commit> {
    let commit = CommitRef::from_bytes(content, gix_hash::Kind::Sha1)?;
    let author = commit.author()?;
    let seconds = commit.committer()?.time().map_or(0, |time| time.seconds);
    Ok(Commit {
        id: Id::ZERO,
        tree: commit.tree().into(),
        parents: commit.parents().map(Id::from).collect(),
        reference: String::new(),
        author: Author { name: author.name.to_str_lossy().into(), email: author.email.to_str_lossy().into() },
        // A commit may claim any time; one that no calendar knows is shown as the epoch.
        time: jiff::Timestamp::from_second(seconds).unwrap_or_default(),
        message: commit.message.to_str_lossy().into(),
    })
}

/// Changes files on top of `parent`. `None` when every file already has the wanted content.
///
/// File modes are kept; a new file is a plain one. Links and submodules cannot be edited. The result depends on nothing but
/// the arguments: the same edits give the same id, except that an ECDSA signature differs each time.
pub(crate) fn create(
    store: &Store,
    parent: Option<&Commit>,
    edits: &Edits,
    draft: &Draft<'_>,
) -> Result<Option<NewCommit>, Error> {
    let mut change = Change { store, objects: store.objects(), new: Vec::new(), files: Vec::new() };
    let Some(tree) = change.tree(parent.map(|parent| parent.tree), Path::new(""), &Folder::plan(edits)?)? else {
        return Ok(None);
    };
    let Draft { author, message, time, signing } = *draft;
    let author = Author { name: plain(&author.name), email: plain(&author.email) };
    let line = format!("{} <{}> {} +0000", author.name, author.email, time.as_second());
    let above = parent.map_or_else(String::new, |parent| format!("parent {}\n", parent.id));
    let head = format!("tree {tree}\n{above}author {line}\ncommitter {line}\n");
    let mut content = format!("{head}\n{message}");
    if let Some(key) = signing {
        // What is signed is the commit without its signature; the lines of a header go on behind a blank.
        let signature = key.sign(content.as_bytes(), time)?.replace('\n', "\n ");
        content = format!("{head}gpgsig {signature}\n\n{message}");
    }
    let id = change.add(Path::new(""), Kind::Commit, content.into_bytes())?;
    let Change { mut new, mut files, .. } = change;
    new.sort_unstable_by_key(|object| object.id);
    new.dedup_by_key(|object| object.id);
    files.sort_unstable();
    let commit = Commit {
        id,
        tree,
        parents: parent.map(|parent| parent.id).into_iter().collect(),
        reference: parent.map(|parent| parent.reference.clone()).unwrap_or_default(),
        author,
        time: jiff::Timestamp::from_second(time.as_second()).unwrap_or(time),
        message: message.to_owned(),
    };
    Ok(Some(NewCommit { commit, files, objects: new }))
}

/// The commit format has no way to write these characters in a name.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '<' | '>') && !c.is_control()).collect::<String>().trim().to_owned()
}

/// The edits below one folder.
#[derive(Default)]
struct Folder<'a> {
    files: BTreeMap<&'a [u8], &'a [u8]>,
    folders: BTreeMap<&'a [u8], Folder<'a>>,
}

impl<'a> Folder<'a> {
    fn plan(edits: &'a Edits) -> Result<Self, Error> {
        let mut root = Self::default();
        for (path, content) in edits {
            let mut parts: Vec<&[u8]> = path.iter().map(std::ffi::OsStr::as_encoded_bytes).collect();
            let hostile = || Error::HostilePath { path: path.display().to_string() };
            for (depth, part) in parts.iter().enumerate() {
                let parent: PathBuf = path.iter().take(depth).collect();
                tree::check_name(&parent, part.as_bstr(), EntryKind::Blob)?;
            }
            let name = parts.pop().ok_or_else(hostile)?;
            let mut folder = &mut root;
            for part in parts {
                folder = folder.folders.entry(part).or_default();
            }
            folder.files.insert(name, content);
        }
        Ok(root)
    }
}

struct Change<'a> {
    store: &'a Store,
    objects: Objects,
    new: Vec<NewObject>,
    files: Vec<PathBuf>,
}

impl Change<'_> {
    /// The tree with the edits made; `None` when nothing differs.
    fn tree(&mut self, old: Option<Id>, path: &Path, edits: &Folder<'_>) -> Result<Option<Id>, Error> {
        let mut entries = self.entries(old)?;
        let mut changed = false;
        for (name, content) in &edits.files {
            changed |= self.file(&mut entries, &below(path, name), name, content)?;
        }
        for (name, folder) in &edits.folders {
            let path = below(path, name);
            let old = match entries.get(*name) {
                Some(entry) if entry.mode.is_tree() => Some(entry.oid.into()),
                Some(_) => return Err(Error::Edit { path, what: "it is not a folder" }),
                None => None,
            };
            if let Some(id) = self.tree(old, &path, folder)? {
                let filename = BString::from(*name);
                entries.insert(filename.clone(), Entry { mode: EntryKind::Tree.into(), filename, oid: id.object_id() });
                changed = true;
            }
        }
        if !changed {
            return Ok(None);
        }
        let mut tree = Tree { entries: entries.into_values().collect() };
        // Git sorts folders as if their names ended in a slash.
        tree.entries.sort();
        let mut content = Vec::new();
        tree.write_to(&mut content)
            .map_err(|error| Error::Mirror { path: path.to_owned(), source: std::io::Error::other(error) })?;
        self.add(path, Kind::Tree, content).map(Some)
    }

    fn file(
        &mut self,
        entries: &mut BTreeMap<BString, Entry>,
        path: &Path,
        name: &[u8],
        content: &[u8],
    ) -> Result<bool, Error> {
        let refuse = |what| Err(Error::Edit { path: path.to_owned(), what });
        let mode = match entries.get(name).map(|entry| entry.mode.kind()) {
            Some(EntryKind::Link) => return refuse("it is a symbolic link"),
            Some(EntryKind::Tree) => return refuse("it is a folder"),
            Some(EntryKind::Commit) => return refuse("it is a submodule"),
            Some(kind @ (EntryKind::Blob | EntryKind::BlobExecutable)) => kind,
            None => EntryKind::Blob,
        };
        let id = hash(path, Kind::Blob, content)?;
        let oid = id.object_id();
        if entries.get(name).is_some_and(|entry| entry.oid == oid) {
            return Ok(false);
        }
        self.new.push(NewObject { id, kind: Kind::Blob, content: content.to_vec() });
        self.files.push(path.to_owned());
        match entries.get_mut(name) {
            // The mode stays to the bit, also where an old tool wrote 100664.
            Some(entry) => entry.oid = oid,
            None => {
                let filename = BString::from(name);
                entries.insert(filename.clone(), Entry { mode: mode.into(), filename, oid });
            }
        }
        Ok(true)
    }

    fn entries(&self, tree: Option<Id>) -> Result<BTreeMap<BString, Entry>, Error> {
        let Some(tree) = tree else { return Ok(BTreeMap::new()) };
        let content = self.store.read(&self.objects, tree, Kind::Tree)?;
        let entries = TreeRefIter::from_bytes(&content, gix_hash::Kind::Sha1).entries();
        let entries = entries.map_err(|error| self.store.damaged(tree, causes(&error)))?;
        Ok(entries.into_iter().map(|entry| (entry.filename.to_owned(), entry.into())).collect())
    }

    fn add(&mut self, path: &Path, kind: Kind, content: Vec<u8>) -> Result<Id, Error> {
        let id = hash(path, kind, &content)?;
        self.new.push(NewObject { id, kind, content });
        Ok(id)
    }
}

fn hash(path: &Path, kind: Kind, content: &[u8]) -> Result<Id, Error> {
    let id = store::hash(kind, content).map(Id::from);
    id.map_err(|_| Error::Edit { path: path.to_owned(), what: "it looks like an attack on SHA-1" })
}

fn below(path: &Path, name: &[u8]) -> PathBuf {
    path.join(String::from_utf8_lossy(name).as_ref())
}
