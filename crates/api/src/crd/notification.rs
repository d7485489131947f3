//! `notification.toolkit.fluxcd.io`. Source: reference delivery.md section 3, image-automation.md section 9.1.

use super::{
    AGE, Kind, READY, STATUS, Schema,
    schema::{choice, conditions, duration, flag, list, local, long, may, must, object, text, texts, timeout},
};
use crate::notification::{Alert, Provider, Receiver, ReceiverType};

/// Kinds whose events an Alert takes and that a Receiver asks to reconcile.
/// Differs: Canary is not in Flux's list.
const KINDS: [&str; 13] = [
    "Bucket",
    "GitRepository",
    "Kustomization",
    "HelmRelease",
    "HelmChart",
    "HelmRepository",
    "ImageRepository",
    "ImagePolicy",
    "ImageUpdateAutomation",
    "OCIRepository",
    "ArtifactGenerator",
    "ExternalArtifact",
    "Canary",
];
const PROVIDERS: [&str; 34] = [
    "slack",
    "discord",
    "msteams",
    "rocket",
    "generic",
    "generic-hmac",
    "github",
    "gitlab",
    "gitea",
    "githubpullrequestcomment",
    "gitlabmergerequestcomment",
    "giteapullrequestcomment",
    "bitbucketserver",
    "bitbucket",
    "azuredevops",
    "googlechat",
    "googlepubsub",
    "webex",
    "sentry",
    "azureeventhub",
    "telegram",
    "lark",
    "matrix",
    "opsgenie",
    "alertmanager",
    "grafana",
    "githubdispatch",
    "pagerduty",
    "datadog",
    "nats",
    "zulip",
    "otel",
    "zoom",
    "incident.io",
];
/// What notification-controller 1.8 still serves; the fields are the same.
const OLDER: &[&str] = &["v1beta2"];

pub(super) fn kinds() -> Vec<Kind> {
    let common = |kind| Kind { categories: super::FLUX, older: OLDER, ..kind };
    vec![alert(), provider(), receiver()].into_iter().map(common).collect()
}

fn alert() -> Kind {
    let source = object([
        may("apiVersion", text(), "API version of the object."),
        must("kind", choice(&KINDS), "Kind of the object."),
        must("name", text().length(1, 253), "Name of the object; * means all."),
        may("namespace", text().length(1, 253), "Namespace of the object; its own one when absent."),
        may("matchLabels", texts(), "Labels that the object must carry."),
    ]);
    let spec = object([
        must("providerRef", local(), "The provider that is told."),
        may("eventSeverity", choice(&["info", "error"]).or("info"), "Least severity that is told."),
        must("eventSources", list(source), "Objects whose events are told."),
        may("inclusionList", list(text()), "RE2 patterns, one of which a message must match."),
        may("exclusionList", list(text()), "RE2 patterns of messages that are not told."),
        may("eventMetadata", texts(), "Facts added to every event."),
        may("summary", text().with("maxLength", 255), "Deprecated: use eventMetadata."),
        may("suspend", flag(), "Whether nothing is told."),
    ]);
    Kind::of::<Alert>("Which events go to a provider.", vec![AGE], spec)
}

fn provider() -> Kind {
    let spec = object([
        must("type", choice(&PROVIDERS), "Which service is told."),
        may("address", text().with("maxLength", 2048), "Address of the service; the Secret's overrides it."),
        may("channel", text().with("maxLength", 2048), "Channel, room or routing key."),
        may("username", text().with("maxLength", 2048), "Name shown as the sender."),
        may("secretRef", local(), "Secret with address, token, username, password, headers."),
        may("certSecretRef", local(), "Secret with ca.crt, and tls.crt with tls.key."),
        may("proxySecretRef", local(), "Secret with address, username and password of a proxy."),
        may(
            "proxy",
            text().pattern("^(http|https)://.*$").with("maxLength", 2048),
            "Deprecated: use proxySecretRef.",
        ),
        may("timeout", timeout(), "Limit for all tries; 15 s when absent."),
        may("interval", duration(), "Deprecated and without effect."),
        may("serviceAccountName", text(), "Account whose cloud identity is used."),
        may("commitStatusExpr", text(), "CEL expression of a commit status' context."),
        may("suspend", flag(), "Whether nothing is sent."),
    ])
    .rules(&[(
        "!has(self.commitStatusExpr) || self.type in ['github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops']",
        "spec.commitStatusExpr is only supported for the 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', \
         'azuredevops' provider types",
    )]);
    Kind::of::<Provider>("A service that is told of events.", vec![AGE], spec)
}

fn receiver() -> Kind {
    let resource = object([
        may("apiVersion", text(), "API version of the object."),
        must("kind", choice(&KINDS), "Kind of the object."),
        must("name", text().length(1, 253), "Name of the object; * needs matchLabels."),
        may("namespace", text().length(1, 253), "Namespace of the object; its own one when absent."),
        may("matchLabels", texts(), "Labels that pick objects under the name *."),
        may("filter", text(), "CEL expression that the object must pass."),
    ]);
    let spec = object([
        must("type", choice(&ReceiverType::ALL.map(ReceiverType::as_str)), "Who calls."),
        may("interval", duration().or("10m"), "How often secret and path are checked again."),
        may("events", list(text()), "Event names that are let through; all when absent."),
        must("resources", list(resource), "What is reconciled."),
        may("resourceFilter", text(), "CEL expression that a resource must pass."),
        may("secretRef", local(), "Secret with the key token."),
        may("oidcProviders", list(oidc_provider()), "Issuers that are trusted, for generic-oidc."),
        may("suspend", flag(), "Whether calls are refused."),
    ])
    .rules(&[(
        "self.type == 'generic-oidc' || has(self.secretRef)",
        "spec.secretRef is required for every receiver type but generic-oidc",
    )]);
    let status = object([
        may("conditions", conditions(), "Ready, Reconciling, Stalled."),
        may("webhookPath", text(), "Path of the webhook."),
        may("observedGeneration", long(), "Generation whose outcome is settled."),
        may("lastHandledReconcileAt", text(), "Value of the request annotation that was last acted on."),
    ]);
    let kind = Kind::of::<Receiver>("A webhook that asks for reconciles.", vec![AGE, READY, STATUS], spec);
    Kind { annotations: super::NOT_SUBSTITUTED, ..kind }.status(status)
}

fn oidc_provider() -> Schema {
    let variable = object([must("name", text(), "The name."), must("expression", text(), "The CEL expression.")]);
    let validation = object([
        must("expression", text(), "CEL expression that must be true."),
        must("message", text(), "What a caller who fails it is told."),
    ]);
    object([
        must("issuerURL", text().pattern("^https?://.*$"), "Address of the issuer."),
        may("audience", text(), "Audience that tokens must name; notification-controller when absent."),
        may("variables", list(variable), "Named expressions for the validations."),
        must("validations", list(validation).with("minItems", 1), "What a token must fulfil."),
    ])
}
