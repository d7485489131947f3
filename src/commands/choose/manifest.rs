//! The ImagePolicy of a manifest file, with errors that name file, line and field.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use api::{
    image::{ImagePolicy, ImagePolicySpec, ImageRepositorySpec},
    manifest::{self, Document, Places},
};
use kube::ResourceExt as _;
use policy::{Policy, Rules, rules::CALVER};
use scanner::result::Exclusions;
use serde_json::Value;

use crate::commands::objects::located;

/// An ImagePolicy and where it stands.
#[derive(Debug)]
pub struct Manifest {
    place: Place,
    /// `metadata.name`, if it has one.
    pub name: String,
    /// What it asks for.
    pub spec: ImagePolicySpec,
    /// The tag that its status says was chosen before.
    pub current: Option<String>,
    annotations: BTreeMap<String, String>,
    /// What is dropped before the policy sees it.
    exclusion_list: Vec<String>,
}

/// Where a policy stands.
#[derive(Debug)]
enum Place {
    /// In a file.
    File { path: String, places: Places, place: manifest::Place },
    /// In a running slipway.
    Store,
}

impl Manifest {
    /// Reads the only ImagePolicy of a file, or the one of that name. Documents that cannot be read matter only if no
    /// policy is found.
    pub fn read(path: &str, name: Option<&str>) -> anyhow::Result<Self> {
        let text = crate::commands::read(path)?;
        let (mut found, mut others, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for document in manifest::documents(&text) {
            match document {
                Ok(document) if document.object["kind"] == "ImagePolicy" => found.push(document),
                Ok(document) => others.push(document),
                Err(error) => problems.push(format!("{path}, {error}")),
            }
        }
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
        let (places, place) = (Places::of(text), document.place);
        let mut spec = document.object["spec"].clone();
        if let Value::Object(fields) = &mut spec {
            // The tags are given, so nobody asks which repository they come from.
            fields.entry("imageRepositoryRef").or_insert_with(|| serde_json::json!({"name": ""}));
        }
        let spec: ImagePolicySpec = manifest::typed(&spec).map_err(|problem: String| {
            let has_field = problem.split(": ").next().is_some_and(|field| !field.contains(' '));
            let dot = if has_field { "." } else { ": " };
            anyhow!(located(path, &places, place, &format!("spec{dot}{problem}")))
        })?;
        let exclusion_list = exclusion_list(&others, &spec.image_repository_ref.name);
        let annotations = document.object["metadata"]["annotations"].clone();
        let annotations = serde_json::from_value(annotations).unwrap_or_default();
        let place = Place::File { path: path.to_owned(), places, place };
        let current = document.object["status"]["latestRef"]["tag"].as_str().map(str::to_owned);
        Ok(Self { name: name_of(&document.object), spec, current, annotations, exclusion_list, place })
    }

    /// The policy of a running slipway. Its tags have passed the exclusion list.
    pub fn of(policy: &ImagePolicy) -> Self {
        let latest = policy.status.as_ref().and_then(|status| status.latest_ref.as_ref());
        Self {
            name: policy.name_any(),
            spec: policy.spec.clone(),
            current: latest.map(|latest| latest.tag.clone()),
            annotations: policy.annotations().clone(),
            exclusion_list: Vec::new(),
            place: Place::Store,
        }
    }

    /// The policy read. The error is a [`policy::Error`] with its place around it.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        Policy::annotated(&self.spec, &self.annotations).map_err(|error| {
            let field = field_of(&error, &self.spec);
            let place = self.place.of(field);
            anyhow::Error::new(error).context(if place.is_empty() {
                field.to_owned()
            } else {
                format!("{place}: {field}")
            })
        })
    }

    /// The form of calendar versions that order the tags, if an annotation says so.
    pub fn calver(&self) -> Option<&str> {
        self.annotations.get(CALVER).map(String::as_str)
    }

    /// The policy's own rules.
    pub fn rules(&self) -> anyhow::Result<Rules> {
        Ok(Rules::parse(&self.annotations)?)
    }

    /// What the repository drops before the policy sees it.
    pub fn exclusions(&self) -> anyhow::Result<Exclusions> {
        Ok(Exclusions::new(&self.exclusion_list)?)
    }
}

/// The field at fault.
pub fn field_of(error: &policy::Error, spec: &ImagePolicySpec) -> &'static str {
    match error {
        policy::Error::Range(_) => "spec.policy.semver.range",
        policy::Error::Order(_) if spec.policy.alphabetical.is_some() => "spec.policy.alphabetical.order",
        policy::Error::Order(_) => "spec.policy.numerical.order",
        policy::Error::Pattern { .. } => "spec.filterTags.pattern",
        policy::Error::CalVer(_) => "metadata.annotations",
        _ => "spec.policy",
    }
}

/// The exclusion list of the repository, if it stands beside the policy. Without it nothing is dropped: the tags given are
/// then those that a scan keeps.
fn exclusion_list(documents: &[Document], name: &str) -> Vec<String> {
    let is_meant =
        |document: &&Document| document.object["kind"] == "ImageRepository" && name_of(&document.object) == name;
    let found = documents.iter().find(is_meant);
    let spec = found.and_then(|document| manifest::typed::<ImageRepositorySpec>(&document.object["spec"]).ok());
    spec.map(|spec| spec.exclusion_list()).unwrap_or_default()
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

impl Place {
    /// File and line of a field; empty in a running slipway.
    fn of(&self, field: &str) -> String {
        match self {
            Self::File { path, places, place } => format!("{path}, line {}", places.line(*place, field)),
            Self::Store => String::new(),
        }
    }
}
