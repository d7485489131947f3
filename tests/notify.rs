//! `slipway notify` and `slipway check` on Alerts, Providers and Receivers.

use std::fs;

use reconcile::{Directory, Events, Notice, Store};
use serde_json::{Value, json};

use crate::support::{Run, slipway, slipway_with};

fn event(severity: &str, message: &str, metadata: &Value) -> String {
    json!({"involvedObject": {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "namespace": "apps", "name": "web", "uid": "u-1"},
        "severity": severity, "timestamp": "2026-01-02T03:04:05Z", "message": message, "reason": "ReconciliationFailed", "metadata": metadata,
        "reportingController": "kustomize-controller", "reportingInstance": "pod"})
    .to_string()
}

/// A Provider of the type, its Secret and an Alert that sends it the events of every Kustomization.
fn manifests(provider: &Value, alert: &Value) -> String {
    let meta = |name: &str| json!({"name": name, "namespace": "apps", "uid": format!("uid-{name}")});
    let mut spec = json!({"providerRef": {"name": "sink"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]});
    spec.as_object_mut().expect("an object").extend(alert.as_object().cloned().unwrap_or_default());
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("sink"), "stringData": {"token": "tok"}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "metadata": meta("sink"), "spec": provider}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": meta("all"), "spec": spec}),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

fn notify(provider: &Value, alert: &Value, event: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("alerts.yaml").display().to_string();
    fs::write(&file, manifests(provider, alert)).expect("a file");
    slipway_with(&["notify", "-f", &file, "-e", "-", "-o", "json"], event)
}

#[test]
fn notify_shows_the_request_that_would_be_sent() {
    let secret = json!({"name": "sink"});
    let facts = json!({"kustomize.toolkit.fluxcd.io/revision": "main@sha1:0123456789abcdef", "kustomize.toolkit.fluxcd.io/change_request": "7"});
    let failure = event("error", "it broke", &facts);
    for (spec, methods, url, member) in [
        (
            json!({"type": "slack", "address": "https://slack.example/x", "channel": "ops"}),
            vec!["POST"],
            "https://slack.example/x",
            ("/attachments/0/text", json!("it broke")),
        ),
        (
            json!({"type": "pagerduty", "channel": "KEY"}),
            vec!["POST"],
            "https://events.pagerduty.com/v2/enqueue",
            ("/dedup_key", json!("u-1")),
        ),
        (
            json!({"type": "github", "address": "https://github.com/o/r", "secretRef": secret}),
            vec!["GET", "POST"],
            "https://api.github.com/repos/o/r/statuses/0123456789abcdef",
            ("/context", json!("kustomization/web/uid")),
        ),
        (
            json!({"type": "githubpullrequestcomment", "address": "https://github.com/o/r", "secretRef": secret}),
            vec!["GET", "GET", "POST"],
            "https://api.github.com/repos/o/r/issues/7/comments",
            ("/missing", Value::Null),
        ),
        (
            json!({"type": "googlepubsub", "address": "project", "channel": "topic"}),
            vec!["POST"],
            "https://pubsub.googleapis.com/v1/projects/project/topics/topic:publish",
            ("/missing", Value::Null),
        ),
        (
            json!({"type": "nats", "address": "nats://one:1", "channel": "events"}),
            vec!["PUB"],
            "nats://one:1/events",
            ("/message", json!("it broke")),
        ),
        (
            json!({"type": "otel", "address": "https://otlp.example"}),
            vec!["POST"],
            "https://otlp.example/v1/traces",
            ("/resourceSpans/0/resource/attributes/2/value/stringValue", json!("uid-all")),
        ),
    ] {
        let run = notify(&spec, &json!({}), &failure);
        assert_eq!(run.code, 0, "{spec}: {run:?}");
        let answer = run.json();
        let requests = answer[0]["requests"].as_array().expect("requests");
        let found: Vec<_> = requests.iter().map(|request| request["method"].as_str().unwrap_or_default()).collect();
        assert_eq!(found, methods, "{spec}");
        let last = requests.last().expect("a request");
        assert_eq!(last["url"], url, "{spec}");
        assert_eq!(last["body"].pointer(member.0).cloned().unwrap_or_default(), member.1, "{spec}");
    }
}

#[test]
fn notify_says_why_nothing_is_sent() {
    let slack = json!({"type": "slack", "address": "https://slack.example/x"});
    let info = event("info", "Applied revision", &json!({}));
    for (provider, alert, code, reason) in [
        (&slack, json!({"eventSeverity": "error"}), 1, "the Alert does not take the event"),
        (&slack, json!({"inclusionList": ["applied"]}), 1, "the Alert does not take the event"),
        (&slack, json!({"exclusionList": ["^Applied"]}), 1, "the Alert does not take the event"),
        (&slack, json!({"suspend": true}), 1, "the Alert does not take the event"),
        (&slack, json!({"providerRef": {"name": "other"}}), 2, "Provider apps/other not found"),
        (&json!({"type": "slack", "address": "https://x", "suspend": true}), json!({}), 1, "the Provider is suspended"),
        (&json!({"type": "pigeon", "address": "https://x"}), json!({}), 2, "type pigeon is not supported yet"),
        (
            &json!({"type": "github", "address": "https://github.com/o/r", "secretRef": {"name": "sink"}}),
            json!({}),
            1,
            "the Provider's service does not take the event",
        ),
    ] {
        let run = notify(provider, &alert, &info);
        assert_eq!((run.code, run.json()[0]["reason"].as_str()), (code, Some(reason)), "{alert}: {run:?}");
    }
    let run = notify(&slack, &json!({}), "no event");
    assert_eq!(run.code, 2, "{run:?}");
    let run = notify(&slack, &json!({"inclusionList": ["Applied"]}), &info);
    assert_eq!(run.code, 0, "{run:?}");
}

fn complaints(manifest: &str, arguments: &[&str]) -> Vec<(String, String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("alerts.yaml").display().to_string();
    fs::write(&file, manifest).expect("a file");
    let answer = slipway(&[&["check", &file, "-o", "json"], arguments].concat()).json();
    let rows = answer["findings"].as_array().expect("findings").iter();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(row, "severity"), text(row, "field"), text(row, "message"))).collect()
}

#[test]
fn check_finds_alerts_that_never_fire_and_providers_that_cannot_send() {
    let good = json!({"type": "slack", "address": "https://slack.example/x"});
    assert_eq!(complaints(&manifests(&good, &json!({})), &[]), []);
    for (provider, alert, severity, field, message) in [
        (json!({"type": "pigeon"}), json!({}), "error", "spec.type", "type pigeon is not supported yet"),
        (
            json!({"type": "generic", "address": "ftp://x"}),
            json!({}),
            "error",
            "spec",
            "the address is not an http or https URL of at most 2048 bytes",
        ),
        (
            json!({"type": "telegram", "secretRef": {"name": "sink"}}),
            json!({}),
            "error",
            "spec",
            "type telegram needs spec.channel",
        ),
        (
            good.clone(),
            json!({"inclusionList": ["ok", "("]}),
            "error",
            "spec.inclusionList[1]",
            "\"(\" is not a regular expression and is skipped",
        ),
        (
            good.clone(),
            json!({"inclusionList": ["finished", ".*reconciliation.*", "of our own"]}),
            "warning",
            "spec.inclusionList[1]",
            "\".*reconciliation.*\" does not match \"Reconciliation finished in 1s, next run in 10m0s\": patterns are \
             case-sensitive; (?i) before it lifts that",
        ),
    ] {
        let expected = (severity.to_owned(), field.to_owned(), message.to_owned());
        assert_eq!(complaints(&manifests(&provider, &alert), &[]), [expected], "{provider} {alert}");
    }
    let receiver = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "r"},
        "spec": {"type": "github", "secretRef": {"name": "t"}, "resources": [{"kind": "GitRepository", "name": "a", "filter": "res."}]}});
    let found = complaints(&receiver.to_string(), &[]);
    assert!(found.len() == 1 && found[0].2.contains("failed to parse expression res."), "{found:?}");
}

#[tokio::test]
async fn check_tries_inclusion_lists_on_the_events_that_were_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.db");
    let store = Store::Directory(Directory::open(&state, Vec::new()).await.expect("the store opens"));
    let about = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "web", "namespace": "apps"}});
    let notice = Notice::info("ReconciliationSucceeded", "Reconciliation finished in 1s");
    Events::new(store, "test").publish(&about, "kustomize-controller", &notice).await.expect("an event");
    let good = json!({"type": "slack", "address": "https://slack.example/x"});
    let alert = json!({"inclusionList": ["finished", ".*reconciliation.*"]});
    let state = state.display().to_string();
    let found = complaints(&manifests(&good, &alert), &["--state", &state]);
    let message =
        "\".*reconciliation.*\" matches none of the last 1 events of the sources; patterns are case-sensitive";
    assert_eq!(found, [("warning".to_owned(), "spec.inclusionList[1]".to_owned(), message.to_owned())]);
}
