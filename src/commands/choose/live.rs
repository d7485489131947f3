//! The ImagePolicy of a running slipway and the tags that it keeps.

use anyhow::bail;
use api::image::{ImagePolicy, ImageRepository};
use jiff::Timestamp;
use kube::ResourceExt as _;
use reconcile::Store;

use super::manifest::Manifest;
use crate::{
    args::Choose,
    commands::{get, kinds, system},
};

/// Tags, and when each was first seen if it came after the first scan.
pub type Kept = Vec<(String, Option<Timestamp>)>;

/// The policy and the tags of its repository; `None`, and said so, if one of them is not there.
pub async fn read(args: &Choose) -> anyhow::Result<Option<(Manifest, Kept)>> {
    let name = args.name.as_deref().unwrap_or_default();
    let system = system::open(&args.place).await?;
    if matches!(system.store, Store::Cluster(_)) && args.tags.is_none() {
        bail!("the tags are kept where slipway runs, not in the cluster's API; give them with --tags FILE");
    }
    let (store, own) = (&system.store, system.namespace.as_str());
    let written = if name.contains('/') { name.to_owned() } else { format!("imagepolicy/{name}") };
    let (kind, name) = kinds::parse_one(&written).map_err(anyhow::Error::msg)?;
    if kind.kind != "ImagePolicy" {
        bail!("only an image policy chooses, not the {} {name:?}", kind.singular);
    }
    let Some(policy) = store.get::<ImagePolicy>(own, &name).await? else {
        get::missing(store, kind, own, &name).await?;
        return Ok(None);
    };
    let reference = &policy.spec.image_repository_ref;
    let namespace = reference.namespace_or(own);
    if store.get::<ImageRepository>(namespace, &reference.name).await?.is_none() {
        eprintln!(
            "error: {} refers to the image repository {namespace}/{}, which is not there",
            policy.name_any(),
            reference.name
        );
        return Ok(None);
    }
    let kept = scanner::Tags::new(store.database().clone()).read(namespace, &reference.name).await?;
    let tags = kept.seen().map(|(tag, seen)| (tag.to_owned(), seen)).collect();
    Ok(Some((Manifest::of(&policy), tags)))
}
