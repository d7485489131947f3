//! Setters: the values that markers name, written into YAML files byte for byte. Pure.
//!
//! The marked scalar's bytes change and nothing else. What cannot be used — a file that does not parse, a marker that
//! is malformed, misplaced or names an unknown policy — is a warning with file and line, never silence.
//! Source: reference image-automation.md section 8.

mod marker;
mod scan;
mod write;

use std::{collections::BTreeMap, fmt, ops::Range, path::Path};

use api::image::ImageRef;
use serde::{Deserialize, Serialize};

use marker::{Marker, Reading};
use scan::{Comment, Scalar, Scan};

/// What every file with a marker holds somewhere, as a quick test. Source: section 8.1.
const TOKEN: &[u8] = b"\"$imagepolicy\"";

/// The images that markers may name, by `namespace:policy`.
#[derive(Clone, Debug, Default)]
pub struct Policies(BTreeMap<String, ImageRef>);

impl Policies {
    /// The images, by `namespace:policy`.
    pub fn new(policies: impl IntoIterator<Item = (String, ImageRef)>) -> Self {
        Self(policies.into_iter().collect())
    }

    /// The value that a marker stands for, if its policy is known.
    fn value(&self, marker: &Marker) -> Option<String> {
        let image = self.0.get(&marker.policy)?;
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
}

/// Whether a file can hold markers, by its name. `.git` is left out, which Flux reads too (`Differs:`).
pub fn is_candidate(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let named = name.ends_with(".yaml") || name.ends_with(".yml") || name == "Kustomization";
    named && !path.components().any(|part| part.as_os_str() == ".git")
}

/// Whether the content may hold a marker; what does not is not parsed.
pub fn has_marker(content: &[u8]) -> bool {
    content.windows(TOKEN.len()).any(|window| window == TOKEN)
}

/// Follows the markers of one file. Never fails: what cannot be used is told in the warnings.
pub fn edit(file: &str, content: &[u8], policies: &Policies) -> Edited {
    if !has_marker(content) {
        return Edited::default();
    }
    let warning = |line, message: String| Warning { file: file.to_owned(), line, message };
    let skipped = |line, problem: String| Edited {
        warnings: vec![warning(line, format!("file is skipped, it cannot be read as YAML: {problem}"))],
        ..Edited::default()
    };
    let Ok(text) = std::str::from_utf8(content) else { return skipped(1, "it is not UTF-8".into()) };
    let scan = match scan::scan(text) {
        Ok(scan) => scan,
        Err(problem) => return skipped(problem.line, problem.message),
    };
    let mut edited = Edited::default();
    let mut splices: BTreeMap<usize, (Range<usize>, String)> = BTreeMap::new();
    for comment in &scan.comments {
        match follow(text, &scan, comment, policies) {
            Ok(None) => {}
            Ok(Some((scalar, setter, new))) => {
                if splices.contains_key(&scalar.span.start) {
                    continue;
                }
                let change = Change { file: file.to_owned(), setter, new: new.clone(), ..change(&scan, scalar) };
                edited.changes.push(change);
                splices.insert(scalar.span.start, (scalar.span.clone(), write::scalar(text, scalar, &new)));
            }
            Err(message) => edited.warnings.push(warning(line_of(text, comment.span.start), message)),
        }
    }
    if !splices.is_empty() {
        edited.content = Some(splice(text, splices.into_values()));
    }
    edited
}

/// The scalar that a comment's marker names, and its new value; none if there is nothing to do. Errs with a warning.
fn follow<'a>(
    text: &str,
    scan: &'a Scan,
    comment: &Comment,
    policies: &Policies,
) -> Result<Option<(&'a Scalar, String, String)>, String> {
    let marker = match marker::read(&comment.text) {
        Reading::None => return Ok(None),
        Reading::Malformed(problem) => return Err(format!("marker is ignored: {problem}")),
        Reading::Marker(marker) => marker,
    };
    let scalar = scan.marked(text, comment)?;
    let Some(new) = policies.value(&marker) else {
        return Err(format!("marker is ignored: no policy {:?} with an image is known", marker.policy));
    };
    let unchanged = scalar.value == new || (scalar.is_block() && scalar.value.trim_end_matches('\n') == new);
    Ok((!unchanged).then(|| (scalar, marker.setter.clone(), new)))
}

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
fn splice(text: &str, splices: impl Iterator<Item = (Range<usize>, String)>) -> Vec<u8> {
    let (mut result, mut done) = (String::with_capacity(text.len()), 0);
    for (span, new) in splices {
        result.push_str(&text[done..span.start]);
        result.push_str(&new);
        done = span.end;
    }
    result.push_str(&text[done..]);
    result.into_bytes()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
