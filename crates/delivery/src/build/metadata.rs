//! `buildMetadata`: annotations that say where an object came from and what changed it.
//!
//! Source: reference delivery.md section 5.1; kustomize 5.8 `resource.Origin` and `kusttarget_configplugin.go`.

use serde_json::{Map, Value};

use super::{BuildError, kustomization::KustomizeFile, resource::Resource};
use crate::tree;

const ORIGIN: &str = "originAnnotations";
const TRANSFORMERS: &str = "transformerAnnotations";

/// What made or changed an object: one of kustomize's generators or transformers, and the kustomization that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Builtin {
    pub kind: &'static str,
    pub configured_in: String,
}

/// Errs on an option that is not known, in this field of this file.
pub(crate) fn check((path, field): (&str, &str), options: &[String]) -> Result<(), BuildError> {
    match options.iter().position(|option| !matches!(option.as_str(), ORIGIN | TRANSFORMERS)) {
        Some(index) => {
            let problem = format!("{:?} is not supported: {ORIGIN} and {TRANSFORMERS} are", options[index]);
            Err(BuildError::in_field(path, &format!("{field}[{index}]"), problem))
        }
        None => Ok(()),
    }
}

/// Notes on all objects which transformers of a kustomization they went through, changed or not.
pub(crate) fn note(resources: &mut [Resource], path: &str, file: &KustomizeFile) {
    let passed: Vec<Builtin> =
        transformers(file).into_iter().map(|kind| Builtin { kind, configured_in: path.to_owned() }).collect();
    resources.iter_mut().for_each(|resource| resource.transformations.extend_from_slice(&passed));
}

/// The transformers that kustomize sets up for a kustomization, in its order.
fn transformers(file: &KustomizeFile) -> Vec<&'static str> {
    let is = |set: bool| usize::from(set);
    // One for each of `labels`, and then always one for `commonLabels`.
    let has_labels = !file.labels.is_empty() || !file.common_labels.is_empty();
    let counts = [
        ("PatchStrategicMergeTransformer", is(!file.patches_strategic_merge.is_empty())),
        ("PatchTransformer", file.patches.len()),
        ("NamespaceTransformer", is(!file.namespace.is_empty())),
        ("PrefixTransformer", is(!file.name_prefix.is_empty())),
        ("SuffixTransformer", is(!file.name_suffix.is_empty())),
        ("LabelTransformer", if has_labels { file.labels.len() + 1 } else { 0 }),
        ("AnnotationsTransformer", is(!file.common_annotations.is_empty())),
        ("PatchJson6902Transformer", file.patches_json6902.len()),
        ("ReplicaCountTransformer", file.replicas.len()),
        ("ImageTagTransformer", file.images.len()),
        ("ReplacementTransformer", is(!file.replacements.is_empty())),
    ];
    counts.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect()
}

/// Puts the annotations on that the options ask for. Paths are told as seen from the folder that is built.
pub(crate) fn annotate(resources: &mut [Resource], options: &[String], directory: &str) {
    let asks = |option: &str| options.iter().any(|one| one == option);
    for resource in resources {
        let mut texts = Vec::new();
        if asks(ORIGIN) {
            let text = match &resource.generated {
                Some(generator) => builtin(generator, directory, ""),
                None => format!("path: {}\n", scalar(&relative(directory, &resource.file))),
            };
            texts.push(("config.kubernetes.io/origin", text));
        }
        if asks(TRANSFORMERS) && !resource.transformations.is_empty() {
            let one = |passed: &Builtin| format!("- {}", builtin(passed, directory, "  "));
            texts.push((
                "alpha.config.kubernetes.io/transformations",
                resource.transformations.iter().map(one).collect::<String>(),
            ));
        }
        for (key, text) in texts {
            let annotations = &mut resource.object["metadata"]["annotations"];
            if !annotations.is_object() {
                *annotations = Value::Object(Map::new());
            }
            annotations[key] = text.into();
        }
    }
}

/// YAML of what made or changed an object; lines behind the first are indented by `indent`.
fn builtin(builtin: &Builtin, directory: &str, indent: &str) -> String {
    let path = scalar(&relative(directory, &builtin.configured_in));
    let kind = builtin.kind;
    format!("configuredIn: {path}\n{indent}configuredBy:\n{indent}  apiVersion: builtin\n{indent}  kind: {kind}\n")
}

/// A path below the root as seen from a directory below it. A kustomization that was made up is the directory itself.
fn relative(directory: &str, path: &str) -> String {
    if path == directory || (path == "." && directory.is_empty()) {
        return "kustomization.yaml".into();
    }
    let mut from = directory.split('/').filter(|part| !part.is_empty()).peekable();
    let mut to = tree::parent(path).split('/').filter(|part| !part.is_empty()).peekable();
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    let up = from.map(|_| "..");
    up.chain(to).chain([tree::file_name(path)]).collect::<Vec<_>>().join("/")
}

/// A path as YAML writes it: plain where nothing in it means anything.
fn scalar(path: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '/');
    let begins = |character: char| character.is_ascii_alphanumeric() || character == '.';
    match path.chars().all(is_plain) && path.starts_with(begins) && path.contains(|one: char| one.is_ascii_alphabetic())
    {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_as_seen_from_the_folder() {
        for (directory, path, expected) in [
            ("apps", "apps/web.yaml", "web.yaml"),
            ("apps/overlay", "apps/base/web.yaml", "../base/web.yaml"),
            ("apps/overlay", "web.yaml", "../../web.yaml"),
            ("", "apps/web.yaml", "apps/web.yaml"),
            ("apps", "apps", "kustomization.yaml"),
            ("", ".", "kustomization.yaml"),
        ] {
            assert_eq!(relative(directory, path), expected, "{directory} {path}");
        }
        assert_eq!(
            (scalar("a b.yaml"), scalar("it's"), scalar("1.5")),
            ("'a b.yaml'".into(), "'it''s'".into(), "'1.5'".into())
        );
    }
}
