//! The repository of an automation: its remote, its mirror, and what is asked of it. Each step is an effect.

use std::{collections::BTreeMap, sync::Arc};

use api::source::{GitProvider, GitRepository, GitRepositoryRef};
use git::{Checkout, Commit, Head, LocalPaths, Mirror, Mirrors, Remote};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Failure, Site, Store, effect};

use super::source_failure;
use crate::Error;

/// The remote that a GitRepository describes, with what its Secrets say.
pub(super) async fn remote(store: &Store, repository: &GitRepository) -> Result<Remote, Failure> {
    let namespace = repository.namespace().unwrap_or_default();
    let spec = &repository.spec;
    if let Some(provider) = spec.provider.as_ref().filter(|provider| **provider != GitProvider::Generic) {
        return Err(source_failure(&format!(
            "provider {provider:?} is not supported yet; use generic with a secretRef"
        )));
    }
    let mut remote = Remote::new(&spec.url);
    remote.scope.clone_from(&namespace);
    remote.timeout = spec.timeout();
    if store.is_standalone() {
        remote.local_paths = LocalPaths::Allow;
    }
    if let Some(reference) = &spec.secret_ref {
        let data = secret(store, &namespace, &reference.name).await?;
        remote = remote
            .with_secret(&data)
            .map_err(|error| source_failure(&format!("failed to configure authentication options: {error}")))?;
    }
    if let Some(reference) = &spec.proxy_secret_ref {
        let data = secret(store, &namespace, &reference.name).await?;
        remote = remote
            .with_proxy(&data)
            .map_err(|error| source_failure(&format!("failed to configure proxy options: {error}")))?;
    }
    Ok(remote)
}

async fn secret(store: &Store, namespace: &str, name: &str) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let found = store.get::<Secret>(namespace, name).await?;
    let missing =
        || source_failure(&format!("failed to get auth secret '{namespace}/{name}': secrets {name:?} not found"));
    let data = found.ok_or_else(missing)?.data.unwrap_or_default();
    Ok(data.into_iter().map(|(key, value)| (key, value.0)).collect())
}

/// Opens the mirror, waiting for others that work on it.
pub(super) async fn open(mirrors: &Mirrors, remote: Remote) -> Result<Arc<Mirror>, Failure> {
    let mirrors = mirrors.clone();
    let opened = step("open", move || mirrors.open(&remote)).await;
    opened.map(Arc::new).map_err(|error| source_failure(&error.chain()))
}

/// Where the wanted commit is at the server.
pub(super) async fn head(mirror: &Arc<Mirror>, wanted: &GitRepositoryRef) -> Result<Head, Error> {
    let (mirror, wanted) = (Arc::clone(mirror), wanted.clone());
    step("ls-refs", move || with_checkout(&wanted, |checkout| mirror.head(checkout))).await
}

/// The wanted commit, fetched unless it is here.
pub(super) async fn fetch(mirror: &Arc<Mirror>, wanted: &GitRepositoryRef) -> Result<Commit, Error> {
    let (mirror, wanted) = (Arc::clone(mirror), wanted.clone());
    step("fetch", move || with_checkout(&wanted, |checkout| mirror.fetch(checkout))).await
}

/// The wanted commit as it was last seen, without asking the server.
pub(super) async fn last(mirror: &Arc<Mirror>, wanted: &GitRepositoryRef) -> Result<Option<Commit>, Error> {
    let (mirror, wanted) = (Arc::clone(mirror), wanted.clone());
    step("last", move || with_checkout(&wanted, |checkout| mirror.last(checkout))).await
}

/// One Git step, off the async threads and through the seam.
pub(super) async fn step<T: Send + 'static>(
    what: &str,
    f: impl FnOnce() -> Result<T, git::Error> + Send + 'static,
) -> Result<T, Error> {
    effect(Site::Git, what, async {
        let outcome = tokio::task::spawn_blocking(f).await.map_err(|_| Error::Interrupted)?;
        outcome.map_err(Error::Git)
    })
    .await
}

/// The reference in the order of precedence: commit, name, tag, semver, branch.
/// Source: reference image-automation.md section 6.3.
fn with_checkout<T>(
    wanted: &GitRepositoryRef,
    f: impl FnOnce(&Checkout<'_>) -> Result<T, git::Error>,
) -> Result<T, git::Error> {
    let text = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(id) = text(&wanted.commit) {
        let id = id.parse().map_err(|_| git::Error::ReferenceName { name: id.clone() })?;
        return f(&Checkout::Commit { id, branch: wanted.branch.as_deref() });
    }
    match (text(&wanted.name), text(&wanted.tag), text(&wanted.semver)) {
        (Some(name), _, _) => f(&Checkout::Name(&name)),
        (_, Some(tag), _) => f(&Checkout::Tag(&tag)),
        (_, _, Some(range)) => f(&Checkout::PickTag(&|tags| highest(&range, tags))),
        _ => f(&Checkout::Branch(&text(&wanted.branch).unwrap_or_else(|| "master".into()))),
    }
}

/// The highest tag in a range.
fn highest(range: &str, tags: &[String]) -> Option<String> {
    let range = policy::Range::parse(range).ok()?;
    let versions = tags.iter().filter_map(|tag| Some((policy::Version::loose(tag).ok()?, tag)));
    let fitting = versions.filter(|(version, _)| range.matches(version));
    fitting.max_by(|one, other| one.0.precedence(&other.0)).map(|(_, tag)| tag.clone())
}
