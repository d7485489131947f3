//! Webhooks, and the load tester.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::text;
use crate::support::{client, rows, settle, slipway};

/// The objects that the cases name by kind and name only, as an API server holds them.
fn objects_of(row: &Value) -> Vec<Value> {
    let mut objects = Vec::new();
    if let Some(receiver) = row.get("receiver") {
        let mut spec = receiver["spec"].clone();
        if spec.get("resources").is_none() {
            spec["resources"] = json!([]);
        }
        objects.push(json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
            "metadata": receiver["metadata"], "spec": spec, "status": {"conditions": receiver["conditions"].as_array()
                .into_iter().flatten().map(|condition| {
                    let mut condition = condition.clone();
                    condition["reason"] = json!("Succeeded");
                    condition["message"] = json!("");
                    condition["lastTransitionTime"] = json!("2024-01-01T00:00:00Z");
                    condition
                }).collect::<Vec<_>>()}}));
    }
    if let Some(secret) = row.get("secret") {
        objects.push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret["name"]}, "stringData": secret["data"]}));
    }
    objects.extend(row["resources"].as_array().into_iter().flatten().cloned());
    objects
}

/// `slipway receive` over these objects; gives its answer.
fn received(folder: &Path, objects: &[Value], request: &Value, more: &[&str]) -> Value {
    let (file, call) = (folder.join("objects.json"), folder.join("request.json"));
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    fs::write(&file, documents.join("\n---\n")).expect("a written file");
    fs::write(&call, request.to_string()).expect("a written file");
    let (file, call) = (file.display().to_string(), call.display().to_string());
    let arguments = ["receive", "-f", &file, "--request", &call, "-o", "json"];
    let run = slipway(&[&arguments, more].concat());
    if run.code == 2 { json!({"error": run.stderr}) } else { run.json() }
}

#[test]
fn webhooks_are_answered_as_the_reference_answers_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut wrong, all) = (Vec::new(), rows("image/receivers.jsonl"));
    // The cases of Google's receiver stub the check of its token; ours is tested with real keys in crates/notification.
    let is_stubbed = |row: &Value| row["receiver"]["spec"]["type"] == "gcr" && row["expected_status"] == 200;
    for row in all.iter().filter(|row| !is_stubbed(row)) {
        let body = match row.get("body_generator") {
            Some(_) => format!("{{\"a\": \"{}\"}}", "x".repeat(3 << 20)),
            None => text(row, "body").to_owned(),
        };
        let fits = match text(row, "kind") {
            "handler" => {
                let request = json!({"headers": row["headers"], "body": body});
                let flag = row["no_cross_namespace_refs"] == json!(true);
                let more: &[&str] = if flag { &["--no-cross-namespace-refs"] } else { &[] };
                // Resources that happen to be Receivers are not the one that is called.
                let called = text(&row["receiver"]["metadata"], "name");
                let name = if called.is_empty() { "none" } else { called };
                let answer =
                    received(folder.path(), &objects_of(row), &request, &[&["--receiver", name], more].concat());
                let woken = answer["annotated"].as_array().map_or(0, Vec::len);
                (answer["status"] == row["expected_status"] && json!(woken) == row["expected_annotated"])
                    .then_some(())
                    .ok_or(answer)
            }
            "signature" => {
                let receiver = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "r"},
                    "spec": {"type": row["type"], "events": row.get("events").cloned().unwrap_or(json!([])), "secretRef": {"name": "t"}, "resources": []}});
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}, "stringData": {"token": row["token"]}});
                let answer = received(
                    folder.path(),
                    &[receiver, secret],
                    &json!({"headers": row["headers"], "body": body}),
                    &[],
                );
                let status = if row["accept"] == json!(true) { 200 } else { 400 };
                (answer["status"] == status).then_some(()).ok_or(answer)
            }
            "webhookPath" => {
                let receiver = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
                    "metadata": {"name": row["name"], "namespace": row["namespace"]}, "spec": {"type": "generic", "secretRef": {"name": "t"}, "resources": []}});
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t", "namespace": row["namespace"]},
                    "stringData": {"token": row["token"]}});
                let file = folder.path().join("receiver.json");
                fs::write(&file, format!("{receiver}\n---\n{secret}")).expect("a written file");
                let answer = slipway(&["receive", "-f", &file.display().to_string(), "-o", "json"]).json();
                (answer[0]["path"] == row["expected"]).then_some(()).ok_or(answer)
            }
            other => Err(json!(format!("unknown kind {other}"))),
        };
        if let Err(answer) = fits {
            wrong.push(format!("{row}: {answer}"));
        }
    }
    settle(all.len(), &wrong);
}

/// A load tester that ends with the test.
struct LoadTester(std::process::Child, String);

impl Drop for LoadTester {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl LoadTester {
    fn start(more: &[&str]) -> Self {
        use std::io::BufRead as _;
        let mut child = std::process::Command::new(crate::support::SLIPWAY)
            .args(["loadtester", "--listen", "127.0.0.1:0"])
            .args(more)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("slipway starts");
        let mut line = String::new();
        std::io::BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("its first line");
        let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
        Self(child, address)
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let method = method.parse().expect("a method");
        let request = client().request(method, format!("http://{}{path}", self.1)).body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }
}

#[tokio::test]
async fn the_load_tester_answers_as_the_reference_answers() {
    let tester = LoadTester::start(&[]);
    let mut all: Vec<Value> =
        rows("canary/misc.jsonl").into_iter().filter(|row| row["kind"] == "loadtester-http").collect();
    all.sort_by_key(|row| row["order"].as_i64());
    // The sample leaves out the row that opens the gate.
    let opened = tester.ask("POST", "/gate/open", r#"{"name":"a","namespace":"b"}"#).await;
    assert_eq!(opened, (202, String::new()));
    let mut wrong = Vec::new();
    for row in &all {
        let found = tester.ask(text(row, "method"), text(row, "path"), text(row, "body")).await;
        if json!([found.0, found.1]) != json!([row["expectedStatus"], row["expectedBody"]]) {
            wrong.push(format!("{row}: {found:?}"));
        }
    }
    settle(all.len(), &wrong);
}

#[tokio::test]
async fn the_load_tester_runs_what_is_enabled_and_no_more() {
    let all = LoadTester::start(&[]);
    let task = |kind: &str, command: &str| {
        json!({"name": "a", "namespace": "b", "metadata": {"type": kind, "cmd": command}}).to_string()
    };
    assert_eq!(all.ask("POST", "/", &task("cmd", "true")).await, (202, String::new()));
    assert_eq!(
        all.ask("POST", "/", &task("bash", "echo no; exit 3")).await,
        (500, "command echo no; exit 3 failed: no\n: exit status 3".into())
    );
    assert_eq!(all.ask("POST", "/", &task("pong", "x")).await, (400, "unknown task type pong".into()));
    assert_eq!(all.ask("POST", "/", "no json").await.0, 400);
    assert_eq!(all.ask("POST", "/rollback/check", r#"{"name":"a","namespace":"b"}"#).await, (403, "Forbidden".into()));
    let some = LoadTester::start(&["--enable", "kubectl", "--namespace-regexp", "^b$"]);
    for (kind, command, status) in [
        ("bash", "true", 403),
        ("helm", "version", 403),
        ("cmd", "true", 403),
        ("cmd", "curl http://x; rm -rf y", 403),
        ("cmd", "curl $(id)", 403),
        ("cmd", "curl -sf -H 'Cookie: a=b;c' \"http://127.0.0.1:1/?x=1&y\"", 202),
    ] {
        assert_eq!(some.ask("POST", "/", &task(kind, command)).await.0, status, "{kind} {command}");
    }
    assert_eq!(some.ask("POST", "/gate/check", r#"{"name":"a","namespace":"c"}"#).await.0, 403);
    let browser =
        client().post(format!("http://{}/gate/open", all.1)).header("origin", "https://evil.example").body("{}");
    assert_eq!(browser.send().await.expect("an answer").status().as_u16(), 403);
}

/// What a server was asked: method, path, authorization and body.
type Asked = (String, String, String, String);

/// A server that runs tests for others: answers these texts in order, then the last again.
async fn test_server(answers: Vec<Value>) -> (String, tokio::sync::mpsc::UnboundedReceiver<Asked>) {
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    let answers = std::sync::Arc::new(std::sync::Mutex::new(answers.into_iter().peekable()));
    let answer = async move |request: axum::extract::Request| {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let authorization = header("authorization").to_owned();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        let _ = tell.send((parts.method.to_string(), parts.uri.to_string(), authorization, body));
        let mut answers = answers.lock().expect("a lock");
        let last = answers.peek().cloned().unwrap_or_default();
        let next = answers.next().unwrap_or(last);
        next.to_string()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_concord_is_started_and_followed_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "secret\n").expect("a key");
    let process = |status: &str| json!({"instanceId": "i-1", "status": status, "ok": true});
    let tester = LoadTester::start(&[]);
    let task = |server: &str, more: Value| {
        let mut metadata = json!({"type": "concord", "server": server, "org": "o", "project": "p", "repo": "r", "entrypoint": "e",
            "apiKeyPath": key, "endpoint": "https://canary/", "arguments.user": "me", "pollInterval": "1", "pollTimeout": "20"});
        metadata.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        json!({"name": "a", "namespace": "b", "metadata": metadata}).to_string()
    };
    let (server, mut asked) = test_server(vec![process("NEW"), process("RUNNING"), process("FINISHED")]).await;
    assert_eq!(tester.ask("POST", "/", &task(&format!("{server}/ui"), json!({}))).await, (200, String::new()));
    let (method, path, authorization, form) = asked.recv().await.expect("a request");
    assert_eq!((method.as_str(), path.as_str(), authorization.as_str()), ("POST", "/api/v1/process", "secret"));
    for (name, value) in
        [("org", "o"), ("entryPoint", "e"), ("arguments.endpoint", "https://canary/"), ("arguments.user", "me")]
    {
        let field = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--");
        assert!(form.contains(&field), "{form}");
    }
    for _ in 0..2 {
        let (method, path, ..) = asked.recv().await.expect("a request");
        assert_eq!((method.as_str(), path.as_str()), ("GET", "/api/v1/process/i-1"));
    }
    let (server, _) = test_server(vec![process("NEW"), process("FAILED")]).await;
    let failed = (500, "concord process i-1 ended: FAILED".to_owned());
    assert_eq!(tester.ask("POST", "/", &task(&server, json!({}))).await, failed);
    let (server, _) = test_server(vec![process("RUNNING")]).await;
    let late = (500, "concord process i-1 took longer than 1s".to_owned());
    assert_eq!(tester.ask("POST", "/", &task(&server, json!({"pollTimeout": "1"}))).await, late);
    for wrong in [
        json!({"server": ""}),
        json!({"org": ""}),
        json!({"apiKeyPath": "/no/such/file"}),
        json!({"pollInterval": "x"}),
        json!({"arguments.endpoint": "y"}),
    ] {
        assert_eq!(tester.ask("POST", "/", &task(&server, wrong.clone())).await.0, 500, "{wrong}");
    }
    let closed = LoadTester::start(&["--enable", "cmd"]);
    assert_eq!(closed.ask("POST", "/", &task(&server, json!({}))).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_ngrinder_is_started_once_and_followed() {
    let status = |status: &str| json!({"status": [{"id": 7, "status_id": status}]});
    let answers = vec![json!({"id": 7}), status("TESTING"), status("FINISHED"), json!({"success": false})];
    let (server, mut asked) = test_server(answers).await;
    let tester = LoadTester::start(&[]);
    let task = |clone: &str| {
        json!({"name": "a", "namespace": "b", "metadata": {"type": "ngrinder", "server": server, "clone": clone,
            "username": "me", "passwd": "cHc=", "pollInterval": "300ms"}})
        .to_string()
    };
    assert_eq!(tester.ask("POST", "/", &task("100")).await, (202, String::new()));
    assert_eq!(tester.ask("POST", "/", &task("100")).await, (202, String::new()), "it runs already");
    let expected = [
        ("POST", "/perftest/api/100/clone_and_start"),
        ("GET", "/perftest/api/7/status"),
        ("GET", "/perftest/api/7/status"),
    ];
    for (method, path) in expected {
        let found = asked.recv().await.expect("a request");
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2.as_str()), (method, path, "Basic bWU6cHc="));
    }
    let wrong = tester.ask("POST", "/", &task("x")).await;
    assert_eq!(wrong, (400, "`clone` is not the number of a test".into()));
}
