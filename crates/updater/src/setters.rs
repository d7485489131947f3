//! Setters: the values that markers name, written into YAML files byte for byte. Pure.
//!
//! The marked scalar's bytes change and nothing else. What cannot be used — a file that does not parse, a marker that
//! is malformed, misplaced or names an unknown policy — is a warning with file and line, never silence.
//! Source: reference image-automation.md section 8.

mod add;
mod lines;
mod list;
mod marker;
mod places;
mod reference;
mod scan;
mod write;

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZero,
    ops::Range,
    panic::resume_unwind,
    path::{Component, Path, PathBuf},
    thread,
};

use api::image::ImageRef;
use memchr::memmem;
use serde::{Deserialize, Serialize};

pub use add::{Added, add};
pub use list::{Listed, list};
pub use places::Places;

use marker::Marker;
use scan::{Scalar, Scan};

/// What every file with a marker holds somewhere, as a quick test. Source: section 8.1.
const TOKEN: &[u8] = b"\"$imagepolicy\"";

/// Labels of an image by what commit messages call them: `source`, `revision`, `created`, `version`.
pub type Labels = BTreeMap<String, String>;

/// The images that markers may name, by `namespace:policy`.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    images: BTreeMap<String, ImageRef>,
    labels: BTreeMap<String, Labels>,
}

impl Policies {
    /// The images, by `namespace:policy`.
    pub fn new(policies: impl IntoIterator<Item = (String, ImageRef)>) -> Self {
        Self { images: policies.into_iter().collect(), labels: BTreeMap::new() }
    }

    /// With what is known about the images, by `namespace:policy` too. A policy without an image in [`Self::new`] has yet to
    /// choose one: its markers are left alone, and no warning is told of them.
    pub fn labelled(self, labels: impl IntoIterator<Item = (String, Labels)>) -> Self {
        Self { labels: labels.into_iter().collect(), ..self }
    }

    /// Whether the policy is there and has yet to choose an image.
    fn is_undecided(&self, policy: &str) -> bool {
        self.labels.contains_key(policy) && !self.images.contains_key(policy)
    }

    /// Why the image of a policy cannot be written, if there is one: it would break the file or name nothing.
    fn invalid(&self, policy: &str) -> Option<String> {
        let image = self.images.get(policy).filter(|image| !reference::is_valid(image))?;
        let image = image.to_string();
        Some(format!("marker is ignored: policy {policy:?} has the invalid image ref {image:?}"))
    }

    /// The value that a marker stands for, if its policy is known and has an image that can be written.
    fn value(&self, marker: &Marker) -> Option<String> {
        let image = self.images.get(&marker.policy).filter(|image| reference::is_valid(image))?;
        let digest = image.digest.as_str();
        Some(match marker.part {
            marker::Part::Tag => image.tag.clone(),
            marker::Part::Name => image.name.clone(),
            marker::Part::Digest => digest.to_owned(),
            marker::Part::Image if digest.is_empty() => format!("{}:{}", image.name, image.tag),
            marker::Part::Image => format!("{}:{}@{digest}", image.name, image.tag),
        })
    }
}

/// One value that changed, as commit messages and `slipway set` tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// The file, relative to `update.path`.
    pub file: String,
    /// `apiVersion` of the document's object; empty if missing, like the other three.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The marker's text: `ns:policy`, `ns:policy:tag`, …
    pub setter: String,
    /// The value before.
    pub old: String,
    /// The value after.
    pub new: String,
    /// What the new image says of itself, as far as it is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// Something in a file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What and why.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A file after its markers were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// The new content; none if nothing changed.
    pub content: Option<Vec<u8>>,
    /// What changed, in the order of the file.
    pub changes: Vec<Change>,
    /// What could not be used.
    pub warnings: Vec<Warning>,
    /// What the markers named before.
    pub places: Places,
}

/// Whether a file can hold markers, by its name. `.git` is left out, which Flux reads too (`Differs:`).
pub fn is_candidate(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let named = name.ends_with(".yaml") || name.ends_with(".yml") || name == "Kustomization";
    named && !path.components().any(|part| part.as_os_str() == ".git")
}

/// Where an `update.path` leads from the root of a repository: joined so that it cannot escape. Source: section 8.1.
pub fn root(path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => joined.push(name),
            Component::ParentDir => {
                joined.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    joined
}

/// Whether the content may hold a marker; what does not is not parsed.
pub fn has_marker(content: &[u8]) -> bool {
    memmem::find(content, TOKEN).is_some()
}

/// A file's text and what is in it, or why it is skipped.
fn read<'a>(file: &str, content: &'a [u8]) -> Result<(&'a str, Scan), Warning> {
    let skipped = |line, problem: String| {
        let message = format!("file is skipped, it cannot be read as YAML: {problem}");
        Warning { file: file.to_owned(), line, message }
    };
    let text = std::str::from_utf8(content).map_err(|_| skipped(1, "it is not UTF-8".into()))?;
    let scan = scan::scan(text).map_err(|problem| skipped(problem.line, problem.message))?;
    Ok((text, scan))
}

/// Follows the markers of one file. Never fails: what cannot be used is told in the warnings.
pub fn edit(file: &str, content: &[u8], policies: &Policies) -> Edited {
    if !has_marker(content) {
        return Edited::default();
    }
    let (text, scan) = match read(file, content) {
        Ok(read) => read,
        Err(warning) => {
            let places = Places::unreadable(warning.line, warning.message.clone());
            return Edited { warnings: vec![warning], places, ..Edited::default() };
        }
    };
    let (places, scalars) = Places::find(text, &scan);
    let (due, warnings) = places.due(file, policies);
    let follow = |(index, new): places::Due| {
        let (marker, scalar) = (places.marker(index), scalars[index]);
        let labels = policies.labels.get(&marker.policy).cloned().unwrap_or_default();
        let (file, setter) = (file.to_owned(), marker.setter.clone());
        let splice = write::splice(text, scalar, &new);
        (splice, Change { file, setter, new, labels, ..change(&scan, scalar) })
    };
    let (splices, changes): (Vec<Splice>, Vec<Change>) = due.into_iter().map(follow).unzip();
    let content = (!splices.is_empty()).then(|| splice(text, splices));
    Edited { content, changes, warnings, places }
}

/// A file's name, as messages tell it, and its content.
pub type Named = (String, Vec<u8>);

/// So few files are read sooner than another core is asked to help.
const ALONE: usize = 32;

/// Follows the markers of many files, on all cores. The answers are in the files' order.
pub fn edit_all(files: &[Named], policies: &Policies) -> Vec<Edited> {
    let each = |files: &[Named]| -> Vec<Edited> {
        files.iter().map(|(name, content)| edit(name, content, policies)).collect()
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let (mine, others) = files.split_at(files.len().div_ceil(cores).max(ALONE).min(files.len()));
    thread::scope(|scope| {
        let helpers: Vec<_> = others.chunks(mine.len().max(1)).map(|share| scope.spawn(move || each(share))).collect();
        let mut edited = each(mine);
        for helper in helpers {
            edited.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        edited
    })
}

/// Bytes to replace, and by what.
type Splice = (Range<usize>, String);

fn change(scan: &Scan, scalar: &Scalar) -> Change {
    let identity = scan.identities.get(scalar.document).cloned().unwrap_or_default();
    Change {
        api_version: identity.api_version,
        kind: identity.kind,
        namespace: identity.namespace,
        name: identity.name,
        old: scalar.value.clone(),
        ..Change::default()
    }
}

/// The text with each range replaced, in order.
fn splice(text: &str, splices: Vec<Splice>) -> Vec<u8> {
    let (mut result, mut done) = (String::with_capacity(text.len()), 0);
    for (span, new) in splices {
        result.push_str(&text[done..span.start]);
        result.push_str(&new);
        done = span.end;
    }
    result.push_str(&text[done..]);
    result.into_bytes()
}

#[cfg(test)]
mod tests;
