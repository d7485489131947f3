//! ingress-nginx: a copy of the Ingress that leads to the canary, with annotations that give its share.
//!
//! Source: reference progressive-delivery.md, E "NGINX".

use std::collections::BTreeMap;

use api::{flagger::Canary, meta::ObjectReference};
use serde_json::{Value, json};

use super::{Change, Error, Options, UNMANAGED, Weights, list, service_names};

const KIND: &str = "Ingress";
const API_VERSION: &str = "networking.k8s.io/v1";
/// What kubectl remembers about the object it applied; not true of a copy.
const KUBECTL: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The user's Ingress and the copy.
pub fn references(canary: &Canary) -> Result<[ObjectReference; 2], Error> {
    let name =
        canary.spec.ingress_ref.as_ref().map(|reference| reference.name.as_str()).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::Invalid("ingress selector is empty".into()))?;
    let reference = |name: &str| super::reference(canary, API_VERSION, KIND, name);
    Ok([reference(name), reference(&format!("{name}-canary"))])
}

/// The copy of the Ingress.
pub fn routes(canary: &Canary, options: &Options, weights: Weights, current: &[Value]) -> Result<Change, Error> {
    let [source, copy] = references(canary)?;
    let ingress = super::existing(current, &source, KIND)?;
    let mut spec = ingress.get("spec").cloned().unwrap_or_else(|| json!({}));
    if !redirect(canary, &mut spec) {
        let name = canary.service_name();
        return Err(Error::Invalid(format!("backend {name} not found in ingress {}", source.name)));
    }
    let prefix = format!("{}/canary", options.ingress_annotations_prefix);
    let texts = |pointer: &str| -> BTreeMap<String, String> {
        let members = ingress.pointer(pointer).and_then(Value::as_object);
        let texts = members.into_iter().flatten().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        texts.flatten().collect()
    };
    let mut annotations = texts("/metadata/annotations");
    annotations.retain(|key, _| key != KUBECTL && !key.starts_with(&prefix));
    annotations.extend(UNMANAGED.map(|(key, value)| (key.to_owned(), value.to_owned())));
    annotations.insert(prefix.clone(), "true".into());
    let tests = tests(canary);
    let is_tested = !tests.is_empty();
    if is_tested && weights.canary > 0 {
        annotations.extend(tests.into_iter().map(|(kind, value)| (format!("{prefix}-{kind}"), value)));
    }
    let share = if is_tested { 0 } else { weights.canary };
    annotations.insert(format!("{prefix}-weight"), share.to_string());
    let mut metadata = json!({"name": copy.name, "namespace": copy.namespace, "annotations": annotations});
    let labels = texts("/metadata/labels");
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    if let Some(owners) = super::owners(canary, options, super::find(current, &copy)) {
        metadata["ownerReferences"] = owners;
    }
    let object = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec});
    Ok(Change { apply: vec![object], cookies: None })
}

/// The weights that the copy's annotations give. A test by header or cookie counts as all or nothing.
pub fn weights(canary: &Canary, options: &Options, current: &[Value]) -> Result<Weights, Error> {
    let [_, copy] = references(canary)?;
    let ingress = super::existing(current, &copy, KIND)?;
    let annotation = |kind: &str| {
        let key = format!("{}/canary-{kind}", options.ingress_annotations_prefix);
        ingress.pointer("/metadata/annotations")?.get(&key)?.as_str()
    };
    let share = if !tests(canary).is_empty() {
        if annotation("by-header").or_else(|| annotation("by-cookie")).is_some() { 100 } else { 0 }
    } else {
        let share = annotation("weight").unwrap_or("0");
        share.parse::<u32>().ok().filter(|&share| share <= 100).ok_or_else(|| Error::Unreadable {
            kind: KIND,
            name: copy.name.clone(),
            namespace: copy.namespace.clone(),
            problem: format!("has the weight {share:?}, which is not a number from 0 to 100"),
        })?
    };
    Ok(Weights { primary: 100 - share, canary: share, mirrored: false })
}

/// Points the paths that lead to the apex service at the canary; whether there was one.
fn redirect(canary: &Canary, spec: &mut Value) -> bool {
    let (apex, _, canary_service) = service_names(canary);
    let rules = spec.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
    let paths = rules.filter_map(|rule| rule.pointer_mut("/http/paths")?.as_array_mut()).flatten();
    let mut found = false;
    for name in paths.filter_map(|path| path.pointer_mut("/backend/service/name")) {
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

/// Whether an object is a copy made here: all of its labels, annotations and spec are ours.
pub fn is_copy(object: &Value) -> bool {
    object["kind"] == KIND
        && object.pointer("/metadata/annotations").and_then(Value::as_object).is_some_and(|annotations| {
            annotations.iter().any(|(key, value)| key.ends_with("/canary") && value == "true")
        })
        && list(&object["spec"], "rules").iter().any(Value::is_object)
}
