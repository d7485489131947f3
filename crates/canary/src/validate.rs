//! What a Canary may not ask for, beyond what its schema says. Source: reference progressive-delivery.md, B.1.

use api::flagger::Canary;

use crate::workload::Kind;

/// Whether references may leave the Canary's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// They may.
    Anywhere,
    /// They may not (`--no-cross-namespace-refs`).
    OwnNamespace,
}

/// Whether the Canary can be worked on. The texts are the reference's.
pub fn validate(canary: &Canary, references: References) -> Result<(), String> {
    if references == References::OwnNamespace {
        own_namespace(canary)?;
    }
    knative(canary)?;
    canary.additions()?;
    let affinity = canary.spec.analysis.as_ref().and_then(|analysis| analysis.session_affinity.as_ref());
    match affinity {
        Some(affinity) if affinity.primary_cookie_name.as_ref() == Some(&affinity.cookie_name) => {
            Err("can't use the same cookie name for both primary and cookie name; please update them to be different"
                .into())
        }
        _ => Ok(()),
    }
}

fn own_namespace(canary: &Canary) -> Result<(), String> {
    let own = canary.namespace();
    let check = |what: &str, name: &str, namespace: Option<&str>| match namespace {
        Some(other) if !other.is_empty() && other != own => {
            Err(format!("can't access {what} {name}.{other}, cross-namespace references are blocked"))
        }
        _ => Ok(()),
    };
    if let Some(upstream) = &canary.spec.upstream_ref {
        check("gloo upstream", &upstream.name, upstream.namespace.as_deref())?;
    }
    let analysis = canary.analysis();
    for template in analysis.metrics.iter().filter_map(|metric| metric.template_ref.as_ref()) {
        check("metric template", &template.name, template.namespace.as_deref())?;
    }
    for alert in &analysis.alerts {
        check("alert provider", &alert.provider_ref.name, alert.provider_ref.namespace.as_deref())?;
    }
    Ok(())
}

fn knative(canary: &Canary) -> Result<(), String> {
    let provider = canary.spec.provider.as_deref().unwrap_or_default();
    let target = &canary.spec.target_ref;
    match (Kind::of(canary), provider) {
        (Kind::Knative, _) if canary.spec.autoscaler_ref.is_some() => {
            Err("can't use autoscaler with Knative Service".into())
        }
        (Kind::Knative, "knative") => Ok(()),
        (Kind::Knative, provider) => Err(format!("can't use {provider} provider with Knative Service as target")),
        (_, "knative") => {
            Err(format!("can't use {}/{} as target if provider is set to knative", target.api_version, target.kind))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cases;

    #[test]
    fn what_the_reference_refuses_is_refused() {
        let mut seen = 0;
        for line in cases::text("canary/misc.jsonl").lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            if case["kind"] != "validate" {
                continue;
            }
            let references = match case["noCrossNamespaceRefs"] == true {
                true => References::OwnNamespace,
                false => References::Anywhere,
            };
            let canary = cases::canary(&json!({"metadata": {"namespace": case["namespace"]}, "spec": case["spec"]}));
            let expected = case["expectedError"].as_str();
            assert_eq!(validate(&canary, references).err().as_deref(), expected, "{}", case["name"]);
            seen += 1;
        }
        assert!(seen > 5);
    }
}
