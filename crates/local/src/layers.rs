//! Unpacks layers of an image into a folder, and lets no entry of a hostile archive reach out of it.
//!
//! Symbolic links are rewritten to stay inside, since processes run without a root of their own. Owners, extended
//! attributes and set-id bits are dropped; devices and pipes are skipped. Source: OCI image specification 1.1, `layer.md`.

use std::{
    cell::Cell,
    collections::HashSet,
    fs,
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    },
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use tar::EntryType;

/// Most bytes that the headers of one entry may take, with its long names and attributes.
const HEADERS_LIMIT_BYTES: u64 = 4 << 20;
/// Symbolic links followed before a path counts as a circle.
const MAX_LINKS: usize = 40;
/// Prefix of names that take a name of a lower layer away.
const WHITEOUT: &[u8] = b".wh.";
/// Name that takes all names of lower layers away in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Why a layer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive breaks the format, or the disk refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An entry that would reach out of the folder, or makes no sense.
    #[error("entry {path:?} {problem}")]
    Hostile {
        /// The entry.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than an image may hold.
    #[error("the image holds more than {0}")]
    TooLarge(String),
}

/// What may still be unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of file content.
    pub bytes: u64,
    /// Entries of archives.
    pub entries: u64,
}

impl Default for Budget {
    /// For a whole image: 16 GiB in a million entries.
    fn default() -> Self {
        Self { bytes: 16 << 30, entries: 1_000_000 }
    }
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<(), LayerError> {
        let too_large = |what: &str| LayerError::TooLarge(what.to_owned());
        self.entries = self.entries.checked_sub(1).ok_or_else(|| too_large("the entries allowed"))?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| too_large("the bytes allowed"))?;
        Ok(())
    }
}

/// Unpacks one layer, an uncompressed archive, over what lower layers left in `root`.
pub fn apply(archive: impl Read, root: &Path, budget: &mut Budget) -> Result<(), LayerError> {
    let mut layer = Layer { root, added: HashSet::new() };
    let allowance = Rc::new(Cell::new(HEADERS_LIMIT_BYTES));
    let mut archive = tar::Archive::new(Metered { inner: archive, left: allowance.clone() });
    for entry in archive.entries()? {
        let mut entry = entry?;
        budget.take(entry.size())?;
        // Enough for this entry, and for the headers of the next one: names are read into memory.
        allowance.set(entry.size().saturating_add(HEADERS_LIMIT_BYTES));
        layer.entry(&mut entry)?;
    }
    Ok(())
}

/// A reader that gives no more than it is allowed to between two entries.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left.get()).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(io::Error::other("the headers of an entry are too long"));
        }
        let most = buffer.len().min(left);
        let count = self.inner.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

/// A layer being unpacked.
struct Layer<'a> {
    root: &'a Path,
    /// What this layer has put there, relative to the root: whiteouts do not touch it.
    added: HashSet<PathBuf>,
}

impl Layer<'_> {
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), LayerError> {
        let path = entry.path()?.into_owned();
        let inner = inside(&path)?;
        let Some(name) = inner.file_name().map(|name| name.as_bytes().to_vec()) else {
            return Ok(()); // The root itself.
        };
        let parent = self.resolve(inner.parent().unwrap_or(Path::new("")), &path)?;
        if name == OPAQUE {
            return self.clear(&parent);
        }
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&parent, gone, &path);
        }
        let target = parent.join(inner.file_name().unwrap_or_default());
        match entry.header().entry_type() {
            EntryType::Directory => self.directory(&target, entry.header().mode().unwrap_or(0o755))?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&target, entry)?,
            EntryType::Symlink => {
                let link = entry.link_name()?.ok_or_else(|| hostile(&path, "is a link to nowhere"))?;
                self.make_way(&target)?;
                symlink(contained(&parent, &link), self.root.join(&target))?;
            }
            EntryType::Link => {
                let link = entry.link_name()?.ok_or_else(|| hostile(&path, "is a link to nowhere"))?.into_owned();
                self.hard_link(&target, &link, &path)?;
            }
            // Devices and pipes are of no use here; other kinds describe entries and hold nothing.
            _ => return Ok(()),
        }
        self.added.insert(target);
        Ok(())
    }

    /// Follows links of the parts of a path inside the root, makes what is missing, and returns a path without links.
    fn resolve(&self, path: &Path, entry: &Path) -> Result<PathBuf, LayerError> {
        let mut resolved = PathBuf::new();
        let mut rest: Vec<_> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            match fs::symlink_metadata(self.root.join(&next)) {
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(hostile(entry, "lies behind links that go round in a circle"));
                    }
                    let link = fs::read_link(self.root.join(&next))?;
                    let parts =
                        link.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
                    rest.extend(parts.map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>().into_iter().rev());
                }
                Ok(found) if found.is_dir() => resolved = next,
                Ok(_) => return Err(hostile(entry, "lies below a file")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(self.root.join(&next))?;
                    resolved = next;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(resolved)
    }

    /// Takes away what stands in the place of a new entry.
    fn make_way(&self, target: &Path) -> io::Result<()> {
        remove(&self.root.join(target))
    }

    fn directory(&self, target: &Path, mode: u32) -> Result<(), LayerError> {
        let full = self.root.join(target);
        if !fs::symlink_metadata(&full).is_ok_and(|found| found.is_dir()) {
            self.make_way(target)?;
            fs::create_dir(&full)?;
        }
        // We must be able to fill and to remove it.
        fs::set_permissions(&full, fs::Permissions::from_mode(mode & 0o777 | 0o700))?;
        Ok(())
    }

    fn file(&self, target: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), LayerError> {
        let mode = entry.header().mode().unwrap_or(0o644) & 0o777 | 0o600;
        self.make_way(target)?;
        let full = self.root.join(target);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&full)?;
        io::copy(entry, &mut file)?;
        // The mode at creation is subject to our umask.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn hard_link(&self, target: &Path, link: &Path, entry: &Path) -> Result<(), LayerError> {
        let link = inside(link)?;
        let parent = self.resolve(link.parent().unwrap_or(Path::new("")), entry)?;
        let source = self.root.join(parent.join(link.file_name().unwrap_or_default()));
        if !fs::symlink_metadata(&source).is_ok_and(|found| found.is_file()) {
            return Err(hostile(entry, "is a hard link to something that is no file of the image"));
        }
        if source == self.root.join(target) {
            return Ok(());
        }
        self.make_way(target)?;
        fs::hard_link(source, self.root.join(target))?;
        Ok(())
    }

    fn whiteout(&self, parent: &Path, gone: &[u8], entry: &Path) -> Result<(), LayerError> {
        if gone.starts_with(WHITEOUT) {
            return Ok(()); // Notes of older storage drivers.
        }
        if matches!(gone, b"" | b"." | b"..") {
            return Err(hostile(entry, "takes away what is no name"));
        }
        let target = parent.join(std::ffi::OsStr::from_bytes(gone));
        if self.added.iter().any(|added| added.starts_with(&target)) {
            return match fs::symlink_metadata(self.root.join(&target)) {
                Ok(found) if found.is_dir() => self.clear(&target),
                _ => Ok(()),
            };
        }
        Ok(remove(&self.root.join(target))?)
    }

    /// Takes away what lower layers put into a folder.
    fn clear(&self, folder: &Path) -> Result<(), LayerError> {
        for child in fs::read_dir(self.root.join(folder))? {
            let child = child?;
            let path = folder.join(child.file_name());
            if !self.added.iter().any(|added| added.starts_with(&path)) {
                remove(&child.path())?;
            } else if child.file_type()?.is_dir() {
                self.clear(&path)?;
            }
        }
        Ok(())
    }
}

fn hostile(path: &Path, problem: &'static str) -> LayerError {
    LayerError::Hostile { path: path.display().to_string(), problem }
}

/// A path of an archive relative to the root: `/` and `./` in front do not matter, `..` is refused.
fn inside(path: &Path) -> Result<PathBuf, LayerError> {
    let mut inner = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => inner.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(hostile(path, "reaches out of the image")),
        }
    }
    Ok(inner)
}

/// The target of a link that lies in `parent`, written so that it cannot lead out of the root: relative, with no more
/// `..` than there are folders, all of them in front.
fn contained(parent: &Path, link: &Path) -> PathBuf {
    let depth = parent.components().count();
    let mut target = if link.is_absolute() { PathBuf::new() } else { parent.to_owned() };
    for part in link.components() {
        match part {
            Component::Normal(part) => target.push(part),
            Component::ParentDir => drop(target.pop()),
            _ => {}
        }
    }
    let shared = parent.components().zip(target.components()).take_while(|(own, other)| own == other).count();
    let mut relative: PathBuf = std::iter::repeat_n("..", depth - shared).collect();
    relative.extend(target.components().skip(shared));
    if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative }
}

/// Removes a file, a link or a folder with all it holds; links are not followed. What is not there is no error.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests;
