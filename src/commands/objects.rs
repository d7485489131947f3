//! Objects in the files that one-shot verbs are given; every error names file and line.

use std::rc::Rc;

use anyhow::{anyhow, bail};
use api::manifest::{self, Document};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file that was read.
#[derive(Debug)]
struct Source {
    file: String,
    text: String,
}

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The object.
    pub object: Value,
    line: usize,
    source: Rc<Source>,
}

impl Placed {
    /// Whether it is one of that kind.
    pub fn is(&self, kind: &str) -> bool {
        self.object["kind"] == kind
    }

    /// The object as its type.
    pub fn typed<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        manifest::typed(&self.object).map_err(|problem| self.wrong(&problem))
    }

    /// Where a field stands: file and line.
    pub fn place(&self, field: &str) -> String {
        format!("{}, line {}", self.source.file, line_of(&self.source.text, self.line, &keys(field)))
    }

    /// An error about the object; the line is that of the field with which the problem begins.
    pub fn wrong(&self, problem: &str) -> anyhow::Error {
        anyhow!(located(&self.source.file, &self.source.text, self.line, problem))
    }
}

/// The objects of files, whatever their kinds. A document that cannot be read is an error.
pub fn read<S: AsRef<str>>(files: &[S]) -> anyhow::Result<Vec<Placed>> {
    let mut found = Vec::new();
    for file in files {
        let file = file.as_ref().to_owned();
        let text = super::read(&file)?;
        let documents: Result<Vec<Document>, _> = manifest::documents(&text).into_iter().collect();
        let documents = documents.map_err(|error| anyhow!("{file}, {error}"))?;
        let source = Rc::new(Source { file, text });
        let placed = |Document { line, object }| Placed { object, line, source: Rc::clone(&source) };
        found.extend(documents.into_iter().map(placed));
    }
    Ok(found)
}

/// The only object of that kind among them.
pub fn only<'a>(objects: &'a [Placed], kind: &str, files: &[impl AsRef<str>]) -> anyhow::Result<&'a Placed> {
    let mut found = objects.iter().filter(|object| object.is(kind));
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        (Some(_), Some(second)) => Err(second.wrong(&format!("a second {kind}, where one is expected"))),
        (None, _) => bail!("no {kind} in {}", files.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")),
    }
}

/// All objects of a file that are of this kind.
pub fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<Vec<K>> {
    read(&[file])?.iter().filter(|object| object.is(&K::kind(&()))).map(Placed::typed).collect()
}

/// The one object of this kind in a file.
pub fn one<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<K> {
    only(&read(&[file])?, &K::kind(&()), &[file])?.typed()
}

/// What [`manifest::typed`] says of a document that begins at that line, with the file and the line of the field at fault.
pub fn located(file: &str, text: &str, start: usize, problem: &str) -> String {
    let field = problem.split(": ").next().filter(|field| !field.contains(' ')).unwrap_or_default();
    let line = line_of(text, start, &keys(field));
    format!("{file}, line {line}: {problem}")
}

/// The keys of a path such as `spec.metrics[1].name`; a place in a list ends in a bracket.
pub fn keys(field: &str) -> Vec<&str> {
    field.split(['.', '[']).filter(|key| !key.is_empty()).collect()
}

/// The line of a field, by looking for its keys one after the other; that of the last key found otherwise.
pub fn line_of(text: &str, start: usize, keys: &[&str]) -> usize {
    let first = start.saturating_sub(1);
    let document = text.lines().enumerate().skip(first);
    // An item of a `kind: List` ends where the next one begins.
    let indent = |line: &str| line.len() - line.trim_start().len();
    let item = text.lines().nth(first).map(|line| (indent(line), line.trim_start())).filter(|(_, line)| {
        line.starts_with(['-', '{']) && !line.starts_with("---") && keys.first().is_some_and(|key| !key.ends_with(']'))
    });
    let is_next = |line: &str| {
        item.is_some_and(|(deep, item)| {
            indent(line) == deep && line.trim_start().as_bytes()[..1] == item.as_bytes()[..1]
        })
    };
    let is_inside = |line: &str| !line.starts_with("---") && (line.trim().is_empty() || !is_next(line));
    let mut lines = document.take_while(|(index, line)| *index == first || is_inside(line)).peekable();
    let (mut found, mut is_block) = (start, true);
    for key in keys {
        if let Ok(number) = key.trim_end_matches(']').parse::<usize>() {
            let indent = |line: &str| line.trim_start().starts_with('-').then(|| line.len() - line.trim_start().len());
            let first = lines.clone().find_map(|(_, line)| indent(line).filter(|_| !line.starts_with("---")));
            let first = first.filter(|_| is_block);
            let item = lines.clone().filter(|(_, line)| first.is_some() && indent(line) == first).nth(number);
            let Some((index, line)) = item else { break };
            (found, is_block) = (index + 1, line.trim_end().ends_with(':'));
            // The entry's first field may stand beside its dash.
            while lines.next_if(|(passed, _)| *passed < index).is_some() {}
            continue;
        }
        let is_key = |line: &str| {
            let line = line.trim_start_matches([' ', '-', '{', '"']);
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', ' ']).starts_with(':'))
        };
        match lines.clone().find(|(_, line)| is_key(line)) {
            Some((index, line)) => {
                (found, is_block) = (index + 1, line.trim_end().ends_with(':'));
                while lines.next_if(|(passed, _)| *passed <= index).is_some() {}
            }
            None => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_below_its_parents() {
        let text = "kind: A\nmetadata:\n  range: no\nspec:\n  policy:\n    semver:\n      range: x\n";
        assert_eq!(line_of(text, 1, &["spec", "policy", "semver", "range"]), 7);
        assert_eq!(line_of(text, 1, &["spec", "filterTags", "pattern"]), 4);
        let list = "spec:\n  items:\n  - a: 1\n  - x:\n    - 5\n    b: 1\n  flow: [1, 2]\n";
        assert_eq!(line_of(list, 1, &["spec", "items", "1]", "b"]), 6);
        assert_eq!(line_of(list, 1, &["spec", "items", "0]", "a"]), 3);
        assert_eq!(line_of(list, 1, &["spec", "flow", "1]"]), 7);
        assert_eq!(line_of("a: 1\n---\nspec: 2\n", 1, &["spec"]), 1);
        assert_eq!(line_of("", 1, &["spec"]), 1);
        let items = "items:\n- kind: A\n  b: 1\n\n- kind: B\n  spec: 1\n";
        assert_eq!((line_of(items, 2, &["spec"]), line_of(items, 5, &["spec"])), (2, 6));
        assert_eq!(line_of("# a list\n- tick: 1\n- hooks:\n    a: 1\n", 1, &["1]", "hooks", "a"]), 4);
    }
}
