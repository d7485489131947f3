//! Skipper: a copy of the Ingress whose paths lead to both services, with a predicate that puts it before the original.
//!
//! Source: reference progressive-delivery.md, E "Skipper".

use serde_json::{Value, json};

use super::{Change, End, Error, Given, Router, Weights, ingress, service_names, unreadable};

/// Skipper.
pub const ROUTER: Router =
    Router { objects: |given| ingress::references(given).map(Vec::from), routes, written: weights, weights, finalize };

/// Shares of the services, as a JSON object.
const WEIGHTS: &str = "zalando.org/backend-weights";
/// Conditions of the route.
const PREDICATE: &str = "zalando.org/skipper-predicate";
/// The copy before the original.
const ON: &str = "Weight(100)";
/// The original alone.
const OFF: &str = "False()";

fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    if !given.canary.analysis().matches.is_empty() {
        // All of traffic would go to the canary.
        return Err(Error::Invalid("A/B testing is not supported when using the skipper provider".into()));
    }
    let [source, copy] = ingress::references(given)?;
    let original = given.existing(&source)?;
    let mut spec = original.get("spec").cloned().unwrap_or_else(|| json!({}));
    if !split(given, &mut spec) {
        return Err(ingress::no_backend(given, &source));
    }
    let (_, primary, canary) = service_names(given.canary);
    let mut annotations = ingress::annotations(original);
    let shares = json!({canary.as_str(): weights.canary, primary: weights.primary});
    annotations.insert(WEIGHTS.into(), shares.to_string());
    let conditions = annotations.get(PREDICATE).map_or("", String::as_str);
    let is_off = weights.canary == 0 && given.find(&copy).is_some_and(|live| !is_new(live, &canary));
    let others = conditions.split("&&").map(str::trim).filter(|&one| !one.is_empty() && one != ON && one != OFF);
    let predicate = [if is_off { OFF } else { ON }].into_iter().chain(others).collect::<Vec<_>>().join(" && ");
    annotations.insert(PREDICATE.into(), predicate);
    Ok(Change { apply: vec![ingress::copy(given, original, &annotations, spec)?], cookies: None })
}

/// Whether no run has touched the copy yet: it is in force and leads to the primary alone.
fn is_new(copy: &Value, canary: &str) -> bool {
    let is_on = annotation(copy, PREDICATE).is_some_and(|predicate| predicate.starts_with(ON));
    is_on && shares(copy).is_some_and(|shares| shares.get(canary).is_some_and(|share| *share == 0))
}

/// Points the paths that lead to the apex service at the primary, and adds ones to the canary; whether there was one.
fn split(given: &Given<'_>, spec: &mut Value) -> bool {
    let (apex, primary, canary) = service_names(given.canary);
    let mut found = false;
    for paths in ingress::paths(spec) {
        let mut added = Vec::new();
        for path in paths.iter_mut() {
            let mut other = path.clone();
            if let Some(name) = ingress::service(path).filter(|name| **name == apex) {
                *name = json!(primary);
                if let Some(name) = ingress::service(&mut other) {
                    *name = json!(canary);
                }
                added.push(other);
            }
        }
        found |= !added.is_empty();
        paths.extend(added);
    }
    found
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn shares(copy: &Value) -> Option<serde_json::Map<String, Value>> {
    serde_json::from_str(annotation(copy, WEIGHTS)?).ok()
}

fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let [_, copy] = ingress::references(given)?;
    let shares = shares(given.existing(&copy)?);
    let (_, primary, canary) = service_names(given.canary);
    let of = |name: &str| shares.as_ref()?.get(name)?.as_u64().and_then(|share| u32::try_from(share).ok());
    match (of(&primary), of(&canary)) {
        (Some(primary), Some(canary)) => Ok(Weights { primary, canary, mirrored: false }),
        _ => Err(unreadable(&copy, format!("has no {WEIGHTS} for {primary} and {canary}"))),
    }
}

/// The copy goes, so that the original serves alone.
fn finalize(given: &Given<'_>) -> End {
    let copy = ingress::references(given).map(|[_, copy]| copy);
    End { delete: copy.into_iter().collect(), ..End::default() }
}
