//! The running system that a verb is about: a state file on this machine, or a cluster.

use std::{path::Path, sync::OnceLock};

use anyhow::{Context as _, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use reconcile::{Cluster, Database, Directory, Rate, Scope, Store};
use tempfile::TempDir;

use crate::args::look::{Access, Place};

/// A running system, opened.
pub struct System {
    /// Its objects.
    pub store: Store,
    /// The namespace that is meant.
    pub namespace: String,
    /// Holds what a cluster's store keeps beside the API; of no use after the verb.
    _records: Option<TempDir>,
}

/// Opens the system that the flags name.
pub async fn open(place: &Place) -> anyhow::Result<System> {
    let namespace = place.namespace.clone().filter(|namespace| !namespace.is_empty());
    if let Some(state) = &place.state {
        if let Err(error) = std::fs::File::open(state)
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            bail!(
                "cannot read {}: permission denied\nhint: a state file is for the user who runs slipway over it",
                state.display()
            );
        }
        crate::config::own(state)?;
        let store = Store::Directory(Directory::attach(state)?);
        return Ok(System { store, namespace: namespace.unwrap_or_else(|| "default".into()), _records: None });
    }
    let config = match config(&place.access).await {
        Ok(config) => config,
        Err(error) if place.access.is_default() => {
            bail!(
                "no running system is named ({error})\ntip: add --state FILE for one on this machine, --kubeconfig FILE for a cluster"
            )
        }
        Err(error) => return Err(error),
    };
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let (store, records) = cluster(config)?;
    Ok(System { store, namespace, _records: Some(records) })
}

/// The cluster that the flags name.
pub async fn open_cluster(access: &Access) -> anyhow::Result<(Store, kube::Client, TempDir)> {
    let config = config(access).await?;
    let client = kube::Client::try_from(config.clone()).context("the cluster's settings cannot be used")?;
    let (store, records) = cluster(config)?;
    Ok((store, client, records))
}

/// Which cluster is asked, for who reads that it does not answer.
static ASKED: OnceLock<String> = OnceLock::new();

/// The address of the cluster that is asked, once one is.
pub fn asked_cluster() -> Option<&'static str> {
    ASKED.get().map(String::as_str)
}

fn cluster(config: kube::Config) -> anyhow::Result<(Store, TempDir)> {
    let _ = ASKED.set(config.cluster_url.to_string());
    let records = tempfile::tempdir().context("no temporary folder")?;
    let database = Database::open(&records.path().join("records.db"))?;
    let client = kube::Client::try_from(config).context("the cluster's settings cannot be used")?;
    Ok((Store::Cluster(Cluster::new(client, database, Scope::default(), Rate::default())), records))
}

/// Where a cluster is and who we are there.
async fn config(access: &Access) -> anyhow::Result<kube::Config> {
    let read = match &access.kubeconfig {
        Some(path) => read(path)?,
        None => Kubeconfig::read().context("no kubeconfig")?,
    };
    let options = KubeConfigOptions { context: access.context.clone(), ..Default::default() };
    kube::Config::from_custom_kubeconfig(read, &options).await.context("the kubeconfig cannot be used")
}

fn read(path: &Path) -> anyhow::Result<Kubeconfig> {
    Kubeconfig::read_from(path).with_context(|| format!("cannot read kubeconfig {}", path.display()))
}
