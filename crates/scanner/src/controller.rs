//! The shell of the scanner: one loop for repositories, one for policies.
//!
//! They meet in the store and in the kept tags: a scan that finds another tag set runs the policies that refer to it.

mod images;
mod labels;
mod listings;
mod login;
mod numbers;
mod policy;
mod registry;
mod repository;
mod secrets;
mod signatures;
mod traffic;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    conditions::{self, READY},
    image::{ImagePolicy, ImageRepository},
    meta::ObjectReference,
};
use kube::ResourceExt as _;
use reconcile::{Concerned, Context, Controller, Shutdown, Store};

pub use self::{
    images::{Asking, Images},
    login::LoginCache,
};
use self::{numbers::Numbers, policy::Policies, registry::Registries, repository::Repositories};
use crate::{Limits, Tags};

/// Field manager and event source of both kinds.
const CONTROLLER: &str = "image-reflector-controller";
/// Policies are chosen in milliseconds; some wait for a first scan meanwhile.
const POLICIES_AT_ONCE: u16 = 32;

/// What the command line may change. The defaults are Flux's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether policies may only refer to repositories of their own namespace.
    pub no_cross_namespace_refs: bool,
    /// Repositories scanned at the same time.
    pub concurrency: u16,
    /// Wait of a policy whose repository has no tags.
    pub requeue_dependency: Duration,
    /// How much later than its interval a repository may be scanned, in percent, so that those made together do not stay
    /// together.
    pub interval_jitter_percentage: u8,
    /// The feature gate `ObjectLevelWorkloadIdentity`.
    pub object_level_workload_identity: bool,
    /// What one registry host is asked at most, by all objects together.
    pub limits: Limits,
    /// How the logins of cloud providers are kept.
    pub logins: LoginCache,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            no_cross_namespace_refs: false,
            concurrency: 4,
            requeue_dependency: Duration::from_secs(30),
            interval_jitter_percentage: 5,
            object_level_workload_identity: false,
            limits: Limits::default(),
            logins: LoginCache::default(),
        }
    }
}

/// Runs both loops until told to stop.
pub async fn controllers(context: Context, options: Options, shutdown: Shutdown) {
    let tags = Tags::new(context.store.database().clone());
    let numbers = Numbers::new(&context.metrics);
    let registries = Arc::new(Registries::new(context.clone(), options, &numbers));
    let (everything, kept) = (context.store.clone(), tags.clone());
    let repositories = Repositories {
        options,
        tags: tags.clone(),
        registries: registries.clone(),
        numbers: numbers.clone(),
        timetable: Mutex::default(),
    };
    let images = Images { registries, store: context.store.clone() };
    let store = context.store.clone();
    let policies = Policies { options, tags, images, numbers, store, waiting: Mutex::default() };
    let scanning = Controller::new(context.clone(), repositories).concurrency(options.concurrency);
    let choosing = Controller::new(context, policies)
        .concurrency(options.concurrency.max(POLICIES_AT_ONCE))
        .watches::<ImageRepository>(affected);
    if let Err(error) = collect(&everything, &kept).await {
        tracing::warn!(%error, "tags of removed repositories are not collected");
    }
    tokio::join!(scanning.run(shutdown.clone()), choosing.run(shutdown));
}

/// Forgets the tags of repositories that went away while nobody looked.
async fn collect(store: &Store, tags: &Tags) -> reconcile::Result<()> {
    // In this order: a repository that appears meanwhile is in the second list.
    let kept = tags.repositories().await?;
    let kind = reconcile::object::named::<ImageRepository>("", "");
    let present = store.list_values(&kind, None).await?;
    let present: HashSet<_> =
        present.iter().filter_map(ObjectReference::of).map(|id| (id.namespace, id.name)).collect();
    for (namespace, name) in kept.into_iter().filter(|repository| !present.contains(repository)) {
        tracing::info!(namespace, name, "forgot the tags of a repository that is gone");
        tags.remove(&namespace, &name).await?;
    }
    Ok(())
}

/// The policies that a change of a repository concerns: its creation, its end, its first scan, even if it failed, and one
/// that found another tag set.
///
/// Differs: a scan of another image and a changed access list too, which Flux notices only by retrying.
/// Source: reference image-automation.md section 2.4.
fn affected<'a>(before: Option<&'a ImageRepository>, after: Option<&'a ImageRepository>) -> Concerned<'a, ImagePolicy> {
    let repository = after.or(before)?;
    let is_news = match (before, after) {
        (Some(before), Some(after)) => {
            let facts = |one: &ImageRepository| {
                (revision(one).to_owned(), scanned_image(one).to_owned(), one.spec.access_from.clone())
            };
            let was_awaited = awaits_first_scan(before) && !awaits_first_scan(after);
            was_awaited || (facts(before) != facts(after) && !revision(after).is_empty())
        }
        _ => true,
    };
    if !is_news {
        return None;
    }
    let (namespace, name) = (repository.namespace().unwrap_or_default(), repository.name_any());
    Some(Box::new(move |policy| {
        let reference = &policy.spec.image_repository_ref;
        reference.name == name
            && reference.namespace_or(policy.metadata.namespace.as_deref().unwrap_or_default()) == namespace
    }))
}

/// Whether tags can be expected in a moment: the repository is new, and nothing went wrong with it yet.
fn awaits_first_scan(repository: &ImageRepository) -> bool {
    revision(repository).is_empty() && awaits_scan(repository)
}

/// Whether tags can be expected in a moment where none are kept: of a repository that is new, or that another pod scanned,
/// whose tags went with it.
fn awaits_scan(repository: &ImageRepository) -> bool {
    let Some(status) = &repository.status else { return !repository.spec.suspend };
    let ready = conditions::find(&status.conditions, READY);
    let had_none = status.last_scan_result.as_ref().is_some_and(|result| result.tag_count == 0);
    !had_none && !repository.spec.suspend && ready.is_none_or(|ready| ready.status != "False")
}

/// The revision of the last scan.
fn revision(repository: &ImageRepository) -> &str {
    let result = repository.status.as_ref().and_then(|status| status.last_scan_result.as_ref());
    result.map_or("", |result| result.revision.as_str())
}

/// Canonical name of the image that the kept tags are of; empty before the first scan.
fn scanned_image(repository: &ImageRepository) -> &str {
    repository.status.as_ref().map_or("", |status| status.canonical_image_name.as_str())
}

#[cfg(test)]
mod tests;
