//! `kustomization.yaml`: the closed set of fields that a build knows, found in a directory or made up for it.

use std::collections::BTreeMap;

use api::{
    kustomize::{Image, KustomizationSpec, Selector},
    manifest,
};
use serde::Deserialize;
use serde_json::Value;

use super::{BuildError, replacement::ReplacementRule};
use crate::tree::{self, Tree};

/// The names a kustomization file may have. Source: kustomize 5.8 `konfig.RecognizedKustomizationFileNames`.
pub(crate) const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields that kustomize knows and this build does not, yet.
const NOT_YET: [&str; 11] = [
    "configurations",
    "crds",
    "generators",
    "helmChartInflationGenerator",
    "helmCharts",
    "helmGlobals",
    "openapi",
    "sortOptions",
    "transformers",
    "validators",
    "vars",
];

/// A kustomization file. Source: reference delivery.md section 5.3; kustomize 5.8 `types.Kustomization`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct KustomizeFile {
    pub api_version: String,
    pub kind: String,
    #[serde(rename = "metadata")]
    _metadata: Value,
    pub resources: Vec<String>,
    pub bases: Vec<String>,
    pub components: Vec<String>,
    pub namespace: String,
    pub name_prefix: String,
    pub name_suffix: String,
    pub common_labels: BTreeMap<String, String>,
    pub labels: Vec<LabelRule>,
    pub common_annotations: BTreeMap<String, String>,
    pub patches: Vec<PatchRule>,
    pub patches_strategic_merge: Vec<String>,
    #[serde(rename = "patchesJson6902")]
    pub patches_json6902: Vec<PatchRule>,
    pub images: Vec<ImageRule>,
    pub replicas: Vec<ReplicaRule>,
    pub replacements: Vec<ReplacementRule>,
    pub config_map_generator: Vec<Generator>,
    pub secret_generator: Vec<Generator>,
    pub generator_options: Option<GeneratorOptions>,
    pub build_metadata: Vec<String>,
}

/// An entry of `labels`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct LabelRule {
    pub pairs: BTreeMap<String, String>,
    pub include_selectors: bool,
    pub include_templates: bool,
}

/// An entry of `patches` or `patchesJson6902`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct PatchRule {
    pub path: String,
    pub patch: String,
    pub target: Option<Selector>,
    pub options: PatchOptions,
}

/// What a patch may change besides the content.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct PatchOptions {
    pub allow_name_change: bool,
    pub allow_kind_change: bool,
}

/// An entry of `images`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct ImageRule {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub digest: String,
    pub tag_suffix: String,
}

/// An entry of `replicas`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct ReplicaRule {
    pub name: String,
    pub count: i64,
}

/// An entry of `configMapGenerator` or `secretGenerator`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Generator {
    pub name: String,
    pub namespace: String,
    pub behavior: String,
    pub literals: Vec<String>,
    pub files: Vec<String>,
    pub envs: Vec<String>,
    pub env: String,
    #[serde(rename = "type")]
    pub secret_type: String,
    pub options: Option<GeneratorOptions>,
}

/// How generated objects look.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct GeneratorOptions {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub disable_name_suffix_hash: bool,
    pub immutable: bool,
}

/// The kustomization file of the directory, and its path; `None` if there is none.
pub(crate) fn find(tree: &Tree, directory: &str) -> Result<Option<(String, KustomizeFile)>, BuildError> {
    let mut found = FILE_NAMES.iter().filter_map(|name| {
        let path = tree::join(directory, name)?;
        tree.read(&path).map(|content| (path, content))
    });
    let Some((path, content)) = found.next() else { return Ok(None) };
    if let Some((other, _)) = found.next() {
        return Err(BuildError::in_file(&path, format!("found multiple kustomization files: {other} too")));
    }
    let file = parse(&path, content)?;
    Ok(Some((path, file)))
}

/// Reads a kustomization file; a field outside the closed set is an error that names it.
fn parse(path: &str, content: &[u8]) -> Result<KustomizeFile, BuildError> {
    let text = std::str::from_utf8(content).map_err(|_| BuildError::in_file(path, "it is not UTF-8 text"))?;
    let value = match manifest::parse(text) {
        Ok(Value::Null) => return Err(BuildError::in_file(path, "kustomization.yaml is empty")),
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(BuildError::in_file(path, "fields by name are expected")),
        Err((line, message)) => return Err(BuildError::at(path, line, message)),
    };
    if let Some(field) = NOT_YET.iter().find(|field| value.contains_key(**field)) {
        return Err(BuildError::in_field(path, field, "this kustomize field is not supported yet"));
    }
    // kustomize reads a field without a value as an absent one.
    let value: Value = value.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let file: KustomizeFile = manifest::typed(&value).map_err(|message| BuildError::in_file(path, message))?;
    let group = file.api_version.split_once('/').map_or("", |(group, _)| group);
    if !file.api_version.is_empty() && group != "kustomize.config.k8s.io" {
        let problem = format!("apiVersion for {} should be kustomize.config.k8s.io/v1beta1", file.kind);
        return Err(BuildError::in_field(path, "apiVersion", problem));
    }
    if !matches!(file.kind.as_str(), "" | "Kustomization" | "Component") {
        return Err(BuildError::in_field(path, "kind", "kind should be Kustomization or Component"));
    }
    Ok(file)
}

/// The kustomization made up for a directory without one: all manifests below it; a sub-directory that has a
/// kustomization file is added as a whole and not descended into. Source: reference delivery.md section 5.3.
pub(crate) fn generate(tree: &Tree, directory: &str) -> KustomizeFile {
    let relative = |path: &str| path[directory.len()..].trim_start_matches('/').to_owned();
    let mut resources: Vec<String> = Vec::new();
    let mut built: Option<String> = None;
    for path in tree.below(directory) {
        if built.as_ref().is_some_and(|built| path.starts_with(built)) {
            continue;
        }
        if let Some(owner) = outermost_built(tree, directory, path) {
            resources.push(relative(&owner));
            built = Some(format!("{owner}/"));
        } else if path.ends_with(".yaml") || path.ends_with(".yml") {
            resources.push(relative(path));
        }
    }
    KustomizeFile { resources, ..KustomizeFile::default() }
}

/// The first directory between the two that has a kustomization file.
fn outermost_built(tree: &Tree, directory: &str, path: &str) -> Option<String> {
    let start = if directory.is_empty() { 0 } else { directory.len() + 1 };
    let ends = path[start..].match_indices('/').map(|(index, _)| start + index);
    ends.map(|end| &path[..end])
        .find(|candidate| FILE_NAMES.iter().any(|name| tree.read(&format!("{candidate}/{name}")).is_some()))
        .map(str::to_owned)
}

/// Merges the Flux Kustomization's own fields into the file of its folder. `exists` tells whether a component is there.
/// Source: reference delivery.md section 5.3.
pub(crate) fn merge(
    file: &mut KustomizeFile,
    spec: &KustomizationSpec,
    exists: impl Fn(&str) -> bool,
) -> Result<(), BuildError> {
    let of_object = |field: &str, problem: String| BuildError::in_field("Kustomization", field, problem);
    if let Some(namespace) = spec.target_namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
        file.namespace.clone_from(namespace);
    }
    if !spec.name_prefix.is_empty() {
        file.name_prefix.clone_from(&spec.name_prefix);
    }
    if !spec.name_suffix.is_empty() {
        file.name_suffix.clone_from(&spec.name_suffix);
    }
    for patch in &spec.patches {
        let options = serde_json::to_value(&patch.options).unwrap_or_default();
        let options = manifest::typed(&options).map_err(|message| of_object("spec.patches", message))?;
        file.patches.push(PatchRule {
            patch: patch.patch.clone(),
            path: String::new(),
            target: patch.target.clone(),
            options,
        });
    }
    for component in &spec.components {
        if tree::join("", component).is_none() && component.starts_with('/') {
            return Err(of_object("spec.components", format!("{component:?} must be a relative path")));
        }
        if exists(component) || !spec.ignore_missing_components {
            file.components.push(component.clone());
        }
    }
    if !spec.build_metadata.is_empty() {
        file.build_metadata.clone_from(&spec.build_metadata);
    }
    for image in &spec.images {
        merge_image(&mut file.images, image);
    }
    Ok(())
}

/// Replaces the rule of that name, or adds one. Tag and digest are replaced as one.
fn merge_image(rules: &mut Vec<ImageRule>, image: &Image) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let rule = match rules.iter_mut().position(|rule| rule.name == image.name) {
        Some(index) => &mut rules[index],
        None => {
            rules.push(ImageRule { name: image.name.clone(), ..ImageRule::default() });
            let last = rules.len() - 1;
            &mut rules[last]
        }
    };
    if image.new_name.as_ref().is_some_and(|name| !name.is_empty()) {
        rule.new_name = text(&image.new_name);
    }
    if image.new_tag.is_some() || image.digest.is_some() {
        rule.new_tag = text(&image.new_tag);
        rule.digest = text(&image.digest);
    }
}
