//! Receiver: a webhook that asks for reconciles.

use std::{collections::BTreeMap, time};

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::{Condition, Duration, meta::LocalReference};

/// How often secret and path are checked again unless the Receiver says otherwise.
const DEFAULT_INTERVAL: time::Duration = time::Duration::from_secs(600);

/// A webhook that asks for reconciles. Source: reference image-automation.md section 9.1.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1",
    kind = "Receiver",
    plural = "receivers",
    namespaced,
    derive = "PartialEq",
    status = "ReceiverStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverSpec {
    /// Who calls. Required; a Receiver without it is told so and believes nobody.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ReceiverType>,
    /// How often secret and path are checked again; [`ReceiverSpec::interval`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Allowed event names, compared without case; only github, gitlab, bitbucket and cdevents look at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// What is reconciled.
    #[serde(default)]
    pub resources: Vec<ReceiverResource>,
    /// CEL expression that a resource must pass; a resource's own `filter` replaces it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_filter: String,
    /// Secret with `token`; required except for `generic-oidc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Issuers that are trusted, for `generic-oidc` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oidc_providers: Vec<OidcProvider>,
    /// Whether calls are refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

impl ReceiverSpec {
    /// How often secret and path are checked again.
    pub fn interval(&self) -> time::Duration {
        self.interval.map_or(DEFAULT_INTERVAL, Duration::get)
    }
}

/// Who calls a Receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiverType {
    /// Anybody who knows the path.
    Generic,
    /// Anybody who signs with the token.
    GenericHmac,
    /// Anybody with a token of a trusted issuer.
    GenericOidc,
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Bitbucket server.
    Bitbucket,
    /// Harbor.
    Harbor,
    /// Docker Hub.
    Dockerhub,
    /// Quay.
    Quay,
    /// Google container registry.
    Gcr,
    /// Nexus.
    Nexus,
    /// Azure container registry.
    Acr,
    /// CDEvents.
    Cdevents,
}

impl ReceiverType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Generic,
        Self::GenericHmac,
        Self::GenericOidc,
        Self::Github,
        Self::Gitlab,
        Self::Bitbucket,
        Self::Harbor,
        Self::Dockerhub,
        Self::Quay,
        Self::Gcr,
        Self::Nexus,
        Self::Acr,
        Self::Cdevents,
    ];

    /// As manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::GenericHmac => "generic-hmac",
            Self::GenericOidc => "generic-oidc",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::Harbor => "harbor",
            Self::Dockerhub => "dockerhub",
            Self::Quay => "quay",
            Self::Gcr => "gcr",
            Self::Nexus => "nexus",
            Self::Acr => "acr",
            Self::Cdevents => "cdevents",
        }
    }
}

/// What a call reconciles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverResource {
    /// API version; [`ReceiverResource::api_version`] holds the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name; `*` needs `matchLabels`. Required; one without it is told when it is to be woken.
    #[serde(default)]
    pub name: String,
    /// The namespace; absent means the Receiver's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that pick objects under the name `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// CEL expression that the object must pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
}

impl ReceiverResource {
    /// The API version as given, or the one that Flux assumes for the kind.
    ///
    /// Differs: Flux has no default for kinds outside of the source and image-reflector groups; ours are defaulted too.
    /// Source: reference delivery.md section 3.4.
    pub fn api_version(&self) -> Option<&str> {
        let default = match self.kind.as_str() {
            "ImageRepository" | "ImagePolicy" | "ImageUpdateAutomation" => "image.toolkit.fluxcd.io/v1",
            "Bucket" | "GitRepository" | "HelmChart" | "HelmRepository" | "OCIRepository" | "ExternalArtifact" => {
                "source.toolkit.fluxcd.io/v1"
            }
            "Kustomization" => "kustomize.toolkit.fluxcd.io/v1",
            "HelmRelease" => "helm.toolkit.fluxcd.io/v2",
            "ArtifactGenerator" => "source.extensions.fluxcd.io/v1beta1",
            "Canary" => "flagger.app/v1beta1",
            _ => return self.api_version.as_deref(),
        };
        Some(self.api_version.as_deref().unwrap_or(default))
    }
}

/// An issuer of tokens that a Receiver trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcProvider {
    /// `http` or `https` address.
    #[serde(rename = "issuerURL")]
    pub issuer_url: String,
    /// Audience that tokens must name; [`OidcProvider::audience`] holds the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub audience: String,
    /// Named expressions for the validations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<OidcVariable>,
    /// What a token must fulfil; at least one.
    #[serde(default)]
    pub validations: Vec<OidcValidation>,
}

impl OidcProvider {
    /// Audience that tokens must name.
    pub fn audience(&self) -> &str {
        if self.audience.is_empty() { "notification-controller" } else { &self.audience }
    }
}

/// A named CEL expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcVariable {
    /// The name.
    pub name: String,
    /// The expression.
    pub expression: String,
}

/// A CEL expression that must be true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcValidation {
    /// The expression.
    pub expression: String,
    /// What a caller who fails it is told.
    pub message: String,
}

/// Where a Receiver listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReceiverStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Path of the webhook: `/hook/<digest>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub webhook_path: String,
    /// Generation whose outcome is settled; −1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Value of the request annotation that was last acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
