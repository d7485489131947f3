//! The files that may hold markers, and how one is replaced without a moment in which it is half written.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use updater::setters;

use crate::commands::streams::said;

/// A file that may hold markers.
#[derive(Debug)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// How it is called in answers: relative to the root.
    pub name: String,
}

impl Found {
    /// That no automation reads a file of this name. One that is named itself is looked at all the same.
    pub fn unread(&self) -> Option<String> {
        let message =
            || format!("{}: no automation reads it: only *.yaml, *.yml and Kustomization are read", self.name);
        (!setters::is_candidate(Path::new(&self.name))).then(message)
    }
}

/// What a file holds.
pub fn read(found: &Found) -> anyhow::Result<Vec<u8>> {
    fs::read(&found.path).map_err(|error| failed("read", &found.path)(error))
}

/// What could not be done to a file or folder, in the words of all other verbs.
fn failed(done: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> anyhow::Error {
    move |error| anyhow::anyhow!("cannot {done} {}: {}", path.display(), said(&error))
}

/// The tree that a path stands for: the folder itself, or that of a file, with links resolved.
pub fn tree(path: &Path) -> anyhow::Result<PathBuf> {
    let real = path.canonicalize().map_err(failed("read", path))?;
    let folder = if real.is_file() { real.parent().map(Path::to_owned) } else { None };
    Ok(folder.unwrap_or(real))
}

/// The files at or below a root, by name. A link to a file is followed only within the tree; links to folders never.
/// Source: reference image-automation.md section 8.1.
pub fn below(root: &Path, tree: &Path, warnings: &mut Vec<String>) -> anyhow::Result<Vec<Found>> {
    if root.is_file() {
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = root.canonicalize().map_err(failed("read", root))?;
        return Ok(vec![Found { path, name }]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(failed("read", &folder))?;
        for entry in entries {
            let entry = entry.map_err(failed("read", &folder))?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if kind.is_dir() {
                if entry.file_name() != ".git" {
                    folders.push(path);
                }
            } else if !setters::is_candidate(&path) {
            } else if kind.is_file() {
                found.push(Found { path, name });
            } else if let Some(target) = linked_file(&path) {
                let is_inside = target
                    .strip_prefix(tree)
                    .is_ok_and(|inner| inner.components().all(|part| part.as_os_str() != ".git"));
                match is_inside {
                    true => found.push(Found { path: target, name }),
                    false => warnings.push(format!("{name}: link is not followed, it leads out of the tree")),
                }
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The file that a link leads to; none if it leads to a folder or nowhere.
fn linked_file(link: &Path) -> Option<PathBuf> {
    link.canonicalize().ok().filter(|target| target.is_file())
}

/// Puts new content in the place of a file's, keeping its mode: written beside it, then renamed.
pub fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mode = fs::metadata(path)?.permissions();
        let mut file = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().set_permissions(mode)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(failed("write", path))
}
