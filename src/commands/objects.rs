//! Objects in the files that one-shot verbs are given; every error names file and line.

use anyhow::{anyhow, bail};
use api::manifest;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// All objects of a file that are of this kind.
pub fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<Vec<K>> {
    let text = super::read(file)?;
    let mut found = Vec::new();
    for document in manifest::documents(&text) {
        let document = document.map_err(|error| anyhow!("{file}, {error}"))?;
        let kind = document.object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == K::kind(&()) {
            let object = manifest::typed(&document.object);
            found.push(object.map_err(|problem: String| anyhow!(located(file, &text, document.line, &problem)))?);
        }
    }
    Ok(found)
}

/// The one object of this kind in a file.
pub fn one<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<K> {
    let mut found = all::<K>(file)?;
    match (found.pop(), found.is_empty()) {
        (Some(object), true) => Ok(object),
        (Some(_), false) => bail!("{file} holds several objects of kind {}; one is expected", K::kind(&())),
        (None, _) => bail!("{file} holds no object of kind {}", K::kind(&())),
    }
}

/// What [`manifest::typed`] says of a document that begins at that line, with the file and the line of the field at fault.
pub fn located(file: &str, text: &str, start: usize, problem: &str) -> String {
    let field = problem.split(": ").next().filter(|field| !field.contains(' ')).unwrap_or_default();
    let line = line_of(text, start, &field.split(['.', '[']).collect::<Vec<_>>());
    format!("{file}, line {line}: {problem}")
}

/// The line of a field, by looking for its keys one after the other; that of the last key found otherwise.
pub fn line_of(text: &str, start: usize, keys: &[&str]) -> usize {
    let mut found = start;
    let first = start.saturating_sub(1);
    let document = text.lines().enumerate().skip(first);
    let mut lines = document.take_while(|(index, line)| *index == first || !line.starts_with("---")).peekable();
    for key in keys {
        if let Ok(number) = key.trim_end_matches(']').parse::<usize>() {
            let is_block = text.lines().nth(found.saturating_sub(1)).is_some_and(|line| line.trim_end().ends_with(':'));
            let indent = |line: &str| line.trim_start().starts_with('-').then(|| line.len() - line.trim_start().len());
            let first = lines.clone().find_map(|(_, line)| indent(line)).filter(|_| is_block);
            let item = lines.clone().filter(|(_, line)| first.is_some() && indent(line) == first).nth(number);
            let Some((index, _)) = item else { break };
            found = index + 1;
            // The entry's first field may stand beside its dash.
            while lines.next_if(|(passed, _)| *passed < index).is_some() {}
            continue;
        }
        let is_key = |line: &str| {
            let line = line.trim_start_matches([' ', '-', '{', '"']);
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', ' ']).starts_with(':'))
        };
        match lines.clone().find(|(_, line)| is_key(line)) {
            Some((index, _)) => {
                found = index + 1;
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
    }
}
