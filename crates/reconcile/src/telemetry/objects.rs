//! What is known of every object, as Flux's dashboards ask for it. Kept small and written out when a scraper comes.
//! Source: reference delivery.md section 6, image-automation.md section 3.1.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use api::{conditions::READY, meta::ObjectReference};
use serde_json::Value;

use super::{ObjectLabels, escaped};

/// The statuses of a condition; `Deleted` is Flux's for an object that is gone.
const STATUSES: [&str; 4] = ["True", "False", "Unknown", "Deleted"];

/// The objects of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects(Arc<Mutex<BTreeMap<ObjectLabels, Known>>>);

/// What is told of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    api_version: String,
    /// Status of the condition Ready.
    ready: Option<String>,
    revision: Option<String>,
    is_suspended: bool,
}

impl Objects {
    /// Takes note of an object as it is now.
    pub(super) fn note(&self, object: &Value) {
        let Some(id) = ObjectReference::of(object) else { return };
        let labels = ObjectLabels { kind: id.kind, name: id.name, namespace: id.namespace };
        let known = Known {
            api_version: id.api_version,
            ready: ready(object),
            revision: ["/status/artifact/revision", "/status/lastAppliedRevision", "/status/latestRef/tag"]
                .into_iter()
                .find_map(|pointer| object.pointer(pointer)?.as_str().map(str::to_owned)),
            is_suspended: object.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(labels, known);
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, labels: &ObjectLabels) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(labels);
    }

    /// Writes them in the Prometheus text format, without the end mark.
    pub(super) fn write(&self, page: &mut impl Write) -> fmt::Result {
        let objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        family(
            page,
            "gotk_reconcile_condition",
            "The current condition status of a GitOps Toolkit resource reconciliation.",
        )?;
        for (labels, known) in objects.iter() {
            let Some(status) = &known.ready else { continue };
            let labels = written(labels);
            for one in STATUSES {
                let value = u8::from(one == status);
                writeln!(page, "gotk_reconcile_condition{{{labels},type=\"{READY}\",status=\"{one}\"}} {value}")?;
            }
        }
        family(page, "gotk_suspend_status", "The current suspend status of a GitOps Toolkit resource.")?;
        for (labels, known) in objects.iter() {
            writeln!(page, "gotk_suspend_status{{{}}} {}", written(labels), u8::from(known.is_suspended))?;
        }
        family(page, "gotk_resource_info", "The current state of a GitOps Toolkit resource.")?;
        objects.iter().try_for_each(|(labels, known)| writeln!(page, "gotk_resource_info{{{}}} 1", info(labels, known)))
    }
}

fn family(page: &mut impl Write, name: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge")
}

fn ready(object: &Value) -> Option<String> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|condition| condition["type"] == READY)?;
    Some(found["status"].as_str()?.to_owned())
}

fn written(labels: &ObjectLabels) -> String {
    let ObjectLabels { kind, name, namespace } = labels;
    format!("kind=\"{}\",name=\"{}\",namespace=\"{}\"", escaped(kind), escaped(name), escaped(namespace))
}

/// The labels that Flux has kube-state-metrics write.
fn info(labels: &ObjectLabels, known: &Known) -> String {
    let (group, version) = known.api_version.split_once('/').unwrap_or(("", &known.api_version));
    let ready = known.ready.as_deref().unwrap_or("Unknown");
    let pairs = [
        ("customresource_group", group),
        ("customresource_version", version),
        ("customresource_kind", labels.kind.as_str()),
        ("exported_namespace", labels.namespace.as_str()),
        ("name", labels.name.as_str()),
        ("ready", ready),
        ("suspended", if known.is_suspended { "true" } else { "false" }),
        ("revision", known.revision.as_deref().unwrap_or_default()),
    ];
    pairs.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(objects: &Objects) -> String {
        let mut text = String::new();
        objects.write(&mut text).expect("a String takes all");
        text
    }

    #[test]
    fn an_object_is_told_until_it_is_gone() {
        let objects = Objects::default();
        let object = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system"}, "spec": {"suspend": true},
            "status": {"conditions": [{"type": "Ready", "status": "False"}], "lastAppliedRevision": "main@sha1:abc"}});
        objects.note(&object);
        let told = text(&objects);
        let labels = r#"kind="Kustomization",name="apps",namespace="flux-system""#;
        assert!(
            told.contains(&format!("gotk_reconcile_condition{{{labels},type=\"Ready\",status=\"False\"}} 1")),
            "{told}"
        );
        assert!(
            told.contains(&format!("gotk_reconcile_condition{{{labels},type=\"Ready\",status=\"True\"}} 0")),
            "{told}"
        );
        assert!(told.contains(&format!("gotk_suspend_status{{{labels}}} 1")), "{told}");
        let info = r#"customresource_kind="Kustomization",exported_namespace="flux-system",name="apps",ready="False",suspended="true",revision="main@sha1:abc"} 1"#;
        assert!(told.contains(info), "{told}");
        objects.forget(&ObjectLabels {
            kind: "Kustomization".into(),
            name: "apps".into(),
            namespace: "flux-system".into(),
        });
        assert!(!text(&objects).contains("apps"));
    }
}
