//! How a GitRepository is reached, and what is read from its mirror.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use api::{meta::LocalReference, source::GitRepository};
use git::{Checkout, Commit, Credentials, Limits, LocalPaths, Mirrors, Remote, SecretData, Secrets, Wanted};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Identities, Site, Store, clock, effect};

use crate::{
    Error,
    ignore::{self, Patterns},
    tree::Tree,
};

/// The remote that the GitRepository describes, with the credentials of its Secrets.
pub(super) async fn remote(
    store: &Store,
    identities: &Identities,
    repository: &GitRepository,
) -> Result<Remote, Error> {
    let spec = &repository.spec;
    let namespace = repository.namespace().unwrap_or_default();
    let provider = spec.provider.unwrap_or_default();
    let cloud =
        identities.git(provider, &spec.url).await.map_err(|problem| Error::Login { url: spec.url.clone(), problem })?;
    let secrets = Secrets {
        login: secret(store, &namespace, spec.secret_ref.as_ref()).await?,
        proxy: secret(store, &namespace, spec.proxy_secret_ref.as_ref()).await?,
        cloud: cloud.map(|login| Credentials::of_cloud(login.username, login.password)),
    };
    let local_paths = if store.is_standalone() { LocalPaths::Allow } else { LocalPaths::Refuse };
    Remote::of(repository, &secrets, local_paths).map_err(|error| {
        let name = spec.secret_ref.as_ref().or(spec.proxy_secret_ref.as_ref()).map(|secret| secret.name.as_str());
        Error::Secret { secret: format!("{namespace}/{}", name.unwrap_or_default()), problem: error.to_string() }
    })
}

async fn secret(
    store: &Store,
    namespace: &str,
    reference: Option<&LocalReference>,
) -> Result<Option<SecretData>, Error> {
    let Some(LocalReference { name }) = reference else { return Ok(None) };
    let missing =
        || Error::Secret { secret: format!("{namespace}/{name}"), problem: format!("secrets {name:?} not found") };
    let secret = store.get::<Secret>(namespace, name).await?.ok_or_else(missing)?;
    Ok(Some(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()))
}

/// The wanted commit, fetched from the server unless it is here.
pub(super) async fn fetch(mirrors: &Mirrors, remote: Remote, wanted: Wanted) -> Result<Commit, Error> {
    let (mirrors, now) = (mirrors.clone(), clock::now());
    blocking(remote.url.clone(), move || {
        let mirror = mirrors.open(&mirrors.login(&remote, now)?)?;
        wanted.with_checkout(|checkout| mirror.fetch(checkout))
    })
    .await
}

/// Trees that are in use. A commit that many Kustomizations build from is read once while they do, and let go after.
#[derive(Clone, Debug, Default)]
pub(super) struct Trees(Arc<Mutex<HashMap<String, Weak<Tree>>>>);

impl Trees {
    fn get(&self, key: &str) -> Option<Arc<Tree>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()
    }

    fn keep(&self, key: String, tree: Tree) -> Arc<Tree> {
        let tree = Arc::new(tree);
        let mut trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trees.retain(|_, tree| tree.strong_count() > 0);
        trees.insert(key, Arc::downgrade(&tree));
        tree
    }
}

/// The files of an artifact: the commit that its revision names, without what is ignored.
/// The server is asked only if the commit is not here any more.
pub(super) async fn files(
    mirrors: &Mirrors,
    trees: &Trees,
    remote: Remote,
    commit: git::Id,
    ignored: Option<String>,
) -> Result<Arc<Tree>, Error> {
    let key = format!("{}\n{}\n{commit}\n{}", remote.scope, remote.url, ignored.as_deref().unwrap_or_default());
    if let Some(tree) = trees.get(&key) {
        return Ok(tree);
    }
    let (mirrors, trees, now) = (mirrors.clone(), trees.clone(), clock::now());
    blocking(remote.url.clone(), move || {
        let mirror = mirrors.open(&mirrors.login(&remote, now)?)?;
        // Somebody may have read it while we waited for the mirror.
        if let Some(tree) = trees.get(&key) {
            return Ok(tree);
        }
        let wanted = Checkout::Commit { id: commit, branch: None };
        let commit = match mirror.last(&wanted)? {
            Some(commit) => commit,
            None => mirror.fetch(&wanted)?,
        };
        let files = mirror.folder(&commit, Path::new(""), Limits::default())?;
        let own = files.get(Path::new(ignore::FILE)).map(|content| String::from_utf8_lossy(content).into_owned());
        let patterns = Patterns::new(ignored.as_deref(), own.as_deref());
        let texts =
            files.into_iter().filter_map(|(path, content)| Some((path.into_os_string().into_string().ok()?, content)));
        Ok(trees.keep(key, Tree::new(texts.filter(|(path, _)| !patterns.excludes(path)))))
    })
    .await
}

/// One Git operation, off the async threads and through the seam.
async fn blocking<T: Send + 'static>(
    url: String,
    f: impl FnOnce() -> Result<T, git::Error> + Send + 'static,
) -> Result<T, Error> {
    effect(Site::Git, &url, async {
        let outcome = tokio::task::spawn_blocking(f).await.map_err(|_| Error::Interrupted)?;
        outcome.map_err(Error::from)
    })
    .await
}
