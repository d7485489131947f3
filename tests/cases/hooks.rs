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
