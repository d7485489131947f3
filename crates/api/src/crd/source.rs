//! `source.toolkit.fluxcd.io`. Source: reference delivery.md sections 1.B and 5.9.

use super::{
    AGE, Kind, READY, STATUS, Schema, column,
    schema::{choice, conditions, duration, flag, list, local, long, may, must, object, text, texts, time, timeout},
};
use crate::source::GitRepository;

const MODES: [&str; 4] = ["head", "HEAD", "Tag", "TagAndHEAD"];

pub(super) fn kinds() -> Vec<Kind> {
    let columns = vec![column("URL", ".spec.url"), AGE, READY, STATUS];
    let kind = Kind::of::<GitRepository>("A Git repository of which one revision is kept at hand.", columns, spec());
    vec![Kind { categories: super::FLUX, older: &["v1beta2"], ..kind }.status(status())]
}

/// Which revision of a repository.
pub(super) fn git_reference() -> Schema {
    object([
        may("branch", text(), "Tip of this branch."),
        may("tag", text(), "This tag."),
        may("semver", text(), "Newest tag in this range."),
        may("name", text(), "Full name of a reference, such as refs/pull/1/head."),
        may("commit", text(), "This commit, on the branch if one is given."),
    ])
}

fn spec() -> Schema {
    let verify = object([
        may("mode", choice(&MODES).or("HEAD"), "What must be signed."),
        must("secretRef", local(), "Secret with the public keys."),
    ]);
    object([
        must("url", text().pattern("^(http|https|ssh)://.*$"), "Address of the repository."),
        may("secretRef", local(), "Secret with the credentials."),
        may(
            "provider",
            choice(&["generic", "azure", "github", "aws"]),
            "Where credentials come from when they are not in a Secret; generic when absent.",
        ),
        may("serviceAccountName", text(), "Account that a cloud provider's credentials are asked for."),
        must("interval", duration(), "Wait between looks at the remote."),
        may("timeout", timeout().or("60s"), "Limit for one Git operation."),
        may("ref", git_reference(), "Which revision; the branch master when absent."),
        may("verify", verify, "Signatures to insist on."),
        may("proxySecretRef", local(), "Secret with address, username and password of a proxy."),
        may("ignore", text(), "Paths left out of the artifact, as .gitignore writes them."),
        may("suspend", flag(), "Whether the repository is left alone."),
        may("recurseSubmodules", flag(), "Whether submodules belong to the artifact."),
        may("include", list(include()), "Other repositories whose artifacts are copied into this one."),
        may("sparseCheckout", list(text()), "Directories that are checked out; all when absent."),
    ])
    .rules(&[(
        "!has(self.serviceAccountName) || (has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))",
        "serviceAccountName can only be set when provider is 'azure' or 'aws'",
    )])
}

fn include() -> Schema {
    object([
        must("repository", local(), "GitRepository whose artifact is copied."),
        may("fromPath", text(), "Directory there; the root when absent."),
        may("toPath", text(), "Directory here; the name of the repository when absent."),
    ])
}

fn artifact() -> Schema {
    object([
        must("path", text(), "Path below the root of the artifact storage."),
        must("url", text(), "Address of the artifact."),
        must("revision", text(), "What the source was at: main@sha1:<hash>."),
        may("digest", text(), "Checksum of the content."),
        must("lastUpdateTime", time(), "When this revision was stored."),
        may("size", long(), "Bytes of the artifact."),
        may("metadata", texts(), "What the upstream says about the content."),
    ])
}

fn status() -> Schema {
    object([
        may("observedGeneration", long(), "Generation whose outcome is settled."),
        may("conditions", conditions(), "Ready, Reconciling, Stalled, ArtifactInStorage, FetchFailed, …"),
        may("artifact", artifact(), "The revision that consumers work from."),
        may("includedArtifacts", list(artifact()), "Artifacts that were copied in."),
        may("observedIgnore", text(), "spec.ignore that the artifact was made with."),
        may("observedRecurseSubmodules", flag(), "spec.recurseSubmodules that the artifact was made with."),
        may("observedInclude", list(include()), "spec.include that the artifact was made with."),
        may("observedSparseCheckout", list(text()), "spec.sparseCheckout that the artifact was made with."),
        may("sourceVerificationMode", choice(&MODES), "What was verified."),
        may("lastHandledReconcileAt", text(), "Value of the request annotation that was last acted on."),
    ])
}
