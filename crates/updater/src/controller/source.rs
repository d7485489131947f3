//! The repository of an automation: its remote, its mirror, and what is asked of it. Each step is an effect.

use std::sync::{Arc, Mutex, PoisonError};

use api::{
    meta::{LocalReference, ObjectReference},
    source::{GitProvider, GitRepository, GitRepositoryRef},
};
use git::{Commit, Credentials, Head, LocalPaths, Mirror, Mirrors, Remote, SecretData, Secrets, SigningKey, Wanted};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Failure, Identities, Site, Store, clock, effect, object};

use super::{INVALID, Options, source_failure};
use crate::{Error, branches, signing};

/// What is said where a ServiceAccount is named and the gate is closed, in the words of image policies.
const WORKLOAD_IDENTITY: &str = "to use spec.serviceAccountName in the GitRepository for provider authentication please \
    enable the ObjectLevelWorkloadIdentity feature gate in the controller";

/// Refuses a ServiceAccount for a cloud where the gate for it is closed. Source: reference image-automation.md section 2.1.
pub(super) fn check_account(repository: &GitRepository, options: &Options) -> Result<(), Failure> {
    let is_cloud = matches!(repository.spec.provider, Some(GitProvider::Azure | GitProvider::Aws));
    if is_cloud && repository.spec.service_account_name.is_some() && !options.object_level_workload_identity {
        return Err(Failure::terminal("FeatureGateDisabled", WORKLOAD_IDENTITY));
    }
    Ok(())
}

/// The remote that a GitRepository describes, with what its Secrets say.
pub(super) async fn remote(
    store: &Store,
    identities: &Identities,
    repository: &GitRepository,
) -> Result<Remote, Failure> {
    let namespace = repository.namespace().unwrap_or_default();
    let unauthenticated =
        |problem: String| source_failure(&format!("failed to configure authentication options: {problem}"));
    let provider = repository.spec.provider.unwrap_or_default();
    let cloud = identities.git(provider, &repository.spec.url).await.map_err(unauthenticated)?;
    let secrets = Secrets {
        login: secret(store, &namespace, ("auth", repository.spec.secret_ref.as_ref())).await?,
        proxy: secret(store, &namespace, ("proxy", repository.spec.proxy_secret_ref.as_ref())).await?,
        cloud: cloud.map(|login| Credentials::of_cloud(login.username, login.password)),
    };
    if let Some(problem) = git::wrong_provider(repository, secrets.login.as_ref()) {
        return Err(Failure::terminal(INVALID, problem));
    }
    let local_paths = if store.is_standalone() { LocalPaths::Allow } else { LocalPaths::Refuse };
    Remote::of(repository, &secrets, local_paths).map_err(|error| unauthenticated(error.to_string()))
}

async fn secret(
    store: &Store,
    namespace: &str,
    (what, reference): (&str, Option<&LocalReference>),
) -> Result<Option<SecretData>, Failure> {
    let Some(LocalReference { name }) = reference else { return Ok(None) };
    let found = data(store, namespace, name).await?;
    found.map(Some).ok_or_else(|| {
        source_failure(&format!("failed to get {what} secret '{namespace}/{name}': secrets {name:?} not found"))
    })
}

async fn data(store: &Store, namespace: &str, name: &str) -> Result<Option<SecretData>, Failure> {
    let found = store.get::<Secret>(namespace, name).await?;
    let entries = |secret: Secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    Ok(found.map(|secret| entries(secret).collect()))
}

/// Signing keys that were read before, with the Secrets they came from: to open an OpenPGP key takes as long as a push.
#[derive(Default)]
pub(super) struct Keys(Mutex<Vec<(SecretData, SigningKey)>>);

/// So many keys are kept.
const KEYS: usize = 32;

impl Keys {
    /// The key that signs the commits, if they are to be signed.
    pub(super) async fn signing(
        &self,
        store: &Store,
        namespace: &str,
        key: Option<&api::image::SigningKey>,
    ) -> Result<Option<SigningKey>, Failure> {
        let Some(key) = key else { return Ok(None) };
        // Flux names it without its namespace, which is the automation's.
        let name = &key.secret_ref.name;
        let mut data = data(store, namespace, name).await?.ok_or_else(|| {
            source_failure(&format!("could not find signing key secret '{name}': secrets {name:?} not found"))
        })?;
        // One Secret may hold keys of both types.
        data.insert("type".to_owned(), key.kind().as_bytes().to_vec());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = known.iter().find(|(other, _)| *other == data) {
            return Ok(Some(key.clone()));
        }
        let read = signing::read(key.kind(), name, &data, clock::now()).map_err(|problem| source_failure(&problem))?;
        if known.len() == KEYS {
            known.remove(0);
        }
        known.push((data, read.clone()));
        Ok(Some(read))
    }
}

/// Opens the mirror, waiting for others that work on it: this is what serialises automations of one repository.
pub(super) async fn open(mirrors: &Mirrors, remote: &Remote) -> Result<Arc<Mirror>, Failure> {
    let (mirrors, remote, now) = (mirrors.clone(), remote.clone(), clock::now());
    let opened = step("open", move || mirrors.open(&mirrors.login(&remote, now)?)).await;
    opened.map(Arc::new).map_err(|error| source_failure(&error.chain()))
}

/// Where the wanted commit is at the server.
pub(super) async fn head(mirror: &Arc<Mirror>, wanted: &GitRepositoryRef) -> Result<Head, Error> {
    let (mirror, wanted) = (Arc::clone(mirror), Wanted::new(Some(wanted)).map_err(Error::Reference)?);
    step("ls-refs", move || wanted.with_checkout(|checkout| mirror.head(checkout))).await
}

/// The wanted commit, fetched unless it is here.
pub(super) async fn fetch(mirror: &Arc<Mirror>, wanted: &GitRepositoryRef) -> Result<Commit, Error> {
    let (mirror, wanted) = (Arc::clone(mirror), Wanted::new(Some(wanted)).map_err(Error::Reference)?);
    step("fetch", move || wanted.with_checkout(|checkout| mirror.fetch(checkout))).await
}

/// The wanted commit as it was last seen, without asking the server.
pub(super) async fn last(mirror: &Arc<Mirror>, wanted: &GitRepositoryRef) -> Result<Option<Commit>, Error> {
    let (mirror, wanted) = (Arc::clone(mirror), Wanted::new(Some(wanted)).map_err(Error::Reference)?);
    step("last", move || wanted.with_checkout(|checkout| mirror.last(checkout))).await
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

/// The GitRepositories that follow the branch that was pushed to. Who is not told looks at its interval, so nothing is lost
/// when this fails.
pub(super) async fn followers(store: &Store, url: &str, branch: &str) -> Vec<ObjectReference> {
    let sources = store.list::<GitRepository>(None).await.inspect_err(|error| {
        tracing::warn!(%error, "cannot tell GitRepositories of the push");
    });
    let sources = sources.unwrap_or_default();
    sources.iter().filter(|source| branches::follows(&source.spec, url, branch)).map(object::reference).collect()
}
