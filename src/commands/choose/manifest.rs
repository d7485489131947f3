//! The ImagePolicy of a manifest file, with errors that name file, line and field.

use anyhow::{anyhow, bail};
use api::image::ImagePolicySpec;
use policy::Policy;
use serde_json::Value;

/// An ImagePolicy and where it stands.
#[derive(Debug)]
pub struct Manifest {
    path: String,
    text: String,
    line: usize,
    /// `metadata.name`, if it has one.
    pub name: String,
    /// What it asks for.
    pub spec: ImagePolicySpec,
}

impl Manifest {
    /// Reads the only ImagePolicy of a file, or the one of that name. Documents that cannot be read matter only if no
    /// policy is found.
    pub fn read(path: &str, name: Option<&str>) -> anyhow::Result<Self> {
        let text = crate::commands::read(path)?;
        let mut found = Vec::new();
        let mut problems = Vec::new();
        for document in api::manifest::documents(&text) {
            match document {
                Ok(document) if document.object["kind"] == "ImagePolicy" => found.push(document),
                Ok(_) => {}
                Err(error) => problems.push(format!("{path}: {error}")),
            }
        }
        let name_of = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if let Some(name) = name {
            found.retain(|document| name_of(&document.object) == name);
        }
        let document = match (found.pop(), found.is_empty(), name) {
            (Some(document), true, _) => document,
            (Some(_), false, _) => bail!("{path}: holds more than one ImagePolicy; say which with --policy NAME"),
            (None, ..) if !problems.is_empty() => bail!("{}", problems.join("\n")),
            (None, _, Some(name)) => bail!("{path}: holds no ImagePolicy named {name}"),
            (None, _, None) => bail!("{path}: holds no ImagePolicy"),
        };
        let mut spec = document.object["spec"].clone();
        if let Value::Object(fields) = &mut spec {
            // The tags are given, so nobody asks which repository they come from.
            fields.entry("imageRepositoryRef").or_insert_with(|| serde_json::json!({"name": ""}));
        }
        let spec = api::manifest::typed(&spec).map_err(|problem: String| {
            let field = problem.split(':').next().filter(|field| !field.contains(' ')).unwrap_or_default();
            let line = line_of(&text, document.line, &["spec"].into_iter().chain(field.split('.')).collect::<Vec<_>>());
            let dot = if field.is_empty() { ": " } else { "." };
            anyhow!("{path}, line {line}: spec{dot}{problem}")
        })?;
        Ok(Self { path: path.to_owned(), line: document.line, name: name_of(&document.object), spec, text })
    }

    /// The policy read. The error is a [`policy::Error`] with its place around it.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        Policy::new(&self.spec).map_err(|error| {
            let choice = &self.spec.policy;
            let field = match &error {
                policy::Error::Range(_) => "spec.policy.semver.range",
                policy::Error::Order(_) if choice.alphabetical.is_some() => "spec.policy.alphabetical.order",
                policy::Error::Order(_) => "spec.policy.numerical.order",
                policy::Error::Pattern { .. } => "spec.filterTags.pattern",
                _ => "spec.policy",
            };
            let line = line_of(&self.text, self.line, &field.split('.').collect::<Vec<_>>());
            anyhow::Error::new(error).context(format!("{}, line {line}: {field}", self.path))
        })
    }
}

/// The line of a field, by looking for its keys one after the other; that of the last key found otherwise.
fn line_of(text: &str, start: usize, keys: &[&str]) -> usize {
    let mut found = start;
    let mut lines = text.lines().enumerate().skip(start.saturating_sub(1)).peekable();
    for key in keys {
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
        assert_eq!(line_of("", 1, &["spec"]), 1);
    }
}
