//! Knative: the traffic of the Service itself, between its latest revision and the one that an annotation remembers.
//!
//! Source: reference progressive-delivery.md, B.7 and E "Knative".

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{Change, End, Error, Given, Router, Weights, list_at, unreadable};

/// Knative Serving.
pub const ROUTER: Router = Router {
    objects: |given| Ok(vec![reference(given)]),
    routes,
    written: |given| read(given, "/spec/traffic"),
    weights: seen,
    finalize,
};

/// Annotation of the Service that remembers the primary's revision.
pub const PRIMARY: &str = "flagger.app/primary-revision";

fn reference(given: &Given<'_>) -> ObjectReference {
    given.reference("serving.knative.dev/v1", "Service", &given.canary.spec.target_ref.name)
}

/// The primary's revision: the one remembered, and before there is one the latest.
fn primary(given: &Given<'_>) -> Result<String, Error> {
    let reference = reference(given);
    let service = given.existing(&reference)?;
    let annotations = service.pointer("/metadata/annotations");
    let remembered = annotations.and_then(|annotations| annotations.get(PRIMARY)).and_then(Value::as_str);
    let latest = || service.pointer("/status/latestCreatedRevisionName").and_then(Value::as_str);
    let revision = remembered.filter(|name| !name.is_empty()).or_else(latest).map(str::to_owned);
    revision.ok_or_else(|| unreadable(&reference, "has no revision yet"))
}

/// The Service with both revisions. Tags that users gave to revisions stay.
fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let reference = reference(given);
    let primary = primary(given)?;
    let live = list_at(given.existing(&reference)?, "/spec/traffic");
    let tagged = live.iter().filter(|target| target.get("tag").is_some()).map(|target| {
        let mut target = target.clone();
        target["percent"] = json!(0);
        target
    });
    let ours = [
        json!({"latestRevision": true, "percent": weights.canary}),
        json!({"revisionName": primary, "percent": weights.primary}),
    ];
    let service = json!({
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "metadata": {
            "name": reference.name,
            "namespace": reference.namespace,
            "annotations": {PRIMARY: primary},
        },
        "spec": {"traffic": ours.into_iter().chain(tagged).collect::<Vec<_>>()},
    });
    Ok(Change { apply: vec![service], cookies: None })
}

/// What Knative reports to have done; of a Service that it has not looked at yet, what is asked for.
fn seen(given: &Given<'_>) -> Result<Weights, Error> {
    let is_reported = given.existing(&reference(given))?.pointer("/status/traffic").is_some();
    read(given, if is_reported { "/status/traffic" } else { "/spec/traffic" })
}

fn read(given: &Given<'_>, traffic: &str) -> Result<Weights, Error> {
    let reference = reference(given);
    let targets = list_at(given.existing(&reference)?, traffic);
    let name = primary(given)?;
    let percent = |is_meant: &dyn Fn(&Value) -> bool| {
        let target = targets.iter().find(|target| target.get("tag").is_none() && is_meant(target))?;
        Some(target["percent"].as_u64().and_then(|percent| u32::try_from(percent).ok()).unwrap_or_default())
    };
    let primary = percent(&|target| target["latestRevision"] != true && target["revisionName"] == name.as_str());
    let canary = percent(&|target| target["latestRevision"] == true);
    match (primary, canary) {
        (Some(primary), canary) => Ok(Weights { primary, canary: canary.unwrap_or_default(), mirrored: false }),
        _ => Err(unreadable(&reference, format!("sends no traffic to the primary's revision {name} yet"))),
    }
}

/// The annotation goes; traffic stays where it is.
fn finalize(given: &Given<'_>) -> End {
    let patch = json!({"metadata": {"annotations": {PRIMARY: null}}});
    End { patch: vec![(reference(given), patch)], ..End::default() }
}
