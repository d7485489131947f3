//! How a GitRepository is reached, and what is read from its mirror.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use api::source::GitRepository;
use git::{Checkout, Commit, Limits, LocalPaths, Mirrors, Remote};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Site, Store, effect};

use crate::{
    Error,
    ignore::{self, Patterns},
    revision::{self, Wanted},
    tree::Tree,
};

/// The remote that the GitRepository describes, with the credentials of its Secrets.
pub(super) async fn remote(store: &Store, repository: &GitRepository) -> Result<Remote, Error> {
    let namespace = repository.namespace().unwrap_or_default();
    let mut remote = Remote::new(&repository.spec.url);
    remote.scope.clone_from(&namespace);
    remote.timeout = repository.spec.timeout();
    if store.is_standalone() {
        remote.local_paths = LocalPaths::Allow;
    }
    let unfit = |name: &str, problem: String| Error::Secret { secret: format!("{namespace}/{name}"), problem };
    if let Some(reference) = &repository.spec.secret_ref {
        let data = secret(store, &namespace, &reference.name).await?;
        remote = remote.with_secret(&data).map_err(|error| unfit(&reference.name, error.to_string()))?;
    }
    if let Some(reference) = &repository.spec.proxy_secret_ref {
        let data = secret(store, &namespace, &reference.name).await?;
        remote = remote.with_proxy(&data).map_err(|error| unfit(&reference.name, error.to_string()))?;
    }
    Ok(remote)
}

async fn secret(store: &Store, namespace: &str, name: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let missing =
        || Error::Secret { secret: format!("{namespace}/{name}"), problem: format!("secrets {name:?} not found") };
    let secret = store.get::<Secret>(namespace, name).await?.ok_or_else(missing)?;
    Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
}

/// The wanted commit, fetched from the server unless it is here.
pub(super) async fn fetch(mirrors: &Mirrors, remote: Remote, wanted: Wanted) -> Result<Commit, Error> {
    let mirrors = mirrors.clone();
    blocking(remote.url.clone(), move || {
        let mirror = mirrors.open(&remote)?;
        match &wanted {
            Wanted::Branch(branch) => mirror.fetch(&Checkout::Branch(branch)),
            Wanted::Tag(tag) => mirror.fetch(&Checkout::Tag(tag)),
            Wanted::Name(name) => mirror.fetch(&Checkout::Name(name)),
            Wanted::Commit { id, branch } => mirror.fetch(&Checkout::Commit { id: *id, branch: branch.as_deref() }),
            Wanted::Semver(range) => mirror.fetch(&Checkout::PickTag(&|tags| revision::pick(range, tags))),
        }
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
    let (mirrors, trees) = (mirrors.clone(), trees.clone());
    blocking(remote.url.clone(), move || {
        let mirror = mirrors.open(&remote)?;
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
