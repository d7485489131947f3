//! What the setters change in a commit, read from the mirror without a working tree.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use git::{Commit, File, Mirror, Mode};
use reconcile::Failure;

use super::{Run, links, memory::Memory, source};
use crate::setters;

/// Files read at once: the files of a repository never stand in memory together.
const AT_ONCE: usize = 256;
/// A file larger than this is not searched for markers.
const FILE_LIMIT_BYTES: u64 = 16 << 20;

/// What the setters changed.
#[derive(Default)]
pub(super) struct Edited {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) changes: Vec<setters::Change>,
    /// Markers and files that could not be used, in words, in the order of the paths.
    pub(super) warnings: Vec<String>,
}

/// Follows the markers of what is below the automation's path.
pub(super) async fn edit(
    run: &Run<'_>,
    mirror: &Arc<Mirror>,
    commit: &Commit,
    memory: &Arc<Memory>,
) -> Result<Edited, Failure> {
    let full = |name: &str| format!("{}:{name}", run.namespace);
    let policies = setters::Policies::new(run.chosen.iter().map(|(name, image)| (full(name), image.clone())))
        .labelled(run.known.iter().map(|(name, labels)| (full(name), labels.clone())));
    let (mirror, commit, memory) = (Arc::clone(mirror), commit.clone(), Arc::clone(memory));
    let root = setters::root(&run.automation.spec.update().path);
    let edited = source::step("read", move || edit_below(&mirror, &commit, &root, &policies, &memory)).await;
    edited.map_err(|error| Failure::new("UpdateFailed", format!("failed to apply policies: {}", error.chain())))
}

/// A file, and the name that templates know it by.
struct Candidate {
    file: File,
    name: String,
}

fn edit_below(
    mirror: &Mirror,
    commit: &Commit,
    root: &Path,
    policies: &setters::Policies,
    memory: &Memory,
) -> Result<Edited, git::Error> {
    let candidates = candidates(mirror, commit, root)?;
    let settled = memory.settled(candidates.iter().map(|one| (one.file.blob, one.name.as_str())), policies);
    let mut warnings: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let mut unsettled = Vec::new();
    for (candidate, settled) in candidates.into_iter().zip(settled) {
        match settled {
            None => unsettled.push(candidate),
            Some(told) if told.is_empty() => {}
            Some(told) => {
                warnings.insert(candidate.file.path, told.iter().map(ToString::to_string).collect());
            }
        }
    }
    let mut edited = Edited::default();
    for some in unsettled.chunks(AT_ONCE) {
        let (small, large): (Vec<_>, Vec<_>) =
            sized(mirror, some)?.into_iter().partition(|(_, size)| *size <= FILE_LIMIT_BYTES);
        for (Candidate { file, .. }, size) in large {
            let path = file.path.display();
            let told = format!("{path}:1: file is skipped, its {size} bytes are more than {FILE_LIMIT_BYTES}");
            warnings.insert(file.path.clone(), vec![told]);
        }
        let blobs = mirror.blobs(&small.iter().map(|(one, _)| one.file.blob).collect::<Vec<_>>())?;
        let named: Vec<_> = small.iter().map(|(one, _)| one.name.clone()).zip(blobs).collect();
        for ((Candidate { file, .. }, _), result) in small.into_iter().zip(setters::edit_all(&named, policies)) {
            if !result.warnings.is_empty() {
                warnings.insert(file.path.clone(), result.warnings.iter().map(ToString::to_string).collect());
            }
            memory.keep(file.blob, result.places);
            if let Some(content) = result.content {
                edited.changes.extend(result.changes);
                edited.files.insert(file.path.clone(), content);
            }
        }
    }
    edited.warnings = warnings.into_values().flatten().collect();
    Ok(edited)
}

/// The files that may hold markers. Templates name them relative to `update.path`.
fn candidates(mirror: &Mirror, commit: &Commit, root: &Path) -> Result<Vec<Candidate>, git::Error> {
    let (mut files, links): (Vec<_>, Vec<_>) = mirror
        .files(commit, root)?
        .into_iter()
        .filter(|file| file.mode != Mode::Submodule && setters::is_candidate(&file.path))
        .partition(|file| file.mode != Mode::Link);
    if !links.is_empty() {
        files.extend(links::others(mirror, commit, &links, &files)?);
    }
    let named = files.into_iter().map(|file| {
        let name = file.path.strip_prefix(root).ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(&file.path);
        Candidate { name: name.display().to_string(), file }
    });
    Ok(named.collect())
}

/// The files with their sizes, in bytes.
fn sized<'a>(mirror: &Mirror, files: &'a [Candidate]) -> Result<Vec<(&'a Candidate, u64)>, git::Error> {
    let sizes = mirror.sizes(&files.iter().map(|one| one.file.blob).collect::<Vec<_>>())?;
    Ok(files.iter().zip(sizes).collect())
}
