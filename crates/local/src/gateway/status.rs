//! What the gateway says about Gateways and HTTPRoutes in their status. Pure.
//!
//! Source: Gateway API v1, condition types and reasons of `Gateway`, `Listener` and `HTTPRoute`.

use std::{collections::BTreeSet, net::SocketAddr};

use api::{
    Condition,
    conditions::{self, New, Status},
    gateway::{Gateway, HttpRoute, Listener, ListenerStatus},
};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::compile::{Compiled, Refusal, Verdict, listener_refusal};

/// `controllerName` in the status of routes.
pub const CONTROLLER_NAME: &str = "slipway.dev/local-gateway";

/// What came of opening the socket of a listener.
pub type Opened = Result<SocketAddr, String>;

/// The status of a Gateway as a merge patch. `opened` tells of a listener's socket; none means that it was not tried.
pub fn gateway(
    gateway: &Gateway,
    compiled: &Compiled,
    opened: impl Fn(&Listener) -> Option<Opened>,
    now: Timestamp,
) -> Value {
    let generation = gateway.metadata.generation.unwrap_or_default();
    let mut addresses = BTreeSet::new();
    let mut troubles = Vec::new();
    let mut listeners = Vec::new();
    for spec in &gateway.spec.listeners {
        let opened = opened(spec);
        addresses.extend(opened.iter().flatten().map(|address| address.ip().to_string()));
        let programmed = programmed(spec, opened);
        troubles
            .extend(programmed.as_ref().err().map(|refusal| format!("listener {}: {}", spec.name, refusal.message)));
        listeners.push(listener(gateway, spec, programmed, compiled, now));
    }
    let refused = gateway.spec.listeners.iter().filter(|spec| listener_refusal(spec).is_some()).count();
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"type": "IPAddress", "value": ip})).collect();
    let mut conditions = gateway.status.clone().unwrap_or_default().conditions;
    let valid = if refused == gateway.spec.listeners.len() {
        Err(Refusal { reason: "ListenersNotValid", message: troubles.join("; ") })
    } else {
        Ok("the Gateway is served on this machine".to_owned())
    };
    set(&mut conditions, "Accepted", "Accepted", valid, generation, now);
    let programmed = if troubles.is_empty() {
        Ok("all listeners are open".to_owned())
    } else {
        Err(Refusal { reason: "AddressNotUsable", message: troubles.join("; ") })
    };
    set(&mut conditions, "Programmed", "Programmed", programmed, generation, now);
    json!({"addresses": addresses, "conditions": conditions, "listeners": listeners})
}

/// Whether a listener is open, and where.
fn programmed(spec: &Listener, opened: Option<Opened>) -> Result<String, Refusal> {
    match (listener_refusal(spec), opened) {
        (Some(refusal), _) => Err(Refusal { reason: "Invalid", ..refusal }),
        (None, Some(Ok(address))) => Ok(format!("listening on {address}")),
        (None, Some(Err(trouble))) => Err(Refusal { reason: "Invalid", message: trouble }),
        (None, None) => Err(Refusal { reason: "Pending", message: "the listener is not open yet".into() }),
    }
}

fn listener(
    gateway: &Gateway,
    spec: &Listener,
    programmed: Result<String, Refusal>,
    compiled: &Compiled,
    now: Timestamp,
) -> ListenerStatus {
    let generation = gateway.metadata.generation.unwrap_or_default();
    let previous = gateway.status.as_ref().map(|status| status.listeners.as_slice()).unwrap_or_default();
    let before = previous.iter().find(|listener| listener.name == spec.name);
    let mut conditions = before.map(|listener| listener.conditions.clone()).unwrap_or_default();
    let accepted = listener_refusal(spec).map_or(Ok("the listener is valid".to_owned()), Err);
    set(&mut conditions, "Accepted", "Accepted", accepted, generation, now);
    set(&mut conditions, "Programmed", "Programmed", programmed, generation, now);
    let resolved = Ok("the listener refers to nothing".to_owned());
    set(&mut conditions, "ResolvedRefs", "ResolvedRefs", resolved, generation, now);
    let key = (gateway.namespace().unwrap_or_default(), gateway.name_any(), spec.name.clone());
    let kinds = json!([{"group": api::gateway::GROUP, "kind": "HTTPRoute"}]);
    ListenerStatus {
        name: spec.name.clone(),
        attached_routes: compiled.attached.get(&key).copied().unwrap_or_default(),
        conditions,
        extra: [("supportedKinds".to_owned(), kinds)].into(),
    }
}

/// The status of an HTTPRoute as a merge patch: one entry for each parent that is a Gateway.
pub fn route(route: &HttpRoute, verdicts: &[Verdict], now: Timestamp) -> Value {
    let generation = route.metadata.generation.unwrap_or_default();
    let previous = route.status.clone().unwrap_or_default();
    let parents = verdicts.iter().map(|verdict| {
        let own = |parent: &&api::gateway::RouteParentStatus| {
            parent.parent_ref == verdict.parent && parent.controller_name == CONTROLLER_NAME
        };
        let mut conditions =
            previous.parents.iter().find(own).map(|parent| parent.conditions.clone()).unwrap_or_default();
        let accepted = verdict.accepted.clone().map(|()| "the route is served".to_owned());
        set(&mut conditions, "Accepted", "Accepted", accepted, generation, now);
        let resolved = verdict.resolved.clone().map(|()| "all backends exist".to_owned());
        set(&mut conditions, "ResolvedRefs", "ResolvedRefs", resolved, generation, now);
        json!({"parentRef": verdict.parent, "controllerName": CONTROLLER_NAME, "conditions": conditions})
    });
    json!({"parents": parents.collect::<Vec<_>>()})
}

fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    good: &str,
    outcome: Result<String, Refusal>,
    generation: i64,
    now: Timestamp,
) {
    let (status, reason, message) = match &outcome {
        Ok(message) => (Status::True, good, message),
        Err(refusal) => (Status::False, refusal.reason, &refusal.message),
    };
    conditions::set(conditions, New { kind, status, reason, message, generation }, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::conditions::find;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_route_tells_of_its_own_generation() {
        let mut object: HttpRoute = serde_json::from_value(json!({"apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute", "metadata": {"name": "r", "generation": 3}, "spec": {"parentRefs": [{"name": "gw"}]}}))
        .unwrap();
        let parent = object.spec.parent_refs[0].clone();
        let good = Verdict { parent: parent.clone(), accepted: Ok(()), resolved: Ok(()) };
        object.status = serde_json::from_value(route(&object, std::slice::from_ref(&good), at(1))).unwrap();
        object.metadata.generation = Some(4);
        let bad = Verdict { accepted: Err(Refusal::unsupported("x")), ..good };
        let status: api::gateway::HttpRouteStatus = serde_json::from_value(route(&object, &[bad], at(2))).unwrap();
        let conditions = &status.parents[0].conditions;
        let accepted = find(conditions, "Accepted").unwrap();
        assert_eq!((accepted.status.as_str(), accepted.observed_generation), ("False", Some(4)));
        assert_eq!(accepted.last_transition_time.0, at(2));
        assert_eq!(find(conditions, "ResolvedRefs").unwrap().last_transition_time.0, at(1));
    }

    #[test]
    fn a_gateway_tells_what_keeps_it_from_listening() {
        let object: Gateway = serde_json::from_value(json!({"apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway", "metadata": {"name": "gw"}, "spec": {"gatewayClassName": "x", "listeners": [
                {"name": "good", "port": 8080, "protocol": "HTTP"}, {"name": "tls", "port": 443, "protocol": "HTTPS"}]}}))
        .unwrap();
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let opened = |listener: &Listener| (listener.name == "good").then_some(Ok(address));
        let status = gateway(&object, &Compiled::default(), opened, at(1));
        let read: api::gateway::GatewayStatus = serde_json::from_value(status).unwrap();
        assert_eq!(find(&read.conditions, "Accepted").unwrap().status, "True");
        let programmed = find(&read.conditions, "Programmed").unwrap();
        assert_eq!((programmed.status.as_str(), programmed.reason.as_str()), ("False", "AddressNotUsable"));
        assert!(programmed.message.contains("listener tls: protocol \"HTTPS\""), "{}", programmed.message);
        assert_eq!(read.addresses[0].value, "127.0.0.1");
        let listening = find(&read.listeners[0].conditions, "Programmed").unwrap();
        assert_eq!(listening.message, "listening on 127.0.0.1:8080");
    }
}
