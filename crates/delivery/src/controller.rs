//! The shell: the loops of GitRepository and Kustomization.

mod apply;
mod keys;
mod kustomization;
mod mirror;
mod pending;
mod run;
mod source;
#[cfg(test)]
mod tests;
mod variables;
mod wait;

use std::time::Duration;

use api::{
    conditions::{self, READY},
    image::ImageUpdateAutomation,
    kustomize::Kustomization,
    source::GitRepository,
};
use git::Mirrors;
use kube::ResourceExt as _;
use reconcile::{Concerned, Context, Controller, Identities, Shutdown, clock};

use kustomization::{DEPENDENCY_NOT_READY, Kustomizations};
use source::Sources;

use crate::dependency::ReadyExpr;

/// How long work under way may go on after a shutdown was asked for. A wait for health can take minutes and loses
/// nothing when it is cut.
const GRACE: Duration = Duration::from_secs(5);

/// What can be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kept Git mirrors. Shared with the updater, a commit pushed by it need not be fetched again.
    pub mirrors: Mirrors,
    /// Whether Kustomizations may only refer to sources of their own namespace.
    pub no_cross_namespace_refs: bool,
    /// Service account that acts for Kustomizations which name none; without it they have our own rights.
    pub default_service_account: Option<String>,
    /// Wait before a Kustomization whose dependency or artifact is missing is looked at again.
    pub requeue_dependency: Duration,
    /// What the `readyExpr` of a dependency is beside the check of its Ready condition.
    pub ready_expr: ReadyExpr,
    /// Field managers whose fields are taken over besides `kubectl`'s. Source: Flux `--override-manager`.
    pub override_managers: Vec<String>,
    /// Most objects of a kind worked on at once. A wait for health counts, and costs next to nothing.
    pub concurrency: u16,
}

impl Options {
    /// Flux's defaults over these mirrors.
    pub fn new(mirrors: Mirrors) -> Self {
        Self {
            mirrors,
            no_cross_namespace_refs: false,
            default_service_account: None,
            requeue_dependency: Duration::from_secs(30),
            ready_expr: ReadyExpr::default(),
            override_managers: Vec::new(),
            concurrency: 64,
        }
    }
}

/// Runs the loops until told to stop.
pub async fn controllers(context: Context, options: Options, shutdown: Shutdown) {
    let loops =
        async { tokio::join!(sources(&context, &options, &shutdown), kustomizations(&context, &options, &shutdown)) };
    let stopped = async {
        shutdown.cancelled().await;
        clock::sleep(GRACE).await;
    };
    tokio::select! {
        _ = loops => {}
        () = stopped => tracing::debug!("work under way was cut"),
    }
}

async fn sources(context: &Context, options: &Options, shutdown: &Shutdown) {
    let identities = Identities::new(context.http.clone());
    let reconciler = Sources { store: context.store.clone(), mirrors: options.mirrors.clone(), identities };
    Controller::new(context.clone(), reconciler)
        .watches::<ImageUpdateAutomation>(pushed)
        .watches::<GitRepository>(included)
        .concurrency(options.concurrency)
        .run(shutdown.clone())
        .await;
}

async fn kustomizations(context: &Context, options: &Options, shutdown: &Shutdown) {
    let reconciler = Kustomizations {
        context: context.clone(),
        trees: mirror::Trees::default(),
        options: options.clone(),
        identities: Identities::new(context.http.clone()),
    };
    Controller::new(context.clone(), reconciler)
        .watches::<GitRepository>(new_artifact)
        .watches::<Kustomization>(dependency_ready)
        .concurrency(options.concurrency)
        .run(shutdown.clone())
        .await;
}

/// Repositories that an automation has just pushed to: their new commit need not wait for the interval.
fn pushed<'a>(
    previous: Option<&'a ImageUpdateAutomation>,
    current: Option<&'a ImageUpdateAutomation>,
) -> Concerned<'a, GitRepository> {
    let commit = |automation: &ImageUpdateAutomation| {
        automation.status.as_ref().map(|status| status.last_push_commit.clone()).filter(|commit| !commit.is_empty())
    };
    let (previous, current) = previous.zip(current)?;
    if commit(current).is_none() || commit(previous) == commit(current) {
        return None;
    }
    let source = &current.spec.source_ref;
    let namespace = source.namespace.clone().or_else(|| current.namespace());
    Some(Box::new(move |repository| repository.name_any() == source.name && repository.namespace() == namespace))
}

/// Revision and digest of a repository's artifact.
fn artifact(repository: Option<&GitRepository>) -> Option<(String, Option<String>)> {
    let artifact = repository?.status.as_ref()?.artifact.as_ref()?;
    Some((artifact.revision.clone(), artifact.digest.clone()))
}

/// Repositories that include one which has another artifact than before. Differs: Flux looks again at the interval only.
fn included<'a>(
    previous: Option<&'a GitRepository>,
    current: Option<&'a GitRepository>,
) -> Concerned<'a, GitRepository> {
    let repository = current.filter(|_| artifact(current).is_some() && artifact(previous) != artifact(current))?;
    Some(Box::new(|other| {
        other.namespace() == repository.namespace()
            && other.spec.include.iter().any(|include| include.repository.name == repository.name_any())
    }))
}

/// Kustomizations whose source has another artifact than before.
fn new_artifact<'a>(
    previous: Option<&'a GitRepository>,
    current: Option<&'a GitRepository>,
) -> Concerned<'a, Kustomization> {
    let repository = current.filter(|_| artifact(current).is_some() && artifact(previous) != artifact(current))?;
    let is_source = |kustomization: &Kustomization| {
        let source = &kustomization.spec.source_ref;
        source.kind == "GitRepository"
            && source.name == repository.name_any()
            && source.namespace.clone().or_else(|| kustomization.namespace()) == repository.namespace()
    };
    // One that has seen this revision already has nothing to gain.
    let gains = move |kustomization: &Kustomization| {
        let applied = kustomization.status.as_ref().and_then(|status| status.last_applied_revision.clone());
        previous.is_some() || applied != artifact(current).map(|(revision, _)| revision)
    };
    Some(Box::new(move |kustomization| is_source(kustomization) && gains(kustomization)))
}

/// Kustomizations that wait for one which became ready, or ready at another revision; where an expression tells whether
/// it is ready, for one that changed at all. Differs: Flux looks again after 30 s only.
fn dependency_ready<'a>(
    previous: Option<&'a Kustomization>,
    current: Option<&'a Kustomization>,
) -> Concerned<'a, Kustomization> {
    let ready_at = |kustomization: Option<&Kustomization>| {
        let status = kustomization?.status.as_ref()?;
        conditions::is_true(&status.conditions, READY).then(|| status.last_applied_revision.clone())
    };
    let dependency = current?;
    let is_newly_ready = ready_at(current).is_some() && ready_at(previous) != ready_at(current);
    let waits = move |kustomization: &Kustomization| {
        let status = kustomization.status.as_ref();
        !status.is_some_and(|status| conditions::is_true(&status.conditions, READY))
            || status.and_then(|status| status.last_applied_revision.as_ref()) != ready_at(current).flatten().as_ref()
    };
    let is_held_up = |kustomization: &Kustomization| {
        let conditions = kustomization.status.as_ref().map_or(&[][..], |status| &status.conditions);
        conditions::find(conditions, READY).is_some_and(|ready| ready.reason == DEPENDENCY_NOT_READY)
    };
    Some(Box::new(move |kustomization| {
        kustomization.spec.depends_on.iter().any(|reference| {
            reference.name == dependency.name_any()
                && reference.namespace.clone().or_else(|| kustomization.namespace()) == dependency.namespace()
                && ((is_newly_ready && waits(kustomization))
                    || (reference.ready_expr.is_some() && is_held_up(kustomization)))
        })
    }))
}

/// The interval, up to five percent longer or shorter, so that objects created together do not stay together.
/// Source: Flux `--interval-jitter-percentage`.
fn jittered(interval: Duration) -> Duration {
    let permille = 950 + u32::try_from(clock::random() % 101).unwrap_or(50);
    interval.saturating_mul(permille) / 1000
}
