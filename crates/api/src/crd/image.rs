//! `image.toolkit.fluxcd.io`. Source: reference image-automation.md sections 1.1 to 1.4.

use serde_json::json;

use super::{
    AGE, Kind, READY, STATUS, Schema, column,
    schema::{
        choice, conditions, duration, flag, list, local, long, map, may, must, namespaced, object, selector, text,
        texts, time, timeout, whole,
    },
    wide,
};
use crate::image::{DEFAULT_EXCLUSION_LIST, ImagePolicy, ImageRepository, ImageUpdateAutomation, SETTERS};

const CATEGORIES: &[&str] = &["all", "fluxcd", "fluxcd-images"];
/// Releases up to 1.1 of Flux's image controllers served it; the fields are the same.
const OLDER: &[&str] = &["v1beta2"];

pub(super) fn kinds() -> Vec<Kind> {
    vec![repository(), policy(), automation()]
        .into_iter()
        .map(|kind| Kind { categories: CATEGORIES, older: OLDER, ..kind })
        .collect()
}

fn repository() -> Kind {
    let spec = object([
        must("image", text(), "The repository, without scheme, tag or digest."),
        must("interval", duration(), "Wait between scans."),
        may("timeout", timeout(), "Limit for authentication and scan together; the interval when absent."),
        may("secretRef", local(), "Pull secret, for the provider generic only."),
        may(
            "serviceAccountName",
            text().with("maxLength", 253),
            "Account whose imagePullSecrets are used, or whose identity a cloud provider is asked for.",
        ),
        may("certSecretRef", local(), "Secret with tls.crt and tls.key, ca.crt, or all three."),
        may("proxySecretRef", local(), "Secret with address, username and password of a proxy."),
        may("suspend", flag(), "Whether the repository is left alone."),
        may("accessFrom", access_from(), "Who may refer to this object from other namespaces; nobody when absent."),
        may(
            "exclusionList",
            list(text()).or(DEFAULT_EXCLUSION_LIST).with("maxItems", 25),
            "RE2 patterns of tags that are dropped.",
        ),
        may("provider", choice(&["generic", "aws", "azure", "gcp"]).or("generic"), "Where the credentials come from."),
        may("insecure", flag(), "Whether plain HTTP is allowed."),
    ]);
    let scan = object([
        may("revision", text(), "Checksum of the tag set: changes when the set does, and only then."),
        must("tagCount", whole(), "Tags that were stored."),
        may("scanTime", time(), "When the scan ran."),
        may("latestTags", list(text()), "At most ten tags, greatest first in byte order."),
    ]);
    let status = object([
        may("conditions", conditions(), "Ready, Reconciling, Stalled."),
        may("observedGeneration", long(), "Generation whose outcome is settled."),
        may("canonicalImageName", text(), "Host and path in full."),
        may("lastScanResult", scan, "The last scan that succeeded."),
        may("observedExclusionList", list(text()), "Exclusion list that the last scan used."),
        may("lastHandledReconcileAt", text(), "Value of the request annotation that was last acted on."),
    ]);
    let columns = vec![
        column("Image", ".spec.image"),
        column("Tags", ".status.lastScanResult.tagCount"),
        READY,
        STATUS,
        wide("Last scan", ".status.lastScanResult.scanTime"),
        AGE,
    ];
    Kind::of::<ImageRepository>("A repository whose tags are scanned.", columns, spec).status(status)
}

fn access_from() -> Schema {
    let labels = object([may("matchLabels", texts(), "All of them must be present.")]);
    object([must("namespaceSelectors", list(labels), "One of them must fit the labels of the other namespace.")])
}

fn policy() -> Kind {
    let order = || choice(&["asc", "desc"]).or("asc");
    let choices = object([
        may(
            "semver",
            object([must("range", text(), "The range that versions must be in.")]),
            "The highest version in a range.",
        ),
        may("alphabetical", object([may("order", order(), "asc: the last one wins.")]), "First or last in byte order."),
        may("numerical", object([may("order", order(), "asc: the greatest one wins.")]), "Least or greatest number."),
    ]);
    let filter = object([
        may("pattern", text(), "RE2 pattern, unanchored; tags that do not match are dropped."),
        may("extract", text(), "Template of what is compared in place of the tag."),
    ]);
    let spec = object([
        must("imageRepositoryRef", namespaced(), "The repository whose tags are considered."),
        must("policy", choices, "The order that decides."),
        may("filterTags", filter, "Which tags are considered, and what part of them is compared."),
        may(
            "digestReflectionPolicy",
            choice(&["Always", "IfNotPresent", "Never"]).or("Never"),
            "Whether the digest of the chosen tag is looked up.",
        ),
        may("interval", duration(), "How often the digest is refreshed."),
        may("suspend", flag(), "Whether the policy is left alone."),
    ])
    .rules(&[
        (
            "!has(self.interval) || (has(self.digestReflectionPolicy) && self.digestReflectionPolicy == 'Always')",
            "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'",
        ),
        (
            "has(self.interval) || !has(self.digestReflectionPolicy) || self.digestReflectionPolicy != 'Always'",
            "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
        ),
    ]);
    let status = object([
        may("conditions", conditions(), "Ready, Reconciling, Stalled."),
        may("observedGeneration", long(), "Generation whose outcome is settled."),
        may("latestRef", image_ref(), "The chosen image."),
        may("observedPreviousRef", image_ref(), "The chosen image before the last change."),
        may("latestLabels", map(text()), "Labels of the chosen image, where slipway.dev/image-labels asks for them."),
        may("lastHandledReconcileAt", text(), "Value of the request annotation that was last acted on."),
    ]);
    let columns =
        vec![column("Image", ".status.latestRef.name"), column("Tag", ".status.latestRef.tag"), READY, STATUS, AGE];
    Kind::of::<ImagePolicy>("Which of a repository's tags is wanted.", columns, spec).status(status)
}

fn image_ref() -> Schema {
    object([
        must("name", text(), "The repository."),
        must("tag", text(), "The tag."),
        may("digest", text(), "The digest, if it was asked for."),
    ])
}

fn automation() -> Kind {
    let source = object([
        may("apiVersion", text(), "API version of the source."),
        must("kind", choice(&["GitRepository"]).or("GitRepository"), "Kind of the source."),
        must("name", text(), "Name of the source."),
        may("namespace", text(), "Namespace of the source; its own one when absent."),
    ]);
    let update = object([
        may("strategy", choice(&[SETTERS]).or(SETTERS), "How the files are searched."),
        may("path", text(), "Directory or file below the root of the repository."),
    ]);
    let spec = object([
        must("sourceRef", source, "The repository that is cloned and pushed to."),
        may("git", git(), "How to check out, commit and push."),
        must("interval", duration(), "Wait between runs."),
        may("policySelector", selector(), "Which policies of the namespace are applied; all when absent."),
        may("update", update.or(json!({"strategy": SETTERS})), "How files are updated."),
        may("suspend", flag(), "Whether the automation is left alone."),
    ]);
    let status = object([
        may("conditions", conditions(), "Ready, Reconciling, Stalled."),
        may("observedGeneration", long(), "Generation whose outcome is settled."),
        may("lastAutomationRunTime", time(), "Start of the last run."),
        may("lastPushCommit", text(), "Hash of the last commit pushed."),
        may("lastPushTime", time(), "When it was pushed."),
        may("observedPolicies", map(image_ref()), "Images that the last run applied, by policy name."),
        may("observedSourceRevision", text(), "Revision that the last run left behind."),
        may("lastHandledReconcileAt", text(), "Value of the request annotation that was last acted on."),
    ]);
    let columns = vec![READY, STATUS, wide("Last run", ".status.lastAutomationRunTime"), AGE];
    let kind = Kind::of::<ImageUpdateAutomation>("Chosen images written into a Git repository.", columns, spec);
    // Message templates hold ${…}, which postBuild must not touch.
    Kind { annotations: super::NOT_SUBSTITUTED, ..kind }.status(status)
}

fn git() -> Schema {
    let author = object([may("name", text(), "Name of the author."), must("email", text(), "Address of the author.")]);
    let signing_key = object([
        must("secretRef", local(), "Secret with the key."),
        may("type", choice(&["gpg", "ssh"]), "What kind of key it is; gpg when absent."),
    ]);
    let commit = object([
        must("author", author, "Author and committer."),
        may("signingKey", signing_key, "Key that signs the commits."),
        may("messageTemplate", text(), "Go template of the message."),
        may("messageTemplateValues", texts(), "What the template sees as .Values."),
    ]);
    let push = object([
        may("branch", text(), "Branch to push to; the one that was checked out when absent."),
        may("refspec", text(), "Pushed after the branch."),
        may("options", texts(), "Push options of both pushes."),
    ]);
    let checkout = object([must("ref", super::source::git_reference(), "The revision.")]);
    object([
        may("checkout", checkout, "What to check out; what the GitRepository says when absent."),
        must("commit", commit, "Who commits, and with which message."),
        may("push", push, "Where to push."),
    ])
}
