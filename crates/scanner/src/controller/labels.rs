//! What a chosen image says of itself in its labels, for the messages of commits.

use std::{collections::BTreeMap, time::Duration};

use api::image::{IMAGE_LABELS, ImagePolicy, ImageRef, ImageRepository};
use kube::ResourceExt as _;
use serde_json::{Map, Value};

use super::images::Images;
use crate::Error;

/// Bucket of the database that holds the labels of images, by digest.
const LABELS: &str = "image-labels";
/// Labels that are kept, by what commit messages call them. Source: OCI image specification, annotations.
const KEPT: [(&str, &str); 4] = [
    ("source", "org.opencontainers.image.source"),
    ("revision", "org.opencontainers.image.revision"),
    ("created", "org.opencontainers.image.created"),
    ("version", "org.opencontainers.image.version"),
];
/// How long a choice waits for labels: a commit is worth more than what is said about it.
const LABELS_LIMIT: Duration = Duration::from_secs(2);
/// Longest label that is kept.
const MAX_LABEL_BYTES: usize = 1024;

impl Images {
    /// The labels of the chosen image as a merge patch of the status, if the policy asks for them. What cannot be read in
    /// time is left out: labels never hold a choice back.
    pub(super) async fn labels(&self, object: &ImagePolicy, repository: &ImageRepository, latest: &ImageRef) -> Value {
        if object.annotations().get(IMAGE_LABELS).is_none_or(|wanted| wanted != "true") {
            return Value::Null;
        }
        let status = object.status.as_ref();
        if let Some(kept) = status.filter(|status| status.latest_ref.as_ref() == Some(latest))
            && !kept.latest_labels.is_empty()
        {
            return patch(&kept.latest_labels);
        }
        let labels = match tokio::time::timeout(LABELS_LIMIT, self.read_labels(repository, latest)).await {
            Ok(Ok(labels)) => labels,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the labels of an image cannot be read");
                BTreeMap::new()
            }
            Err(_) => {
                tracing::warn!("the labels of an image take too long to read");
                BTreeMap::new()
            }
        };
        patch(&labels)
    }

    /// The kept labels of an image, which is read once for each digest.
    async fn read_labels(
        &self,
        repository: &ImageRepository,
        latest: &ImageRef,
    ) -> Result<BTreeMap<String, String>, Error> {
        let digest = match latest.digest.as_str() {
            "" => self.look_up(repository, &latest.tag).await?,
            digest => digest.to_owned(),
        };
        let database = self.store.database();
        let known = database.read(LABELS, &digest).await.unwrap_or_default();
        if let Some(known) = known.and_then(|known| serde_json::from_slice(&known).ok()) {
            return Ok(known);
        }
        let all = self.config(repository, &digest).await?.map(|config| config.config.labels).unwrap_or_default();
        let kept: BTreeMap<String, String> = KEPT
            .iter()
            .filter_map(|(name, label)| Some(((*name).to_owned(), all.get(*label)?.clone())))
            .filter(|(_, value)| value.len() <= MAX_LABEL_BYTES)
            .collect();
        let bytes = Value::from_iter(kept.clone()).to_string();
        if let Err(error) = database.note(LABELS, &digest, bytes.as_bytes()).await {
            tracing::debug!(%error, "the labels of an image are not remembered");
        }
        Ok(kept)
    }
}

/// Labels as a merge patch: what the image has not is taken away.
fn patch(labels: &BTreeMap<String, String>) -> Value {
    let all = KEPT.iter().map(|(name, _)| ((*name).to_owned(), labels.get(*name).cloned().into()));
    Value::Object(all.collect::<Map<_, _>>())
}
