//! Contour: one HTTPProxy without a host name, which a root HTTPProxy includes.
//!
//! Source: reference progressive-delivery.md, E "Contour".

use api::{
    flagger::{Canary, StringMatch},
    meta::ObjectReference,
};
use serde_json::{Value, json};

use super::{Change, Error, Options, Weights, list, service_names, share};

const KIND: &str = "HTTPProxy";

/// The HTTPProxy of a Canary.
pub fn reference(canary: &Canary) -> ObjectReference {
    super::reference(canary, "projectcontour.io/v1", KIND, canary.service_name())
}

/// One route with both services; for A/B testing, before it, one that asks for the headers.
pub fn routes(canary: &Canary, options: &Options, weights: Weights, current: &[Value]) -> Result<Change, Error> {
    let prefix = canary.spec.service.matches.first().and_then(|first| first.uri.as_ref()?.prefix.clone());
    let prefix = prefix.filter(|prefix| !prefix.is_empty()).unwrap_or_else(|| "/".into());
    let analysis = canary.analysis();
    let headers = analysis.matches.iter().flat_map(|request| &request.headers);
    let conditions = headers
        .map(|(name, value)| Ok(json!({"prefix": prefix, "header": header(name, value)?})))
        .collect::<Result<Vec<_>, Error>>()?;
    let plain = [json!({"prefix": prefix})];
    let routes = if conditions.is_empty() {
        vec![route(canary, &plain, weights)]
    } else {
        vec![route(canary, &conditions, weights), route(canary, &plain, Weights::PRIMARY)]
    };
    let mut spec = json!({ "routes": routes });
    if !options.ingress_class.is_empty() {
        spec["ingressClassName"] = json!(options.ingress_class);
    }
    let proxy = json!({
        "apiVersion": reference(canary).api_version,
        "kind": KIND,
        "metadata": super::metadata(canary, options, super::find(current, &reference(canary))),
        "spec": spec,
    });
    Ok(Change { apply: vec![proxy], cookies: None })
}

/// The weights of the first route.
pub fn weights(canary: &Canary, current: &[Value]) -> Result<Weights, Error> {
    let proxy = super::existing(current, &reference(canary), KIND)?;
    let (_, primary, canary_service) = service_names(canary);
    let services = proxy.pointer("/spec/routes/0").map_or(&[] as &[Value], |route| list(route, "services"));
    match (share(services, &primary), share(services, &canary_service)) {
        (Some(primary), Some(canary)) => Ok(Weights { primary, canary, mirrored: false }),
        _ => {
            Err(super::unreadable(canary, KIND, "has no first route with both the primary and the canary as services"))
        }
    }
}

fn route(canary: &Canary, conditions: &[Value], weights: Weights) -> Value {
    let (_, primary, canary_service) = service_names(canary);
    let spec = &canary.spec.service;
    let service = |name: &str, weight: u32| {
        // Linkerd's proxy in front of Contour needs to be told the real destination.
        let target = format!("{name}.{}.svc.cluster.local:{}", canary.namespace(), spec.port);
        json!({
            "name": name,
            "port": spec.port,
            "weight": weight,
            "requestHeadersPolicy": {"set": [{"name": "l5d-dst-override", "value": target}]},
        })
    };
    let services = [service(&primary, weights.primary), service(&canary_service, weights.canary)];
    let mut route = json!({ "conditions": conditions, "services": services });
    if let Some(timeout) = spec.timeout.as_deref().filter(|timeout| !timeout.is_empty()) {
        route["timeoutPolicy"] = json!({"response": timeout, "idle": "5m"});
    }
    if let Some(retries) = &spec.retries {
        let mut policy = json!({ "count": retries.attempts });
        if let Some(timeout) = &retries.per_try_timeout {
            policy["perTryTimeout"] = json!(timeout);
        }
        if let Some(on) = retries.retry_on.as_deref().filter(|on| !on.is_empty()) {
            policy["retryOn"] = on.split(',').map(str::trim).collect();
        }
        route["retryPolicy"] = policy;
    }
    route
}

/// A header condition. Contour knows neither prefix nor suffix: a part of the value must do.
/// Differs: regular expressions, which Contour has learned since, are handed on; the original leaves them out.
fn header(name: &str, value: &StringMatch) -> Result<Value, Error> {
    let kinds =
        [("exact", &value.exact), ("contains", &value.prefix), ("contains", &value.suffix), ("regex", &value.regex)];
    let found =
        kinds.into_iter().find_map(|(kind, text)| Some((kind, text.as_deref().filter(|text| !text.is_empty())?)));
    let (kind, text) =
        found.ok_or_else(|| Error::Invalid(format!("Contour needs a value to match header {name} with")))?;
    Ok(json!({"name": name, kind: text}))
}
