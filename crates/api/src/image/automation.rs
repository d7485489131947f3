//! ImageUpdateAutomation: chosen images written into a Git repository.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{ImageRef, is_false};
use crate::{
    Condition, Duration, Time,
    meta::{LocalReference, filled},
    source::GitRepositoryRef,
};

/// The only strategy there is: markers in the files say what is written where.
pub const SETTERS: &str = "Setters";

/// Chosen images written into a Git repository. Source: reference image-automation.md section 1.4.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "image.toolkit.fluxcd.io",
    version = "v1",
    kind = "ImageUpdateAutomation",
    plural = "imageupdateautomations",
    shortname = "iua",
    shortname = "imgupd",
    shortname = "imgauto",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-images",
    namespaced,
    derive = "PartialEq",
    status = "ImageUpdateAutomationStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ImageUpdateAutomationSpec {
    /// The repository that is cloned and pushed to.
    pub source_ref: SourceReference,
    /// How to check out, commit and push; must be present for a GitRepository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSpec>,
    /// Wait between runs.
    pub interval: Duration,
    /// Which policies of the own namespace are applied; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_selector: Option<LabelSelector>,
    /// How files are updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateStrategy>,
    /// Whether the automation is left alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

impl ImageUpdateAutomationSpec {
    /// How files are updated, [`SETTERS`] in the root unless given.
    pub fn update(&self) -> UpdateStrategy {
        self.update.clone().unwrap_or_default()
    }
}

/// The repository of an automation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReference {
    /// API version of the source; not needed to find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `GitRepository`; others are refused by the controller, not here, so that the condition can say so.
    #[serde(default = "git_repository")]
    pub kind: String,
    /// `metadata.name` of the source.
    pub name: String,
    /// Absent means the namespace of the automation.
    #[serde(default, deserialize_with = "filled", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// The default kind of a source.
fn git_repository() -> String {
    "GitRepository".to_owned()
}

/// How to check out, commit and push.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GitSpec {
    /// What to check out; absent means what the GitRepository says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<GitCheckoutSpec>,
    /// Who commits, and with which message.
    pub commit: CommitSpec,
    /// Where to push; absent means the branch that was checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushSpec>,
}

/// What to check out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GitCheckoutSpec {
    /// The revision.
    #[serde(default, rename = "ref")]
    pub reference: GitRepositoryRef,
}

/// Who commits, and with which message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitSpec {
    /// Author and committer.
    pub author: CommitUser,
    /// Key that signs the commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<SigningKey>,
    /// Go template of the message; empty or absent means a fixed text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_template: Option<String>,
    /// What the template sees as `.Values`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub message_template_values: BTreeMap<String, String>,
}

/// A person in Git's sense.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitUser {
    /// Name; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Address.
    pub email: String,
}

/// Key that signs commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// Secret with the key.
    #[serde(default)]
    pub secret_ref: LocalReference,
    /// `gpg` or `ssh`; others are refused by the controller. [`SigningKey::kind`] holds the default.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

impl SigningKey {
    /// `gpg` unless given.
    pub fn kind(&self) -> &str {
        self.type_.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("gpg")
    }
}

/// Where to push.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushSpec {
    /// Branch; empty means the one that was checked out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    /// Pushed after the branch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refspec: String,
    /// Push options of both pushes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How files are updated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateStrategy {
    /// [`SETTERS`]; others are refused by the controller.
    pub strategy: String,
    /// Directory or file below the root of the repository; empty means the root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

impl UpdateStrategy {
    /// Errs, in the words of the controller, about a strategy that is none. Source: reference image-automation.md section 6.4.
    pub fn check(&self) -> Result<(), String> {
        match self.strategy.as_str() {
            SETTERS => Ok(()),
            "" => Err("no update strategy".to_owned()),
            other => Err(format!("unsupported update strategy: {other}")),
        }
    }
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self { strategy: SETTERS.to_owned(), path: String::new() }
    }
}

/// What the last runs did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageUpdateAutomationStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation whose outcome is settled; −1 before the first.
    pub observed_generation: i64,
    /// Start of the last run, also of a skipped or failed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_automation_run_time: Option<Time>,
    /// Hash of the last commit pushed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_push_commit: String,
    /// When it was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_push_time: Option<Time>,
    /// Images that the last run applied, by policy name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed_policies: BTreeMap<String, ImageRef>,
    /// `branch@sha1:hash` that the last run left behind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub observed_source_revision: String,
    /// Value of the request annotation that was last acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for ImageUpdateAutomationStatus {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            observed_generation: -1,
            last_automation_run_time: None,
            last_push_commit: String::new(),
            last_push_time: None,
            observed_policies: BTreeMap::new(),
            observed_source_revision: String::new(),
            last_handled_reconcile_at: None,
        }
    }
}
