//! Tables for the requests of each service.

mod comments;
mod queues;

use api::notification::ProviderSpec;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Value, json};

use super::*;

/// The one request that tells.
fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    plan(settings, event, None, now()).map(|plan| plan.tell.into_iter().next().unwrap())
}
use crate::alert::tests::event;

fn now() -> Timestamp {
    "2026-01-02T03:05:00Z".parse().unwrap()
}

fn secret(entries: &[(&str, &str)]) -> Secret {
    let data = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
    Secret { data: Some(data), ..Secret::default() }
}

fn spec(kind: &str) -> ProviderSpec {
    ProviderSpec {
        kind: kind.into(),
        address: "https://hooks.example/x?k=1".into(),
        channel: "ops".into(),
        ..ProviderSpec::default()
    }
}

fn settings(kind: &str, entries: &[(&str, &str)]) -> Settings {
    Settings::read(&spec(kind), Secrets { main: Some(&secret(entries)), ..Secrets::default() }).unwrap()
}

fn header<'a>(request: &'a http::Request<Bytes>, name: &str) -> &'a str {
    request.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

fn body(request: &http::Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap()
}

#[test]
fn generic_posts_the_event_with_the_secrets_headers() {
    let mut event = event();
    event.metadata.insert("revision".into(), "1.0.0".into());
    event.count = 1;
    let request =
        message(&settings("generic", &[("headers", "X-Team: ops\nAuthorization: Bearer t\n")]), &event).unwrap();
    assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "https://hooks.example/x?k=1"));
    assert_eq!(
        ["gotk-component", "x-team", "authorization", "content-type"].map(|name| header(&request, name)),
        ["flagger", "ops", "Bearer t", "application/json"]
    );
    assert_eq!(header(&request, "x-signature"), "");
    let expected = json!({
        "involvedObject": {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "namespace": "apps", "name": "podinfo", "uid": "u", "resourceVersion": "7"},
        "severity": "info", "timestamp": "2026-01-02T03:04:05Z", "message": "Advance podinfo.apps canary weight 10", "reason": "Synced",
        "metadata": {"revision": "1.0.0"}, "reportingController": "flagger", "reportingInstance": "slipway",
    });
    assert_eq!(body(&request), expected);
}

#[test]
fn hmac_signs_the_body() {
    // RFC 4231, test case 2.
    assert_eq!(
        generic::sign(b"Jefe", b"what do ya want for nothing?"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    let request = message(&settings("generic-hmac", &[("token", "key\n")]), &event()).unwrap();
    assert_eq!(header(&request, "x-signature"), format!("sha256={}", generic::sign(b"key", request.body())));
}

#[test]
fn slack_gets_one_coloured_attachment() {
    let mut event = Event { severity: reconcile::Severity::Error, ..event() };
    event.metadata.insert("revision".into(), "1.0.0".into());
    let request = message(
        &settings("slack", &[("token", "xoxb"), ("address", "https://slack.com/api/chat.postMessage")]),
        &event,
    )
    .unwrap();
    assert_eq!((request.uri().path(), header(&request, "authorization")), ("/api/chat.postMessage", "Bearer xoxb"));
    let attachment = json!({"fallback": "canary/podinfo.apps: Advance podinfo.apps canary weight 10", "color": "danger", "author_name": "canary/podinfo.apps",
        "text": "Advance podinfo.apps canary weight 10", "mrkdwn_in": ["text"], "fields": [{"title": "revision", "value": "1.0.0", "short": false}]});
    assert_eq!(
        body(&request),
        json!({"channel": "ops", "username": "flagger", "icon_url": "", "icon_emoji": "", "attachments": [attachment]})
    );
}

#[test]
fn a_polite_refusal_is_a_refusal() {
    let answer = |status: u16, body: &'static str| {
        http::Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    };
    let post = settings("slack", &[("address", "https://slack.com/api/chat.postMessage")]);
    assert!(answered(&post, &answer(200, r#"{"ok":true}"#)).is_ok());
    let error = answered(&post, &answer(200, r#"{"ok":false,"error":"channel_not_found"}"#)).expect_err("it refuses");
    assert_eq!(
        (error.to_string().as_str(), error.is_transient()),
        ("the service answered 200: channel_not_found", false)
    );
    assert!(answered(&settings("slack", &[]), &answer(200, "ok")).is_ok());
    for (status, transient) in
        [(400, false), (403, false), (404, false), (408, true), (429, true), (500, true), (503, true)]
    {
        let error = answered(&settings("generic", &[]), &answer(status, "no\n")).expect_err("it refuses");
        assert_eq!(
            (error.to_string(), error.is_transient()),
            (format!("the service answered {status}: no"), transient)
        );
    }
}

#[test]
fn commit_statuses_do_not_go_to_chat() {
    let mut event = event();
    event.metadata.insert(COMMIT_STATUS.into(), "update".into());
    assert_eq!(
        [Service::Generic, Service::GenericHmac, Service::Slack].map(|service| service.takes(&event)),
        [true, true, false]
    );
    // An error that was told before is over, though; without one there is nothing to tell.
    let firing = Event { severity: Severity::Error, ..event.clone() };
    let now = event.timestamp;
    for kind in ["pagerduty", "incident.io", "alertmanager"] {
        let settings = settings(kind, &[("address", "https://example.com/a"), ("token", "t")]);
        assert!(settings.service.takes(&event), "{kind}");
        let told = |firing| plan(&settings, &event, firing, now).expect("a plan").tell.len();
        assert!(told(None) == 0 && told(Some(&firing)) > 0, "{kind}");
    }
}

#[test]
fn errors_name_what_is_wrong_and_no_secret() {
    let read = |kind: &str, secrets: Secrets<'_>| {
        Settings::read(&spec(kind), secrets).map(drop).expect_err("it cannot be used").to_string()
    };
    let main = |entries: &[(&str, &str)], kind: &str| {
        read(kind, Secrets { main: Some(&secret(entries)), ..Secrets::default() })
    };
    assert_eq!(main(&[], "carrierpigeon"), "type carrierpigeon is not supported yet");
    assert_eq!(
        main(&[("address", "ftp://hidden/x")], "generic"),
        "the address is not an http or https URL of at most 2048 bytes"
    );
    assert_eq!(main(&[("headers", "- hidden")], "generic"), "key headers of the Secret is not a YAML map of texts");
    assert_eq!(main(&[], "generic-hmac"), "type generic-hmac needs the key token in its Secret");
    let half = secret(&[("tls.crt", "hidden")]);
    assert_eq!(
        read("generic", Secrets { certificate: Some(&half), ..Secrets::default() }),
        "the certificate's Secret needs both tls.crt and tls.key, or neither"
    );
    let bad =
        message(&settings("generic", &[("headers", "'bad name': hidden")]), &event()).expect_err("no such header");
    assert_eq!(bad.to_string(), "header \"bad name\" cannot be sent");
}

#[test]
fn proxies_carry_their_login() {
    let proxy = secret(&[("address", "http://proxy:3128"), ("username", "me"), ("password", "p@ss/")]);
    let read = Settings::read(&spec("generic"), Secrets { proxy: Some(&proxy), ..Secrets::default() }).unwrap();
    assert_eq!(read.endpoint.proxy.as_deref(), Some("http://me:p%40ss%2F@proxy:3128"));
    assert_eq!(settings("generic", &[("proxy", "http://old:1")]).endpoint.proxy.as_deref(), Some("http://old:1"));
}

/// Settings with the service's own token, login and channel.
fn full(kind: &str, address: &str, channel: &str) -> Settings {
    let entries = [("token", "tok"), ("username", "me"), ("password", "pw")];
    let spec =
        ProviderSpec { kind: kind.into(), address: address.into(), channel: channel.into(), ..ProviderSpec::default() };
    let secret = secret(if kind == "bitbucket" { &[("token", "me:pw")] } else { &entries });
    let read = Settings::read(&spec, Secrets { main: Some(&secret), ..Secrets::default() }).unwrap();
    Settings { status_context: "canary/podinfo/1234".into(), ..read }
}

fn failure() -> Event {
    let mut event = Event {
        severity: Severity::Error,
        reason: "HealthCheckFailed".into(),
        message: "not *ready*".into(),
        ..event()
    };
    event.metadata.insert("revision".into(), "main@sha1:0123456789abcdef".into());
    event.metadata.insert("summary".into(), "prod".into());
    event
}

/// What one request is: method, address, the header that logs in, body.
fn told(settings: &Settings, event: &Event) -> (String, String, String, Value) {
    let request = message(settings, event).unwrap();
    let names = ["authorization", "private-token", "dd-api-key", "x-sentry-auth"];
    let login = names.iter().map(|name| header(&request, name)).find(|value| !value.is_empty()).unwrap_or_default();
    let body =
        serde_json::from_slice(request.body()).unwrap_or_else(|_| json!(String::from_utf8_lossy(request.body())));
    (request.method().to_string(), request.uri().to_string(), login.to_owned(), body)
}

#[test]
fn every_service_gets_its_own_request() {
    let author = "canary/podinfo.apps";
    let facts = json!([{"title": "revision", "value": "main@sha1:0123456789abcdef", "short": false}, {"title": "summary", "value": "prod", "short": false}]);
    let slack = |channel: &str, username: &str, color: &str| {
        json!({"channel": channel, "username": username, "icon_url": "", "icon_emoji": "", "attachments": [{"color": color,
            "author_name": author, "text": "not *ready*", "mrkdwn_in": ["text"], "fields": facts}]})
    };
    let labels = json!({"revision": "main@sha1:0123456789abcdef", "alertname": "FluxCanaryHealthcheckfailed", "severity": "error",
        "reason": "HealthCheckFailed", "kind": "Canary", "name": "podinfo", "namespace": "apps", "reportingcontroller": "flagger"});
    for (kind, address, channel, url, login, body) in [
        ("discord", "https://d.example/api/x", "c", "https://d.example/api/x/slack", "", slack("", "me", "danger")),
        ("rocket", "https://r.example/x", "c", "https://r.example/x", "", slack("c", "me", "#FF0000")),
        (
            "msteams",
            "https://a.webhook.office.com/x",
            "",
            "https://a.webhook.office.com/x",
            "",
            json!({"@type": "MessageCard",
            "@context": "http://schema.org/extensions", "themeColor": "FF0000", "summary": author, "sections": [{"activityTitle": "not *ready*",
            "activitySubtitle": author, "facts": [{"name": "revision", "value": "main@sha1:0123456789abcdef"}, {"name": "summary", "value": "prod"}]}]}),
        ),
        (
            "msteams",
            "https://prod.logic.azure.com/x",
            "",
            "https://prod.logic.azure.com/x",
            "",
            json!({"type": "message", "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive", "content": {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard", "version": "1.4", "msteams": {"width": "Full"}, "body": [{"type": "Container", "items": [
            {"type": "TextBlock", "text": author, "size": "large", "weight": "bolder", "wrap": true},
            {"type": "TextBlock", "text": "not *ready*", "wrap": true, "color": "attention"},
            {"type": "FactSet", "facts": [{"title": "summary", "value": "prod"}, {"title": "revision", "value": "main@sha1:0123456789abcdef"}]}]}]}}]}),
        ),
        (
            "webex",
            "https://webexapis.com/v1/messages",
            "room",
            "https://webexapis.com/v1/messages",
            "Bearer tok",
            json!({"roomId": "room",
            "markdown": "💣 **canary/podinfo.apps**\nnot *ready*\n>**revision**: main@sha1:0123456789abcdef\n>**summary**: prod\n"}),
        ),
        (
            "telegram",
            "",
            "@c:7",
            "https://api.telegram.org/bottok/sendMessage",
            "",
            json!({"chat_id": "@c", "message_thread_id": "7",
            "parse_mode": "MarkdownV2", "text": "*🚨 canary/podinfo/apps*\nnot \\*ready\\*\n\\- *revision*: main@sha1:0123456789abcdef\n\\- *summary*: prod\n"}),
        ),
        (
            "pagerduty",
            "",
            "KEY",
            "https://events.pagerduty.com/v2/enqueue",
            "",
            json!({"routing_key": "KEY", "event_action": "trigger",
            "dedup_key": "u", "payload": {"summary": "health check failed: prod/canary/podinfo", "source": "Flux flagger", "severity": "error",
            "timestamp": "2026-01-02T03:04:05Z", "component": "podinfo", "group": "Canary", "custom_details": {"message": "not *ready*",
            "metadata": {"revision": "main@sha1:0123456789abcdef", "summary": "prod"}}}}),
        ),
        (
            "opsgenie",
            "https://api.opsgenie.com/v2/alerts",
            "",
            "https://api.opsgenie.com/v2/alerts",
            "GenieKey tok",
            json!({
            "message": "Canary/podinfo", "description": "not *ready*", "details": {"severity": "error",
            "revision": "main@sha1:0123456789abcdef", "summary": "prod"}}),
        ),
        (
            "alertmanager",
            "https://am.example/api/v2/alerts/",
            "",
            "https://am.example/api/v2/alerts/",
            "Basic bWU6cHc=",
            json!([{
            "status": "firing", "labels": labels, "annotations": {"message": "not *ready*", "summary": "prod"}, "startsAt": "2026-01-02T03:04:05Z"}]),
        ),
        (
            "grafana",
            "https://g.example/api/annotations",
            "",
            "https://g.example/api/annotations",
            "Bearer tok",
            json!({"when": 1_767_323_045,
            "text": author, "tags": ["flux", "flagger", "revision: main@sha1|0123456789abcdef", "summary: prod", "kind: Canary",
            "name: podinfo", "namespace: apps"]}),
        ),
        (
            "github",
            "https://github.com/o/r",
            "",
            "https://api.github.com/repos/o/r/statuses/0123456789abcdef",
            "Bearer tok",
            json!({
            "state": "failure", "context": "canary/podinfo/1234", "description": "health check failed"}),
        ),
        (
            "github",
            "ssh://git@ghe.example/o/r.git",
            "",
            "https://ghe.example/api/v3/repos/o/r/statuses/0123456789abcdef",
            "Bearer tok",
            json!({
            "state": "failure", "context": "canary/podinfo/1234", "description": "health check failed"}),
        ),
        (
            "gitlab",
            "git@gitlab.com:g/s/r.git",
            "",
            "https://gitlab.com/api/v4/projects/g%2Fs%2Fr/statuses/0123456789abcdef",
            "tok",
            json!({
            "state": "failed", "name": "canary/podinfo/1234", "description": "health check failed"}),
        ),
        (
            "gitea",
            "http://git.example:3000/o/r",
            "",
            "http://git.example:3000/api/v1/repos/o/r/statuses/0123456789abcdef",
            "token tok",
            json!({
            "state": "failure", "context": "canary/podinfo/1234", "description": "health check failed", "target_url": ""}),
        ),
        (
            "bitbucketserver",
            "https://bb.example/ctx/scm/P/r.git",
            "",
            "https://bb.example/ctx/rest/api/latest/projects/P/repos/r/commits/0123456789abcdef/builds",
            "Bearer tok",
            json!({"key": "71c4b5be2b8bb4d2d8c6ffd3c5a5a1b7b4e1d6a1", "state": "FAILED", "url": "https://bb.example/ctx/scm/P/r.git",
            "description": "health check failed", "name": "prod/canary/podinfo [health check failed]"}),
        ),
        (
            "azuredevops",
            "https://dev.azure.com/org/proj/_git/repo",
            "",
            "https://dev.azure.com/org/proj/_apis/git/repositories/repo/commits/0123456789abcdef/statuses?api-version=7.1",
            "Basic OnRvaw==",
            json!({"state": "error", "description": "health check failed", "context": {"genre": "fluxcd", "name": "canary/podinfo/1234"}}),
        ),
        (
            "datadog",
            "https://api.datadoghq.eu",
            "",
            "https://api.datadoghq.eu/api/v1/events",
            "tok",
            json!({
            "title": "Events from the Canary podinfo/apps", "text": "not *ready*", "source_type_name": "fluxcd", "date_happened": 1_767_323_045,
            "alert_type": "error", "tags": ["flux_reporting_controller:flagger", "flux_reason:healthcheckfailed", "kube_kind:canary",
            "kube_name:podinfo", "kube_namespace:apps", "revision:main@sha1:0123456789abcdef", "summary:prod"]}),
        ),
    ] {
        let (method, found, authorization, mut sent) = told(&full(kind, address, channel), &failure());
        if kind == "bitbucketserver" {
            assert_eq!(sent["key"].as_str().map(str::len), Some(40));
            sent["key"] = body["key"].clone();
        }
        assert_eq!((method.as_str(), found.as_str(), authorization.as_str()), ("POST", url, login), "{kind}");
        assert_eq!(sent, body, "{kind}");
    }
}

#[test]
fn the_others_are_told_in_their_own_way() {
    let (method, url, login, body) = told(&full("matrix", "https://m.example/", "!room:m.example"), &failure());
    assert!(url.starts_with("https://m.example/_matrix/client/r0/rooms/!room:m.example/send/m.room.message/"), "{url}");
    assert_eq!((method.as_str(), login.as_str(), &body["msgtype"]), ("PUT", "Bearer tok", &json!("m.text")));
    let (_, url, login, body) = told(&full("zulip", "https://z.example", "dev/flux"), &failure());
    assert_eq!((url.as_str(), login.as_str()), ("https://z.example/api/v1/messages", "Basic bWU6cHc="));
    let form: std::collections::BTreeMap<String, String> =
        url::form_urlencoded::parse(body.as_str().unwrap().as_bytes()).into_owned().collect();
    assert_eq!((form["to"].as_str(), form["topic"].as_str(), form["type"].as_str()), ("dev", "flux", "stream"));
    assert!(form["content"].starts_with("## Flux Status\n\n⚠️ Canary/apps/podinfo\n\nnot *ready*\n"), "{form:?}");
    let (_, url, login, body) = told(&full("sentry", "https://key@s.example/base/42", "prod"), &failure());
    assert_eq!(url, "https://s.example/base/api/42/envelope/");
    assert!(login.contains("sentry_key=key") && body.as_str().unwrap().contains("\"environment\":\"prod\""));
    let (_, _, _, body) = told(&full("googlechat", "https://chat.example", ""), &failure());
    assert_eq!(
        body["cards"][0]["sections"][0]["widgets"][0]["textParagraph"]["text"],
        "<font color=\"#ff0000\">not *ready*</font>"
    );
    let (_, _, _, body) = told(&full("lark", "https://l.example", ""), &failure());
    assert_eq!((&body["card"]["header"]["template"], &body["msg_type"]), (&json!("red"), &json!("interactive")));
    let (_, url, login, _) = told(&full("zoom", "https://z.example/hook", ""), &failure());
    assert_eq!((url.as_str(), login.as_str()), ("https://z.example/hook?format=full", "tok"));
    let (_, _, _, body) = told(&full("incident.io", "https://i.example/x", ""), &failure());
    assert_eq!((&body["status"], &body["deduplication_key"]), (&json!("firing"), &json!("u")));
    let (_, url, login, body) = told(&full("githubdispatch", "https://github.com/o/r", ""), &failure());
    assert_eq!((url.as_str(), login.as_str()), ("https://api.github.com/repos/o/r/dispatches", "Bearer tok"));
    assert_eq!(
        (&body["event_type"], &body["client_payload"]["reason"]),
        (&json!("Canary/podinfo.apps"), &json!("HealthCheckFailed"))
    );
    let (_, url, login, _) = told(&full("bitbucket", "https://bitbucket.org/o/r", ""), &failure());
    assert_eq!(url, "https://api.bitbucket.org/2.0/repositories/o/r/commit/0123456789abcdef/statuses/build");
    assert_eq!(login, "Basic bWU6cHc=");
}

#[test]
fn a_status_that_stands_is_not_set_again() {
    let settings = full("github", "https://github.com/o/r", "");
    let ask = plan(&settings, &failure(), None, now()).unwrap().ask.remove(0);
    assert_eq!(ask.uri().to_string(), "https://api.github.com/repos/o/r/commits/0123456789abcdef/statuses?per_page=50");
    let answer = |status: u16, body: Value| {
        http::Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap()
    };
    let status =
        |context: &str, state: &str| json!({"context": context, "state": state, "description": "health check failed"});
    let known = |settings: &Settings, answer: http::Response<Bytes>| {
        let told = vec![http::Request::new(Bytes::new())];
        rest(settings, &failure(), &[answer], told).map(|rest| rest.is_empty())
    };
    let knows = |list: Value| known(&settings, answer(200, list)).unwrap();
    assert!(knows(json!([status("other", "success"), status("canary/podinfo/1234", "failure")])));
    assert!(!knows(json!([status("canary/podinfo/1234", "success"), status("canary/podinfo/1234", "failure")])));
    assert!(!knows(json!([])));
    assert!(known(&settings, answer(401, json!({}))).is_err());
    let server = full("bitbucketserver", "https://bb.example/scm/P/r.git", "");
    assert!(!known(&server, answer(404, json!({}))).unwrap());
}

#[test]
fn a_recovery_ends_the_alert_of_the_last_error() {
    let settings = full("alertmanager", "https://am.example/api/v2/alerts/", "");
    let plan = plan(&settings, &event(), Some(&failure()), now()).unwrap();
    let body = body(&plan.tell[0]);
    assert_eq!((&body[0]["status"], &body[1]["status"]), (&json!("firing"), &json!("resolved")));
    assert_eq!(
        (&body[1]["labels"]["reason"], &body[1]["endsAt"]),
        (&json!("HealthCheckFailed"), &json!("2026-01-02T03:04:05Z"))
    );
}

#[test]
fn statuses_are_filed_under_the_expressions_text() {
    let provider = |expression: &str| -> api::notification::Provider {
        api::manifest::typed(&json!({"metadata": {"name": "p", "uid": "0c9c2e41-d2f9-4f9b-9c41-bebc1984d67a"},
            "spec": {"type": "github", "commitStatusExpr": expression}}))
        .unwrap()
    };
    let alert: api::notification::Alert = api::manifest::typed(
        &json!({"metadata": {"name": "a"}, "spec": {"providerRef": {"name": "p"}, "eventMetadata": {"cluster": "c1"}}}),
    )
    .unwrap();
    let context = |expression: &str| commit_status::context(&provider(expression), &alert, &failure());
    assert_eq!(context("").unwrap(), "canary/podinfo/0c9c2e41");
    let expression = "(event.involvedObject.kind + '/' + event.involvedObject.name + '/' + alert.metadata.name + '/' + provider.metadata.uid.split('-').first().value()).lowerAscii()";
    assert_eq!(context(expression).unwrap(), "canary/podinfo/a/0c9c2e41");
    for wrong in ["event.missing", "1", "event.", "other.x"] {
        assert!(context(wrong).expect_err("no text").to_string().starts_with("commitStatusExpr: "), "{wrong}");
    }
    let error = context("event.reason").expect_err("only the event tells whether it is a text").to_string();
    assert_eq!(error, "commitStatusExpr: CEL expression output type mismatch: expected string, got dyn");
}

#[test]
fn revisions_name_their_commit() {
    let commit = |revision: &str| {
        let mut event = event();
        event.metadata.insert("revision".into(), revision.into());
        commit_status::commit(&event).ok()
    };
    for revision in ["main@sha1:0123456789abcdef", "main/0123456789abcdef", "sha1:0123456789abcdef", "0123456789abcdef"]
    {
        assert_eq!(commit(revision).as_deref(), Some("0123456789abcdef"), "{revision}");
    }
    assert_eq!(["", "main", "6.5.0", "main@sha1:"].map(commit), [const { None }; 4]);
    assert_eq!(
        ["HealthCheckFailed", "OCIArtifactOutdated", "Synced", "v2Ready", ""]
            .map(|reason| { words::reason(&Event { reason: reason.into(), ..event() }) }),
        ["health check failed", "oci artifact outdated", "synced", "v 2 ready", ""]
    );
}
