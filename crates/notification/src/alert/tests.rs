//! Tables for the choice of Alerts.

use api::notification::AlertSpec;
use reconcile::event::InvolvedObject;

use super::*;

fn alert(spec: serde_json::Value) -> Alert {
    let mut fields =
        serde_json::json!({"providerRef": {"name": "chat"}, "eventSources": [{"kind": "Canary", "name": "*"}]});
    fields.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let spec: AlertSpec = serde_json::from_value(fields).unwrap();
    let mut alert = Alert::new("all", spec);
    alert.metadata.namespace = Some("apps".into());
    alert
}

pub(crate) fn event() -> Event {
    let reference = api::meta::ObjectReference {
        api_version: "flagger.app/v1beta1".into(),
        kind: "Canary".into(),
        namespace: "apps".into(),
        name: "podinfo".into(),
    };
    Event {
        involved_object: InvolvedObject { reference, uid: "u".into(), resource_version: "7".into() },
        severity: Severity::Info,
        timestamp: "2026-01-02T03:04:05Z".parse().unwrap(),
        message: "Advance podinfo.apps canary weight 10".into(),
        reason: "Synced".into(),
        metadata: BTreeMap::new(),
        reporting_controller: "flagger".into(),
        reporting_instance: "slipway".into(),
        count: 3,
    }
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

#[test]
fn sources_and_lists_decide_in_order() {
    let source = |source: serde_json::Value| serde_json::json!({ "eventSources": [source] });
    for (spec, expected) in [
        (serde_json::json!({}), true),
        (serde_json::json!({"suspend": true}), false),
        (serde_json::json!({"eventSources": []}), false),
        (source(serde_json::json!({"kind": "Canary", "name": "podinfo"})), true),
        (source(serde_json::json!({"kind": "Canary", "name": "other"})), false),
        (source(serde_json::json!({"kind": "canary", "name": "*"})), false),
        (source(serde_json::json!({"kind": "Canary", "name": "*", "namespace": "other"})), false),
        (source(serde_json::json!({"kind": "Canary", "name": "*", "namespace": "apps"})), true),
        (source(serde_json::json!({"kind": "Canary", "name": "*", "matchLabels": {"team": "a"}})), true),
        (source(serde_json::json!({"kind": "Canary", "name": "*", "matchLabels": {"team": "b"}})), false),
        (serde_json::json!({"eventSeverity": "error"}), false),
        (serde_json::json!({"inclusionList": ["weight [0-9]+"]}), true),
        (serde_json::json!({"inclusionList": ["^weight"]}), false),
        (serde_json::json!({"inclusionList": ["advance"]}), false),
        (serde_json::json!({"exclusionList": ["weight"]}), false),
        (serde_json::json!({"inclusionList": ["weight"], "exclusionList": ["podinfo"]}), false),
    ] {
        let verdict = verdict(&alert(spec.clone()), &event(), &map(&[("team", "a")]));
        assert_eq!((verdict.takes, verdict.problems.len()), (expected, 0), "{spec}");
    }
}

#[test]
fn errors_pass_every_severity() {
    let error = Event { severity: Severity::Error, ..event() };
    for severity in ["info", "error"] {
        assert!(verdict(&alert(serde_json::json!({ "eventSeverity": severity })), &error, &map(&[])).takes);
    }
}

#[test]
fn unreadable_patterns_are_skipped_and_told() {
    let found = verdict(
        &alert(serde_json::json!({"inclusionList": ["(", "weight"], "exclusionList": ["["]})),
        &event(),
        &map(&[]),
    );
    assert!(found.takes);
    assert_eq!(
        found.problems,
        [
            r#"inclusionList: "(" is not a regular expression and is skipped"#,
            r#"exclusionList: "[" is not a regular expression and is skipped"#
        ]
    );
}

#[test]
fn labels_are_asked_for_only_where_they_decide() {
    let source = |name: &str| serde_json::json!({"eventSources": [{"kind": "Canary", "name": name, "matchLabels": {"team": "a"}}]});
    assert!(needs_labels(&alert(source("*")), &event()));
    assert!(!needs_labels(&alert(source("other")), &event()));
    assert!(!needs_labels(&alert(serde_json::json!({})), &event()));
}

#[test]
fn facts_are_merged_from_weak_to_strong() {
    let alert = alert(
        serde_json::json!({"summary": "prod", "eventMetadata": {"env": "prod", "summary": "s", "revision": "x", "note": "alert"}}),
    );
    let facts = map(&[
        ("env", "annotated"),
        ("team", "annotated"),
        ("note", "alert"),
        ("revision", "main@sha1:1"),
        ("token", "t"),
        ("digest", "d"),
    ]);
    let event = Event { metadata: facts, ..event() };
    let found = outgoing(&alert, &event, &map(&[("env", "annotated"), ("team", "annotated")]));
    let expected = map(&[
        ("env", "prod"),
        ("team", "annotated"),
        ("note", "alert"),
        ("revision", "main@sha1:1"),
        ("summary", "prod"),
    ]);
    assert_eq!(found.event.metadata, expected);
    assert_eq!(found.conflicts, ["env", "summary", "revision"]);
    assert_eq!(found.event.count, 1);
}

#[test]
fn posted_annotations_are_weaker_than_the_alert_whatever_the_object_says_now() {
    let alert = alert(serde_json::json!({"summary": "S", "eventMetadata": {"env": "alert"}}));
    let (env, own) = ("event.toolkit.fluxcd.io/env", "flagger.app/env");
    for (posted, live, expected, conflicts) in [
        (vec![(env, "obj")], vec![], "alert", vec!["env"]),
        (vec![(env, "obj")], vec![("env", "changed since")], "alert", vec!["env"]),
        (vec![(own, "obj")], vec![], "obj", vec!["env"]),
        // We post annotations under the group: only the object tells them from facts.
        (vec![(own, "obj")], vec![("env", "obj")], "alert", vec!["env"]),
        (vec![(env, "obj"), (own, "fact")], vec![], "fact", vec!["env", "env"]),
        (vec![(env, "obj"), (own, "obj")], vec![("env", "obj")], "obj", vec!["env", "env"]),
    ] {
        let metadata =
            map(&[&posted[..], &[("event.toolkit.fluxcd.io/summary", "S"), ("other/x", "dropped")]].concat());
        let read = crate::intake::read(&serde_json::to_vec(&Event { metadata, ..event() }).unwrap()).unwrap();
        let found = outgoing(&alert, &read, &map(&live));
        assert_eq!(found.event.metadata, map(&[("env", expected), ("summary", "S")]), "{posted:?} {live:?}");
        assert_eq!(found.conflicts, conflicts, "{posted:?} {live:?}");
    }
}

#[test]
fn a_posted_summary_gives_way_to_the_alerts() {
    let metadata = map(&[("event.toolkit.fluxcd.io/summary", "obj")]);
    let told =
        |spec| outgoing(&alert(spec), &Event { metadata: metadata.clone(), ..event() }, &map(&[])).event.metadata;
    assert_eq!(told(serde_json::json!({"summary": "S"})), map(&[("summary", "S")]));
    assert_eq!(told(serde_json::json!({})), map(&[("summary", "obj")]));
}
