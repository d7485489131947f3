//! A folder of a source becomes objects: plain manifests, or a kustomization with the fields of a closed set.
//!
//! Pure: files in memory in, objects in JSON form out. A field that is not understood is an error which names it; nothing
//! is left out in silence. Source: reference delivery.md section 5.3.

mod fields;
mod generate;
mod images;
mod kustomization;
mod merge;
mod metadata;
mod operations;
mod patch;
mod references;
mod replacement;
mod resource;
pub(crate) mod selector;
mod transform;

use std::fmt;

use api::kustomize::KustomizationSpec;
use serde_json::Value;

use crate::tree::{self, Tree};
use kustomization::KustomizeFile;
use replacement::ReplacementRule;
use resource::Resource;

/// Directories within directories that a build goes down.
const MAX_DEPTH: usize = 64;
/// Objects that a build may come to.
const MAX_OBJECTS: usize = 20_000;

/// Why a folder cannot be built: which file, where in it, what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// File below the root of the source; `Kustomization` for the object itself.
    pub file: String,
    /// Line of the file, from 1.
    pub line: Option<usize>,
    /// Field of the file.
    pub field: Option<String>,
    /// What is wrong, in one line.
    pub problem: String,
}

impl BuildError {
    fn at(file: &str, line: usize, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), field: None, problem: problem.into() }
    }

    fn in_file(file: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, field: None, problem: problem.into() }
    }

    pub(crate) fn in_field(file: &str, field: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, field: Some(field.to_owned()), problem: problem.into() }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ": line {line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for BuildError {}

/// The objects of the folder `spec.path`, in the order of its files.
pub fn build(tree: &Tree, spec: &KustomizationSpec) -> Result<Vec<Value>, BuildError> {
    let outside =
        || BuildError::in_field("Kustomization", "spec.path", format!("{:?} is outside the source", spec.path));
    let directory = tree::join("", spec.path.trim_start_matches('/')).ok_or_else(outside)?;
    if !tree.is_directory(&directory) {
        let problem = format!("{:?} is not a directory of the source", spec.path);
        return Err(BuildError::in_field("Kustomization", "spec.path", problem));
    }
    let found = kustomization::find(tree, &directory)?;
    let (path, mut file) = found.unwrap_or_else(|| {
        let path = if directory.is_empty() { ".".to_owned() } else { directory.clone() };
        (path, kustomization::generate(tree, &directory))
    });
    let exists = |component: &str| tree::join(&directory, component).is_some_and(|path| tree.is_directory(&path));
    kustomization::merge(&mut file, spec, exists)?;
    let asked_by = if spec.build_metadata.is_empty() {
        (&*path, "buildMetadata")
    } else {
        ("Kustomization", "spec.buildMetadata")
    };
    metadata::check(asked_by, &file.build_metadata)?;
    let mut build = Build { tree, open: vec![directory.clone()], objects: 0, notes: !file.build_metadata.is_empty() };
    let mut resources = Vec::new();
    build.level(&directory, &path, &file, &mut resources)?;
    begin(&mut resources);
    generate::add_hashes(&mut resources);
    references::follow(&mut resources);
    metadata::annotate(&mut resources, &file.build_metadata, &directory);
    let mut objects: Vec<Value> = resources.into_iter().map(|resource| resource.object).collect();
    if let Some(common) = &spec.common_metadata {
        transform::add_metadata(&mut objects, &common.labels, &common.annotations);
    }
    Ok(objects)
}

/// A build under way.
struct Build<'a> {
    tree: &'a Tree,
    /// Directories entered and not yet left: meeting one of them again is a cycle.
    open: Vec<String>,
    /// Objects read so far.
    objects: usize,
    /// Whether it is noted what objects go through.
    notes: bool,
}

impl Build<'_> {
    /// Adds the objects of one kustomization to those already there, and transforms them.
    /// A component transforms what its parent has gathered too.
    fn level(
        &mut self,
        directory: &str,
        path: &str,
        file: &KustomizeFile,
        resources: &mut Vec<Resource>,
    ) -> Result<(), BuildError> {
        for (field, entries) in [("resources", &file.resources), ("bases", &file.bases)] {
            for (index, entry) in entries.iter().enumerate() {
                self.add_resource(directory, path, &format!("{field}[{index}]"), entry, resources)?;
            }
        }
        self.generate(path, file, resources)?;
        for (index, entry) in file.components.iter().enumerate() {
            self.add_component(directory, path, &format!("components[{index}]"), entry, resources)?;
        }
        resource::check_unique(resources)?;
        begin(resources);
        transform(self.tree, directory, path, file, resources)?;
        if self.notes {
            metadata::note(resources, path, file);
        }
        references::follow(resources);
        resource::check_unique(resources)
    }

    fn add_resource(
        &mut self,
        directory: &str,
        path: &str,
        field: &str,
        entry: &str,
        resources: &mut Vec<Resource>,
    ) -> Result<(), BuildError> {
        let target = self.resolve(directory, path, field, entry)?;
        let added = match self.tree.read(&target) {
            Some(content) => resource::read(&target, content)?,
            None => {
                let mut added = Vec::new();
                self.enter(path, field, &target, "Kustomization", &mut added)?;
                added
            }
        };
        self.objects += added.len();
        if self.objects > MAX_OBJECTS {
            return Err(BuildError::in_field(path, field, format!("the build has more than {MAX_OBJECTS} objects")));
        }
        resources.extend(added);
        Ok(())
    }

    fn add_component(
        &mut self,
        directory: &str,
        path: &str,
        field: &str,
        entry: &str,
        resources: &mut Vec<Resource>,
    ) -> Result<(), BuildError> {
        let target = self.resolve(directory, path, field, entry)?;
        self.enter(path, field, &target, "Component", resources)
    }

    /// Builds the kustomization of a directory into `resources`.
    fn enter(
        &mut self,
        path: &str,
        field: &str,
        directory: &str,
        kind: &str,
        resources: &mut Vec<Resource>,
    ) -> Result<(), BuildError> {
        let refuse = |problem: String| BuildError::in_field(path, field, problem);
        if self.open.iter().any(|open| open == directory) {
            return Err(refuse(format!("cycle detected: {:?} is already being built", display(directory))));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(refuse(format!("directories are more than {MAX_DEPTH} deep")));
        }
        let Some((inner, file)) = kustomization::find(self.tree, directory)? else {
            let names = kustomization::FILE_NAMES.join(", ");
            return Err(refuse(format!("unable to find one of {names} in directory {:?}", display(directory))));
        };
        if (file.kind == "Component") != (kind == "Component") {
            return Err(BuildError::in_field(
                &inner,
                "kind",
                format!("expected kind {kind} where {path} refers to it"),
            ));
        }
        self.open.push(directory.to_owned());
        let outcome = self.level(directory, &inner, &file, resources);
        self.open.pop();
        outcome
    }

    /// The file or directory below the root that an entry means.
    fn resolve(&self, directory: &str, path: &str, field: &str, entry: &str) -> Result<String, BuildError> {
        let refuse = |problem: &str| BuildError::in_field(path, field, format!("{entry:?} {problem}"));
        let target = tree::join(directory, entry);
        let exists = |target: &String| self.tree.read(target).is_some() || self.tree.is_directory(target);
        match target {
            Some(target) if exists(&target) => Ok(target),
            _ if is_remote(entry) => Err(refuse("is remote: remote bases are not supported yet")),
            None => Err(refuse("is outside the source")),
            Some(_) => Err(refuse("does not exist: no such file or directory")),
        }
    }

    fn generate(&self, path: &str, file: &KustomizeFile, resources: &mut Vec<Resource>) -> Result<(), BuildError> {
        let kinds = [
            ("configMapGenerator", "ConfigMap", &file.config_map_generator),
            ("secretGenerator", "Secret", &file.secret_generator),
        ];
        for (field, kind, generators) in kinds {
            for (index, generator) in generators.iter().enumerate() {
                let field = format!("{field}[{index}]");
                let options = file.generator_options.as_ref();
                let made = generate::generate(self.tree, path, &field, kind, generator, options)?;
                generate::add(resources, made, generator)
                    .map_err(|problem| BuildError::in_field(path, &field, problem))?;
            }
        }
        Ok(())
    }
}

/// Runs the transformers of one kustomization in kustomize's order.
/// Source: kustomize 5.8 `kusttarget_configplugin.go`.
fn transform(
    tree: &Tree,
    directory: &str,
    path: &str,
    file: &KustomizeFile,
    resources: &mut Vec<Resource>,
) -> Result<(), BuildError> {
    let place = |field: &str, index: usize| patch::Place { file: path, field: format!("{field}[{index}]") };
    for (index, entry) in file.patches_strategic_merge.iter().enumerate() {
        let place = place("patchesStrategicMerge", index);
        let content = tree::join(directory, entry).and_then(|path| tree.read(&path));
        let text = content.map_or_else(|| entry.clone(), |content| String::from_utf8_lossy(content).into_owned());
        patch::apply(resources, &kustomization::PatchRule::default(), &text, &place)?;
    }
    let rules = |field: &'static str, rules: &[kustomization::PatchRule], resources: &mut Vec<Resource>| {
        rules.iter().enumerate().try_for_each(|(index, rule)| {
            let place = place(field, index);
            let text = patch_text(tree, directory, rule, &place)?;
            patch::apply(resources, rule, &text, &place)
        })
    };
    rules("patches", &file.patches, resources)?;
    transform::set_namespace(resources, &file.namespace);
    transform::set_names(resources, &file.name_prefix, &file.name_suffix);
    transform::add_common_labels(resources, &file.common_labels);
    file.labels.iter().for_each(|rule| transform::add_labels(resources, rule));
    transform::add_annotations(resources, &file.common_annotations);
    rules("patchesJson6902", &file.patches_json6902, resources)?;
    for (index, rule) in file.replicas.iter().enumerate() {
        transform::set_replicas(resources, rule)
            .map_err(|problem| BuildError::in_field(path, &format!("replicas[{index}]"), problem))?;
    }
    file.images.iter().for_each(|rule| images::set_images(resources, rule));
    for (index, rule) in file.replacements.iter().enumerate() {
        let refuse = |problem: String| BuildError::in_field(path, &format!("replacements[{index}]"), problem);
        for rule in replacement_rules(tree, directory, rule).map_err(refuse)? {
            replacement::apply(resources, &rule).map_err(refuse)?;
        }
    }
    Ok(())
}

/// The rules of an entry: itself, or those of the file that it names.
fn replacement_rules(tree: &Tree, directory: &str, entry: &ReplacementRule) -> Result<Vec<ReplacementRule>, String> {
    if entry.path.is_empty() {
        return Ok(vec![entry.clone()]);
    }
    let path = tree::join(directory, &entry.path).ok_or_else(|| format!("{:?} is outside the source", entry.path))?;
    let content = tree.read(&path).ok_or_else(|| format!("{path} does not exist"))?;
    let parsed = api::manifest::parse(&String::from_utf8_lossy(content));
    let parsed = parsed.map_err(|(line, problem)| format!("{path}: line {line}: {problem}"))?;
    let entries = match parsed {
        Value::Array(entries) => entries,
        entry => vec![entry],
    };
    let typed = entries.iter().map(|entry| api::manifest::typed(entry).map_err(|problem| format!("{path}: {problem}")));
    typed.collect()
}

/// Text of a patch: written in the rule, or in the file that the rule names.
fn patch_text(
    tree: &Tree,
    directory: &str,
    rule: &kustomization::PatchRule,
    place: &patch::Place<'_>,
) -> Result<String, BuildError> {
    let refuse = |problem: String| BuildError::in_field(place.file, &place.field, problem);
    match (rule.patch.is_empty(), rule.path.is_empty()) {
        (false, true) => Ok(rule.patch.clone()),
        (true, false) => {
            let path = tree::join(directory, &rule.path)
                .ok_or_else(|| refuse(format!("{:?} is outside the source", rule.path)))?;
            let content = tree.read(&path).ok_or_else(|| refuse(format!("{path} does not exist")))?;
            String::from_utf8(content.to_vec()).map_err(|_| refuse(format!("{path} is not UTF-8 text")))
        }
        _ => Err(refuse("must specify one of patch and path".into())),
    }
}

/// Marks where the transformers of a level begin.
fn begin(resources: &mut [Resource]) {
    resources.iter_mut().for_each(|resource| resource.entry = resource.id());
}

/// Whether the entry looks like an address rather than a path.
fn is_remote(entry: &str) -> bool {
    entry.contains("://") || entry.starts_with("git@") || entry.starts_with("github.com/") || entry.contains("?ref=")
}

fn display(directory: &str) -> &str {
    if directory.is_empty() { "." } else { directory }
}

#[cfg(test)]
mod tests;
