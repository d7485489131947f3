//! ingress-nginx: a copy of the Ingress that leads to the canary, with annotations that give its share.
//!
//! Source: reference progressive-delivery.md, E "NGINX".

use std::collections::BTreeMap;

use api::flagger::Canary;
use serde_json::{Value, json};

use super::{Change, Error, Given, Router, UNMANAGED, Weights, ingress, service_names, stays, unreadable};

/// ingress-nginx.
pub const ROUTER: Router = Router {
    objects: |given| ingress::references(given).map(Vec::from),
    routes,
    written: weights,
    weights,
    finalize: stays,
};

fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let [source, _] = ingress::references(given)?;
    let ingress = given.existing(&source)?;
    let mut spec = ingress.get("spec").cloned().unwrap_or_else(|| json!({}));
    if !redirect(given.canary, &mut spec) {
        return Err(ingress::no_backend(given, &source));
    }
    let prefix = format!("{}/canary", given.options.ingress_annotations_prefix);
    let mut annotations = ingress::annotations(ingress);
    annotations.retain(|key, _| !key.starts_with(&prefix));
    annotations.extend(UNMANAGED.map(|(key, value)| (key.to_owned(), value.to_owned())));
    annotations.insert(prefix.clone(), "true".into());
    if weights.canary > 0 {
        let tests = tests(given.canary).into_iter();
        annotations.extend(tests.map(|(kind, value)| (format!("{prefix}-{kind}"), value)));
    }
    let share = if is_test(given.canary) { 0 } else { weights.canary };
    annotations.insert(format!("{prefix}-weight"), share.to_string());
    Ok(Change { apply: vec![ingress::copy(given, ingress, &annotations, spec)?], cookies: None })
}

/// The weights that the copy's annotations give. A test by header or cookie counts as all or nothing.
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let [_, copy] = ingress::references(given)?;
    let live = given.existing(&copy)?;
    let annotation = |kind: &str| {
        let key = format!("{}/canary-{kind}", given.options.ingress_annotations_prefix);
        live.pointer("/metadata/annotations")?.get(&key)?.as_str()
    };
    let share = if is_test(given.canary) {
        if annotation("by-header").or_else(|| annotation("by-cookie")).is_some() { 100 } else { 0 }
    } else {
        share(annotation("weight").unwrap_or("0")).map_err(|problem| unreadable(&copy, problem))?
    };
    Ok(Weights { primary: 100 - share, canary: share, mirrored: false })
}

/// Whether requests are told apart by what they are, and never by weight.
fn is_test(canary: &Canary) -> bool {
    !canary.analysis().matches.is_empty()
}

/// A weight as an annotation has it.
pub fn share(text: &str) -> Result<u32, String> {
    let share = text.parse::<u32>().ok().filter(|&share| share <= 100);
    share.ok_or_else(|| format!("has the weight {text:?}, which is not a number from 0 to 100"))
}

/// Points the paths that lead to the apex service at the canary; whether there was one.
fn redirect(canary: &Canary, spec: &mut Value) -> bool {
    let (apex, _, canary_service) = service_names(canary);
    let mut found = false;
    for name in ingress::paths(spec).flatten().filter_map(ingress::service) {
        if *name == apex {
            *name = json!(canary_service);
            found = true;
        }
    }
    found
}

/// The annotations, without their prefix, for the headers of an A/B test: a header named `cookie` names a cookie; of the
/// others the last counts, by exact value or by regular expression.
fn tests(canary: &Canary) -> BTreeMap<&'static str, String> {
    let analysis = canary.analysis();
    let mut annotations = BTreeMap::new();
    for (name, value) in analysis.matches.iter().flat_map(|request| &request.headers) {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if name.eq_ignore_ascii_case("cookie") {
            if let Some(cookie) = given(&value.exact) {
                annotations.insert("by-cookie", cookie);
            }
            continue;
        }
        for old in ["by-header-value", "by-header-pattern"] {
            annotations.remove(old);
        }
        annotations.insert("by-header", name.clone());
        if let Some(exact) = given(&value.exact) {
            annotations.insert("by-header-value", exact);
        } else if let Some(pattern) = given(&value.regex) {
            annotations.insert("by-header-pattern", pattern);
        }
    }
    annotations
}
