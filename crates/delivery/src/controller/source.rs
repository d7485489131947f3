//! GitRepository: one revision of a repository is kept at hand.
//!
//! Source: reference delivery.md sections 1.B and 5.9; Flux source-controller.

use std::sync::Arc;

use api::{
    Condition, Time,
    conditions::{self, New, READY, Status},
    source::{Artifact, GitRepository, GitRepositoryInclude},
};
use git::{Commit, Mirrors, Wanted};
use kube::ResourceExt as _;
use reconcile::{Announce, Done, Failure, Identities, Notice, Reconciler, Retry, Store, clock};
use serde_json::json;

use super::{jittered, mirror};
use crate::{Error, dependency, revision};

/// The artifact of the revision in `status.artifact` is there.
const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";

/// Keeps GitRepositories at their newest revision.
pub(super) struct Sources {
    pub(super) store: Store,
    pub(super) mirrors: Mirrors,
    pub(super) identities: Identities,
}

impl Reconciler for Sources {
    type Kind = GitRepository;
    const CONTROLLER: &'static str = "source-controller";
    const ANNOUNCE: Announce = Announce::Never;

    fn suspended(&self, repository: &GitRepository) -> bool {
        repository.spec.suspend
    }

    async fn reconcile(&self, repository: Arc<GitRepository>) -> Result<Done, Failure> {
        if let Some(field) = dependency::unsupported_source(&repository.spec) {
            return Err(Failure::terminal("GitOperationFailed", format!("{field} is not supported yet")));
        }
        let wanted = Wanted::new(repository.spec.reference.as_ref())
            .map_err(|problem| Failure::terminal("GitOperationFailed", format!("spec.{problem}")))?;
        let commit = self.fetch(&repository, wanted).await.map_err(|error| failure(&repository, &error))?;
        let included = self.included(&repository).await?;
        Ok(done(&repository, &commit, &included))
    }
}

impl Sources {
    async fn fetch(&self, repository: &GitRepository, wanted: Wanted) -> Result<Commit, Error> {
        let remote = mirror::remote(&self.store, &self.identities, repository).await?;
        mirror::fetch(&self.mirrors, remote, wanted).await
    }

    /// What the repository includes, with the artifacts that there are now.
    async fn included(&self, repository: &GitRepository) -> Result<Vec<(GitRepositoryInclude, Artifact)>, Failure> {
        let namespace = repository.namespace().unwrap_or_default();
        let mut included = Vec::new();
        for include in &repository.spec.include {
            let name = &include.repository.name;
            let unavailable =
                |reason, problem: String| Failure::new(reason, problem).after(repository.spec.interval.get());
            let found = self.store.get::<GitRepository>(&namespace, name).await?;
            let found =
                found.ok_or_else(|| unavailable("NotFound", format!("could not get resource for include '{name}'")))?;
            let artifact = found.status.and_then(|status| status.artifact);
            let artifact = artifact
                .ok_or_else(|| unavailable("NoArtifact", format!("no artifact available for include '{name}'")))?;
            included.push((include.clone(), artifact));
        }
        Ok(included)
    }
}

/// The outcome of a fetch that went well.
fn done(repository: &GitRepository, commit: &Commit, included: &[(GitRepositoryInclude, Artifact)]) -> Done {
    let now = clock::now();
    let revision = commit.revision();
    let message = format!("stored artifact for revision '{revision}'");
    let known = repository.status.as_ref().and_then(|status| status.artifact.clone());
    let artifact = artifact(repository, commit, included, now);
    let is_new = !known.as_ref().is_some_and(|known| known.is_same_as(&artifact));
    let kept = if is_new { artifact } else { known.unwrap_or(artifact) };
    let status = json!({
        "artifact": kept,
        "observedIgnore": repository.spec.ignore,
        "includedArtifacts": included.iter().map(|(_, artifact)| artifact).collect::<Vec<_>>(),
        "observedInclude": repository.spec.include,
        "conditions": [in_storage(repository, &message, now)],
    });
    let about = |notice: Notice| {
        let digest = kept.digest.clone().unwrap_or_default();
        notice.with("revision", &*revision).with("digest", digest)
    };
    let title = commit.message.lines().next().unwrap_or_default();
    let stored = format!("stored artifact for commit '{title}'");
    let was_ready = repository.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, READY));
    let notice = match (is_new, was_ready) {
        (true, _) => about(Notice::info("NewArtifact", stored)),
        (false, false) => about(Notice::info("Succeeded", stored)),
        (false, true) => Notice::trace(
            "GitOperationSucceeded",
            format!("no changes since last reconcilation: observed revision '{revision}'"),
        ),
    };
    Done::new(message).status(status).every(jittered(repository.spec.interval.get())).notice(notice)
}

/// The artifact of the commit.
/// Differs: it is the kept mirror at that commit, so there is no tarball to download and `url` is empty.
fn artifact(
    repository: &GitRepository,
    commit: &Commit,
    included: &[(GitRepositoryInclude, Artifact)],
    now: jiff::Timestamp,
) -> Artifact {
    let (namespace, name) = (repository.namespace().unwrap_or_default(), repository.name_any());
    Artifact {
        path: format!("gitrepository/{namespace}/{name}/{}", commit.id),
        url: String::new(),
        revision: commit.revision(),
        digest: Some(revision::digest(commit.tree, repository.spec.ignore.as_deref(), included)),
        last_update_time: Time(now),
        size: None,
        metadata: Default::default(),
    }
}

/// The condition that says the artifact is there.
fn in_storage(repository: &GitRepository, message: &str, now: jiff::Timestamp) -> Option<Condition> {
    let mut list = repository.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let generation = repository.metadata.generation.unwrap_or_default();
    let new = New { kind: ARTIFACT_IN_STORAGE, status: Status::True, reason: "Succeeded", message, generation };
    conditions::set(&mut list, new, now);
    conditions::find(&list, ARTIFACT_IN_STORAGE).cloned()
}

/// The outcome of a fetch that failed. The last artifact stays, and consumers go on with it.
fn failure(repository: &GitRepository, error: &Error) -> Failure {
    let message = match error {
        Error::Secret { .. } | Error::Login { .. } => error.to_string(),
        _ => format!("failed to checkout and determine revision: {error}"),
    };
    let invalid = error.reason() == "URLInvalid";
    let retry = match invalid {
        true => Retry::Never,
        // Credentials and branches come and go: a wrong one is asked for again, but not faster than the interval.
        false if !error.is_transient() => Retry::After(repository.spec.interval.get()),
        false => Retry::Backoff,
    };
    Failure { retry, ..Failure::new(error.reason(), message) }
}
