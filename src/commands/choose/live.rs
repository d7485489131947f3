//! The ImagePolicy of a running slipway, the tags that it keeps, and what its registry says of them.

use anyhow::{anyhow, bail};
use api::image::{ImagePolicy, ImageRepository};
use jiff::Timestamp;
use kube::ResourceExt as _;
use policy::{Facts, Policy, Rules, Selection};
use reconcile::{Context, Http, Store};
use scanner::{Asking, Images, Options};

use super::manifest::Manifest;
use crate::{
    args::Choose,
    commands::{
        get, kinds,
        system::{self, System},
    },
};

/// Tags, and when each was first seen if it came after the first scan.
pub type Kept = Vec<(String, Option<Timestamp>)>;

/// A policy of a running slipway, whose registry can be asked.
pub struct Live {
    /// Open as long as somebody may ask.
    system: System,
    policy: ImagePolicy,
    repository: ImageRepository,
}

impl Live {
    /// The tags with the verdict of the policy and of its own rules, as slipway would choose now.
    pub async fn select<'a>(
        &self,
        rules: (&Policy, &Rules),
        tags: &[&'a str],
        facts: &mut Facts<'_>,
    ) -> anyhow::Result<Selection<'a>> {
        let http = Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION")));
        // That the identity of an account may be used was decided where slipway runs.
        let options = Options { object_level_workload_identity: true, ..Options::default() };
        let images = Images::new(&Context::new(self.system.store.clone(), http, "slipway choose"), options);
        let asking = Asking { policy: &self.policy, repository: &self.repository };
        images.select(asking, rules, tags, facts).await.map_err(|failure| anyhow!(failure.message))
    }
}

/// The policy and the tags of its repository; `None`, and said so, if one of them is not there.
pub async fn read(args: &Choose) -> anyhow::Result<Option<(Manifest, Kept, Live)>> {
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
    let Some(repository) = store.get::<ImageRepository>(namespace, &reference.name).await? else {
        eprintln!(
            "error: {} refers to the image repository {namespace}/{}, which is not there",
            policy.name_any(),
            reference.name
        );
        return Ok(None);
    };
    let tags = kept(store, &policy).await?;
    Ok(Some((Manifest::of(&policy), tags, Live { system, policy, repository })))
}

/// The tags that the store keeps for the policy.
pub async fn kept(store: &Store, policy: &ImagePolicy) -> reconcile::Result<Kept> {
    let reference = &policy.spec.image_repository_ref;
    let namespace = policy.namespace().unwrap_or_default();
    let namespace = reference.namespace_or(&namespace);
    let kept = scanner::Tags::new(store.database().clone()).read(namespace, &reference.name).await?;
    Ok(kept.seen().map(|(tag, seen)| (tag.to_owned(), seen)).collect())
}
