//! `/images`: which tags were chosen, and why not the others.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    Condition,
    image::{ImagePolicy, ImageRepository},
    meta::ObjectReference,
};
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
};
use policy::{Candidate, Verdict};
use reconcile::clock;
use serde_json::{Value, json};

use super::{
    Dashboard,
    answer::{Answer, Answered, Refusal},
};
use crate::commands::choose::{self, funnel, live, manifest::Manifest};

/// Tags that are told unless more are asked for, and the most that can be.
const PAGE: usize = 100;
const MOST: usize = 1000;

/// `GET /images`: every policy and what it chose.
pub async fn list(State(dashboard): State<Arc<Dashboard>>) -> Answered<Value> {
    let _turn = dashboard.answers.acquire().await;
    let mut policies = dashboard.context.store.list::<ImagePolicy>(None).await?;
    policies.sort_by_key(|policy| (policy.metadata.namespace.clone(), policy.metadata.name.clone()));
    let items: Vec<Value> = policies.iter().map(row).collect();
    Ok(Answer(json!({"items": items, "total": items.len(), "now": clock::now()})))
}

/// A policy in one line.
fn row(policy: &ImagePolicy) -> Value {
    let status = policy.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let text = |part: fn(&Condition) -> &str| ready.map(part);
    json!({
        "ns": policy.metadata.namespace, "name": policy.metadata.name, "suspended": policy.spec.suspend,
        "image": status.latest_ref.as_ref().map(|latest| &latest.name),
        "tag": status.latest_ref.as_ref().map(|latest| &latest.tag),
        "digest": status.latest_ref.as_ref().map(|latest| &latest.digest).filter(|digest| !digest.is_empty()),
        "previous": status.observed_previous_ref.as_ref().map(|previous| &previous.tag),
        "ready": text(|ready| &ready.status), "reason": text(|ready| &ready.reason),
        "sentence": text(|ready| &ready.message), "since": ready.map(|ready| ready.last_transition_time.clone()),
    })
}

/// `GET /images/NAMESPACE/NAME?tag=TAG`: the steps of the choice, the tags best first, and the fate of that tag.
pub async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name)): Path<(String, String)>,
    Query(words): Query<BTreeMap<String, String>>,
) -> Answered<Value> {
    let _turn = dashboard.answers.acquire().await;
    let store = &dashboard.context.store;
    let found = store.get::<ImagePolicy>(&namespace, &name).await?;
    let found = found.ok_or_else(|| Refusal::not_found(format_args!("image policy {namespace}/{name}")))?;
    let mut answer = row(&found);
    answer["repository"] = repository(&dashboard, &found, &namespace).await?;
    let kept = live::kept(store, &found).await?;
    let manifest = Manifest::of(&found);
    answer["rule"] = json!(funnel::rule(&manifest));
    answer["now"] = json!(clock::now());
    let problem = |problem: anyhow::Error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{problem:#}"));
    let exclusions = manifest.exclusions().map_err(problem)?;
    let (policy, selection) = choose::judge(&manifest, &exclusions, &kept).map_err(problem)?;
    let steps = funnel::rows(&manifest, &selection);
    let steps = steps.into_iter().map(
        |(name, left, dropped, examples)| json!({"name": name, "left": left, "dropped": dropped, "examples": examples}),
    );
    answer["steps"] = steps.collect();
    answer["summary"] = json!(policy.summary(&selection));
    // What was chosen is what the status says: rules that ask the registry are not looked at here.
    let latest = found.status.as_ref().and_then(|status| status.latest_ref.as_ref());
    let chosen = latest.map(|latest| latest.tag.as_str()).or_else(|| selection.latest().map(|latest| latest.tag));
    let told = |candidate: &Candidate<'_>| {
        let result = match candidate.verdict {
            _ if chosen == Some(candidate.tag) => "chosen",
            Verdict::Accepted => "fits",
            _ => "dropped",
        };
        let seen = kept.iter().find(|(tag, _)| tag == candidate.tag).and_then(|(_, seen)| *seen);
        json!({"tag": candidate.tag, "result": result, "why": choose::reason(&policy, &selection, candidate), "seen": seen})
    };
    if let Some(tag) = words.get("tag").filter(|tag| !tag.is_empty()) {
        let found = selection.candidates.iter().find(|candidate| candidate.tag == tag);
        let missing = || json!({"tag": tag, "result": "unknown", "why": "the registry did not list it"});
        answer["why"] = found.map_or_else(missing, told);
    }
    let number = |key: &str| words.get(key).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("cursor").unwrap_or(0), number("limit").unwrap_or(PAGE));
    if limit > MOST {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("limit: at most {MOST}")));
    }
    answer["total"] = json!(selection.candidates.len());
    answer["tags"] = selection.candidates.iter().skip(from).take(limit).map(told).collect();
    Ok(Answer(answer))
}

async fn repository(dashboard: &Dashboard, policy: &ImagePolicy, own: &str) -> Result<Value, Refusal> {
    let reference = &policy.spec.image_repository_ref;
    let namespace = reference.namespace_or(own);
    let id = ObjectReference {
        api_version: "image.toolkit.fluxcd.io/v1".into(),
        kind: "ImageRepository".into(),
        namespace: namespace.into(),
        name: reference.name.clone(),
    };
    // In its JSON form, as any version of Flux may have written it.
    let found = dashboard.context.store.find(&id).await?.unwrap_or_default();
    let interval = dashboard.context.store.get::<ImageRepository>(namespace, &reference.name).await?;
    let interval = interval.map(|repository| repository.spec.interval.get().as_secs());
    Ok(json!({
        "ns": namespace, "name": reference.name, "image": found["spec"]["image"],
        "tagCount": found.pointer("/status/lastScanResult/tagCount"),
        "scannedAt": found.pointer("/status/lastScanResult/scanTime"), "interval": interval,
    }))
}
