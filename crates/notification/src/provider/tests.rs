//! Tables for the requests of each service.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::alert::tests::event;

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
}

#[test]
fn errors_name_what_is_wrong_and_no_secret() {
    let read = |kind: &str, secrets: Secrets<'_>| {
        Settings::read(&spec(kind), secrets).map(drop).expect_err("it cannot be used").to_string()
    };
    let main = |entries: &[(&str, &str)], kind: &str| {
        read(kind, Secrets { main: Some(&secret(entries)), ..Secrets::default() })
    };
    assert_eq!(main(&[], "msteams"), "type msteams is not supported yet");
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
