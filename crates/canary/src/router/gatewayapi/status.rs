//! What the parents of a route say about it: whether the weights as written are in effect.

use api::meta::ObjectReference;
use serde_json::Value;

use crate::router::{Error, list, list_at, unreadable};

/// Conditions that must hold, of those that a parent gives. The second is false while a Service is missing, and then
/// requests are answered with 500; the third is given by implementations that tell when their proxies have the route.
const CONDITIONS: [&str; 3] = ["Accepted", "ResolvedRefs", "Programmed"];

/// An error while a parent has not taken over the route as it is now. A route that no parent has said anything about is
/// in effect: there are implementations without a status.
pub fn in_effect(reference: &ObjectReference, route: &Value) -> Result<(), Error> {
    let generation = route.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let said = list_at(route, "/status/parents");
    for parent in said {
        let name = parent["parentRef"]["name"].as_str().unwrap_or_default();
        for condition in list(parent, "conditions") {
            let Some(kind) = CONDITIONS.iter().find(|kind| condition["type"] == **kind) else { continue };
            if condition["observedGeneration"].as_i64().unwrap_or_default() < generation {
                return Err(unreadable(reference, format!("is not yet observed by its parent {name}")));
            }
            if condition["status"] != "True" {
                let message = condition["message"].as_str().unwrap_or_default();
                let act = match *kind {
                    "Accepted" => "accepted",
                    "ResolvedRefs" => "resolved",
                    _ => "programmed",
                };
                return Err(unreadable(reference, format!("is not {act} by its parent {name}: {message}")));
            }
        }
    }
    let is_meant = |wanted: &Value, found: &Value| {
        ["name", "sectionName", "port"].iter().all(|member| wanted.get(member) == found.get(member))
    };
    let wanted = list_at(route, "/spec/parentRefs");
    let silent = wanted.iter().find(|wanted| !said.iter().any(|said| is_meant(wanted, &said["parentRef"])));
    match silent {
        Some(parent) if !said.is_empty() => {
            let name = parent["name"].as_str().unwrap_or_default();
            Err(unreadable(reference, format!("is not yet observed by its parent {name}")))
        }
        _ => Ok(()),
    }
}
