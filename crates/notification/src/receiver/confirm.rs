//! What a call says was pushed, for Receivers that have it confirmed by the registry. Pure.
//!
//! Differs: Flux believes whoever knows the path of services that sign nothing.

use api::notification::{Receiver, ReceiverType};
use expression::Expression;
use kube::ResourceExt as _;
use serde_json::Value;

use super::{Hook, Refusal, payload, readiness};

/// Annotation: the registry must have the tag or digest that a call names before a scan is done. `true` for the services
/// whose calls name one; for others, an expression over `req` that gives one or a list of them.
pub const CONFIRM: &str = "notification.slipway.dev/confirm";

/// Most tags and digests of one call that are looked at.
const MAX_NAMES: usize = 16;
/// Longest tag or digest. Source: OCI distribution specification 1.1, a tag has up to 128 characters.
const MAX_NAME_BYTES: usize = 160;

/// Where a call names what was pushed.
#[derive(Debug)]
pub enum Confirm {
    /// Where the service has it.
    Service(ReceiverType),
    /// Where the expression finds it.
    Expression(Expression),
}

/// What the Receiver asks for; none if calls are believed. Errs where it cannot be done.
pub fn read(receiver: &Receiver) -> Result<Option<Confirm>, String> {
    let Some(text) = receiver.annotations().get(CONFIRM) else { return Ok(None) };
    let invalid = |problem: String| format!("annotation {CONFIRM}: {problem}");
    if let Some(other) = receiver.spec.resources.iter().find(|resource| resource.kind != "ImageRepository") {
        return Err(invalid(format!("a registry can confirm nothing for a {}", other.kind)));
    }
    match (text.as_str(), receiver.spec.kind) {
        ("true", Some(kind @ (ReceiverType::Dockerhub | ReceiverType::Quay | ReceiverType::Acr))) => {
            Ok(Some(Confirm::Service(kind)))
        }
        ("true", _) => Err(invalid("calls of this type have no fixed place for a tag; give an expression".into())),
        (source, _) => {
            let expression = readiness::call(source).map_err(|error| invalid(error.to_string()))?;
            Ok(Some(Confirm::Expression(expression)))
        }
    }
}

impl Confirm {
    /// The tags and digests that the call names, at least one.
    pub fn names(&self, kind: Option<ReceiverType>, hook: Hook<'_>) -> Result<Vec<String>, Refusal> {
        let found = match self {
            Self::Service(kind) => payload::pushed(*kind, hook.body)?,
            Self::Expression(expression) => {
                let request = payload::request(kind, hook)?;
                expression.value(&[("req", &request)]).map_err(|error| Refusal::new(error.to_string()))?
            }
        };
        let texts = match &found {
            Value::Array(items) => items.iter().collect(),
            other => vec![other],
        };
        let names: Vec<String> = texts.into_iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if names.is_empty() || names.len() > MAX_NAMES || !names.iter().all(|name| is_name(name)) {
            return Err(Refusal::new("the call names no tag or digest that a registry could confirm"));
        }
        Ok(names)
    }
}

/// Whether the text can be a tag or digest.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.starts_with(['.', '-', ':']) && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn receiver(kind: &str, confirm: &str, resource: &str) -> Receiver {
        serde_json::from_value(json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
            "metadata": {"name": "r", "annotations": {CONFIRM: confirm}},
            "spec": {"type": kind, "secretRef": {"name": "t"}, "resources": [{"kind": resource, "name": "app"}]}}))
        .expect("a receiver")
    }

    fn named(kind: &str, confirm: &str, body: &Value) -> Result<Vec<String>, Refusal> {
        let receiver = receiver(kind, confirm, "ImageRepository");
        let confirm = read(&receiver).expect("read").expect("given");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static("application/json"));
        confirm.names(receiver.spec.kind, Hook { headers: &headers, body: body.to_string().as_bytes() })
    }

    #[test]
    fn each_service_names_what_was_pushed() {
        let one = |name: &str| Ok(vec![name.to_owned()]);
        assert_eq!(named("dockerhub", "true", &json!({"push_data": {"tag": "1.0"}, "repository": {}})), one("1.0"));
        let quay = json!({"docker_url": "quay.io/a/b", "updated_tags": ["1", "latest"]});
        assert_eq!(named("quay", "true", &quay), Ok(vec!["1".into(), "latest".into()]));
        let acr = |target: Value| json!({"action": "push", "target": target});
        assert_eq!(named("acr", "true", &acr(json!({"tag": "v1", "digest": "sha256:ab"}))), one("v1"));
        assert_eq!(named("acr", "true", &acr(json!({"digest": "sha256:ab"}))), one("sha256:ab"));
        assert_eq!(named("generic", "req.image.split(':').last().value()", &json!({"image": "a/b:2"})), one("2"));
        assert_eq!(named("generic", "req.tags", &json!({"tags": ["a", "b"]})), Ok(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn a_call_that_names_nothing_is_refused() {
        for tags in [json!([]), json!(null), json!(["../x"]), json!(["a b"]), json!([""]), json!(vec!["t"; 17])] {
            assert!(named("quay", "true", &json!({"updated_tags": tags})).is_err(), "{tags}");
        }
        assert!(named("generic", "req.tag", &json!({})).is_err());
    }

    #[test]
    fn what_cannot_be_confirmed_is_refused_before_calls_come() {
        for (kind, confirm, resource, why) in [
            ("quay", "true", "GitRepository", "can confirm nothing for a GitRepository"),
            ("generic", "true", "ImageRepository", "give an expression"),
            ("generic", "res.x", "ImageRepository", "undeclared reference"),
        ] {
            let problem = read(&receiver(kind, confirm, resource)).expect_err("refused");
            assert!(problem.contains(why), "{problem}");
        }
    }
}
