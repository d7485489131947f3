//! The dashboard and its API over real HTTP: what is told, to whom, and who may act.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{fs, io::Write as _, net::SocketAddr, path::Path, time::Duration};

use api::{
    flagger::{Canary, Phase},
    meta::ObjectReference,
};
use canary::{
    machine::{PAUSED, REQUEST},
    trail::{self, Check, Run, Tick, Verdict},
};
use reconcile::{Directory, Store, clock};
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    demo::parts::{self, Part},
    support::{SLIPWAY, client, slipway},
};

/// What somebody may put into a message, a name of a user, an annotation.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";
const PATIENCE: Duration = Duration::from_secs(20);

/// A slipway that serves pages and moves nothing, over a state that the test writes.
struct World {
    folder: TempDir,
    store: Store,
    _slipway: Part,
    address: SocketAddr,
    client: Client,
}

impl World {
    async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("slipway-pages-").tempdir().expect("a folder");
        let spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "service": {"port": 80},
            "provider": "kubernetes", "analysis": {"interval": "10s", "threshold": 5, "stepWeight": 10, "maxWeight": 50,
                "metrics": [{"name": "errors", "query": "errors{app=\"{{ target }}\"}", "thresholdRange": {"max": 5}}],
                "webhooks": [{"name": "gate", "type": "confirm-promotion", "url": "http://127.0.0.1:1/"}]}});
        let canary = |name: &str| json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": name, "namespace": "apps"}, "spec": spec});
        let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "metadata": {"name": "podinfo", "namespace": "apps"},
            "spec": {"imageRepositoryRef": {"name": "podinfo"}, "policy": {"semver": {"range": "6.x"}}}});
        let repository = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository", "metadata": {"name": "podinfo", "namespace": "apps"},
            "spec": {"image": "ghcr.io/a/podinfo", "interval": "1h"}});
        let manifests = [canary("podinfo"), canary("backend"), policy, repository].map(|object| object.to_string());
        fs::write(folder.path().join("manifests.yaml"), manifests.join("\n---\n")).expect("a written file");
        let address = parts::free_address().expect("a port");
        let mut part = run(folder.path(), address, flags);
        parts::listening(&mut part, address).await.expect("pages are served");
        let store = Store::Directory(Directory::attach(&folder.path().join("state.db")).expect("the state"));
        let world = Self { folder, store, _slipway: part, address, client: client() };
        world.moves("podinfo", Phase::Progressing, 30).await;
        world.moves("backend", Phase::Succeeded, 0).await;
        world
    }

    /// Writes what a controller would.
    async fn moves(&self, name: &str, phase: Phase, weight: i64) {
        let status = json!({"phase": phase, "canaryWeight": weight, "failedChecks": 1, "iterations": 0, "lastTransitionTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Promoted", "status": "Unknown", "reason": phase, "message": HOSTILE,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}]});
        self.store.write_status(&id(name), "test", &status).await.expect("the status is written");
    }

    /// Keeps a run of podinfo with two samples.
    async fn ran(&self) {
        let canary: Canary = self.store.get("apps", "podinfo").await.expect("read").expect("a canary");
        let at = |second: i64| jiff::Timestamp::from_second(1_767_225_600 + second).expect("a time");
        let tick = |second, value, verdict| Tick {
            at: at(second),
            weight: 10,
            phase: Phase::Progressing,
            checks: vec![Check {
                metric: "errors".into(),
                value: Some(value),
                min: None,
                max: Some(5.0),
                verdict,
                problem: None,
            }],
            ..Tick::default()
        };
        let run = Run {
            revision: "r".into(),
            image: Some("ghcr.io/a/podinfo:6.7.1".into()),
            from_image: Some("ghcr.io/a/podinfo:6.7.0".into()),
            began: at(0),
            ended: None,
            phase: Phase::Progressing,
            ticks: vec![tick(10, 0.5, Verdict::Passed), tick(20, 7.25, Verdict::Failed)],
        };
        let records = trail::records(&canary, &run, run.ticks.len(), run.ticks.len());
        self.store.database().put_all(records).await.expect("kept");
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.expect("an answer")
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.expect("JSON")
    }

    /// Asks for an action as the page does.
    async fn act(&self, action: &str, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let path = self.url(&format!("/api/v1/rollouts/apps/podinfo/actions/{action}"));
        let mut request = self.client.post(path).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    async fn annotation(&self, key: &str) -> Option<String> {
        let canary: Canary = self.store.get("apps", "podinfo").await.expect("read").expect("a canary");
        canary.metadata.annotations?.get(key).cloned()
    }

    async fn seen(&self) -> Value {
        self.json("/api/v1/rollouts/apps/podinfo").await["seen"].clone()
    }
}

fn id(name: &str) -> ObjectReference {
    ObjectReference {
        api_version: api::flagger::API_VERSION.into(),
        kind: "Canary".into(),
        namespace: "apps".into(),
        name: name.into(),
    }
}

fn run(folder: &Path, listen: SocketAddr, flags: &[&str]) -> Part {
    let path = |name: &str| folder.join(name).display().to_string();
    let (manifests, state, listen) = (path("manifests.yaml"), path("state.db"), listen.to_string());
    // The canary stage would move what this test writes.
    let mut command = vec![
        SLIPWAY,
        "run",
        "--manifests",
        &manifests,
        "--state",
        &state,
        "--listen",
        &listen,
        "--controllers",
        "notification",
    ];
    command.extend(["--receiver-listen", "127.0.0.1:0"]);
    command.extend(flags);
    Part::start(Path::new(SLIPWAY), folder, "slipway", &command).expect("slipway starts")
}

/// The messages of a stream, read until one is wanted.
struct Stream(Response, String);

impl Stream {
    async fn open(world: &World, topics: &str, last: Option<&str>) -> Self {
        let mut request = world.client.get(world.url(&format!("/api/v1/stream?topics={topics}")));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Self(request.send().await.expect("an answer"), String::new())
    }

    /// The next message of that kind: its id and data.
    async fn next(&mut self, kind: &str) -> (String, Value) {
        let found = async {
            loop {
                while let Some((message, rest)) = self.1.split_once("\n\n") {
                    let (message, rest) = (message.to_owned(), rest.to_owned());
                    self.1 = rest;
                    let field = |name: &str| {
                        message.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
                    };
                    if field("event:") == kind {
                        return (field("id:"), serde_json::from_str(&field("data:")).expect("JSON"));
                    }
                }
                let chunk = self.0.chunk().await.expect("the stream goes on").expect("the stream goes on");
                self.1.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {kind} in time"))
    }
}

#[tokio::test]
async fn every_view_is_the_page_under_its_own_address() {
    let world = World::start(&[]).await;
    for (path, base) in [("/", "./"), ("/r/apps/podinfo", "../../"), ("/i/apps/podinfo", "../../"), ("/e", "./")] {
        let answer = world.get(path).await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()[header::X_FRAME_OPTIONS], "DENY");
        let text = answer.text().await.expect("text");
        assert!(text.contains(&format!("<base href=\"{base}\">")), "{path}");
        // Nothing inline, nothing from elsewhere.
        assert!(!text.contains("<style") && !text.contains("http"), "{path}");
    }
    let script = world.get("/page/app.js").await;
    assert_eq!(script.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    let tag = script.headers()[header::ETAG].clone();
    let again =
        world.client.get(world.url("/page/app.js")).header(header::IF_NONE_MATCH, tag).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(world.get("/nothing").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn rollouts_are_told_in_the_words_of_the_command_line() {
    let world = World::start(&["--cluster-name", "prod-eu"]).await;
    world.ran().await;
    let overview = world.json("/api/v1/overview").await;
    assert_eq!((&overview["cluster"], &overview["you"]["readOnly"]), (&json!("prod-eu"), &json!(true)));
    assert_eq!((&overview["counts"]["progressing"], &overview["counts"]["ready"]), (&json!(1), &json!(1)));

    let rollout = world.json("/api/v1/rollouts/apps/podinfo").await;
    let sentence = "Held at 30%: errors is 7.25, limit <= 5 (failed 1 of 5).";
    assert_eq!(rollout["sentence"], sentence);
    assert_eq!(
        (&rollout["from"], &rollout["to"], &rollout["runId"]),
        (&json!("6.7.0"), &json!("6.7.1"), &json!("1767225600"))
    );
    let check = &rollout["checks"][0];
    assert_eq!(
        (&check["canary"]["value"], &check["max"], &check["verdict"]),
        (&json!(7.25), &json!(5.0), &json!("failed"))
    );
    assert_eq!((&check["query"], &check["source"]), (&json!("errors{app=\"podinfo\"}"), &json!("prometheus")));
    assert_eq!(rollout["steps"][2], json!({"weight": 30, "state": "now", "at": null}));
    let denied = rollout["actions"].as_array().expect("actions").iter().all(|action| action["allowed"] == false);
    assert!(denied, "a read-only page offers nothing");

    let runs = world.json("/api/v1/rollouts/apps/podinfo/runs").await;
    assert_eq!((&runs["items"][0]["id"], &runs["items"][0]["reached"]), (&json!("1767225600"), &json!(10)));
    let series = world.json("/api/v1/rollouts/apps/podinfo/runs/last/series?metric=errors").await;
    assert_eq!(series["canary"][1], json!(["2026-01-01T00:00:20Z", 7.25, "failed"]));
    assert_eq!(series["weight"][0], json!(["2026-01-01T00:00:00Z", 0]));
    assert!(series["primaryProblem"].is_string(), "nobody answers for Prometheus here");
    let missing = world.get("/api/v1/rollouts/apps/nothing").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.json::<Value>().await.expect("JSON")["error"], "rollout apps/nothing is not there");
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_cut_by_the_server() {
    let world = World::start(&[]).await;
    let names = async |query: &str| {
        let answer = world.json(&format!("/api/v1/rollouts{query}")).await;
        let names: Vec<_> = answer["items"].as_array().expect("items").iter().map(|row| row["name"].clone()).collect();
        (names, answer["total"].clone(), answer["hidden"].clone(), answer["cursor"].clone())
    };
    let (backend, podinfo) = (json!("backend"), json!("podinfo"));
    assert_eq!(names("").await, (vec![podinfo.clone(), backend.clone()], json!(2), json!(0), Value::Null));
    assert_eq!(names("?sort=name").await.0, [backend.clone(), podinfo.clone()]);
    assert_eq!(names("?limit=1").await, (vec![podinfo.clone()], json!(2), json!(0), json!("1")));
    assert_eq!(names("?limit=1&cursor=1").await.0, std::slice::from_ref(&backend));
    assert_eq!(names("?state=ready,failed").await, (vec![backend.clone()], json!(1), json!(1), Value::Null));
    assert_eq!(names("?q=podin&ns=apps").await.0, [podinfo]);
    assert_eq!(names("?ns=other").await.0, [Value::Null; 0]);
    assert_eq!(world.get("/api/v1/rollouts?sort=luck").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let images = world.json("/api/v1/images").await;
    assert_eq!(images["items"][0]["name"], "podinfo");
    let image = world.json("/api/v1/images/apps/podinfo").await;
    assert_eq!(
        (&image["rule"], &image["repository"]["image"]),
        (&json!("semver 6.x   policy/podinfo"), &json!("ghcr.io/a/podinfo"))
    );
    assert_eq!(world.json("/api/v1/events?for=Canary/apps/podinfo&since=1h").await["items"], json!([]));
    assert_eq!(world.get("/api/v1/events?since=soon").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_stream_tells_changes_and_what_was_missed() {
    let world = World::start(&[]).await;
    let mut stream = Stream::open(&world, "overview,rollout:apps/podinfo", None).await;
    stream.next("hello").await;
    world.moves("podinfo", Phase::Progressing, 40).await;
    let (seen, row) = stream.next("row").await;
    assert_eq!((&row["name"], &row["weight"]["asked"]), (&json!("podinfo"), &json!(40)));
    assert_eq!(stream.next("rollout").await.1["steps"][3]["state"], "now");
    world.moves("podinfo", Phase::Failed, 0).await;
    let (_, counts) = stream.next("counts").await;
    assert_eq!((&counts["failed"], &counts["progressing"]), (&json!(1), &json!(0)));
    drop(stream);
    let mut resumed = Stream::open(&world, "overview", Some(&seen)).await;
    assert_eq!(resumed.next("row").await.1["state"], "Failed");
    let mut foreign = Stream::open(&world, "overview", Some("1-1")).await;
    foreign.next("reset").await;
}

#[tokio::test]
async fn a_stream_is_never_silent_while_others_move() {
    let world = World::start(&[]).await;
    let mut stream = Stream::open(&world, "rollout:apps/podinfo", None).await;
    stream.next("hello").await;
    let noise = async {
        for weight in (0..100).cycle() {
            world.moves("backend", Phase::Succeeded, weight).await;
            clock::sleep(Duration::from_millis(400)).await;
        }
    };
    tokio::select! {
        () = noise => {}
        _ = stream.next("ping") => {}
    }
}

#[tokio::test]
async fn names_that_somebody_points_here_get_nothing() {
    let world = World::start(&["--external-url", "https://slipway.example/ops/"]).await;
    for (host, expected) in [
        ("localhost:1", StatusCode::OK),
        ("slipway.example", StatusCode::OK),
        ("rebound.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        for path in ["/", "/api/v1/rollouts"] {
            let answer = world.client.get(world.url(path)).header(header::HOST, host).send().await.expect("an answer");
            assert_eq!(answer.status(), expected, "{host}{path}");
        }
    }
}

#[tokio::test]
async fn nobody_acts_unless_that_is_asked_for() {
    let world = World::start(&[]).await;
    let seen = world.seen().await;
    let (status, answer) = world.act("rollback", &json!({"seen": seen}), &[]).await;
    assert_eq!((status, &answer["error"]), (StatusCode::FORBIDDEN, &json!("the dashboard is read-only")));
    let refused = slipway(&[
        "run",
        "--manifests",
        "/",
        "--state",
        "/tmp/never.db",
        "--listen",
        "0.0.0.0:0",
        "--dashboard",
        "act",
    ]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("needs --dashboard-tokens FILE"), "{}", refused.stderr);
    let off = World::start(&["--dashboard", "off"]).await;
    for path in ["/", "/api/v1/overview"] {
        assert_eq!(off.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_action_is_asked_on_what_was_seen_and_once() {
    let world = World::start(&["--dashboard", "act"]).await;
    let seen = world.seen().await;
    let origin = format!("http://{}", world.address);
    let foreign = world.act("rollback", &json!({"seen": seen}), &[("origin", "http://evil.example")]).await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN);
    let form = world.client.post(world.url("/api/v1/rollouts/apps/podinfo/actions/rollback"));
    let form = form.header(header::CONTENT_TYPE, "text/plain").body(json!({"seen": seen}).to_string()).send().await;
    assert_eq!(form.expect("an answer").status(), StatusCode::FORBIDDEN);
    let old = json!({"seen": "1/Progressing/20/0/Progressing"});
    let (status, answer) = world.act("rollback", &old, &[("origin", &origin)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(answer["error"], "Nothing done: podinfo went from 20% to 30% while this was open.");
    let (status, answer) = world.act("promote", &json!({"seen": seen}), &[]).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(world.act("skip", &json!({"seen": seen}), &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.act("explode", &json!({"seen": seen}), &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.annotation(REQUEST).await, None);

    let wish = json!({"seen": seen, "reason": HOSTILE});
    let (status, answer) = world.act("rollback", &wish, &[("origin", &origin), ("idempotency-key", "k")]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let text = world.annotation(REQUEST).await.expect("a request");
    assert!(
        text.starts_with("rollback at 2") && text.ends_with(&format!(" by somebody on this machine: {HOSTILE}")),
        "{text}"
    );
    assert_eq!(world.act("rollback", &wish, &[("idempotency-key", "k")]).await, (StatusCode::OK, answer));
    assert_eq!(world.annotation(REQUEST).await, Some(text));
    let pending = world.json("/api/v1/rollouts/apps/podinfo").await["pending"].clone();
    assert_eq!((&pending["action"], &pending["reason"]), (&json!("rollback"), &json!(HOSTILE)));
    let events = world.json("/api/v1/events?for=Canary/apps/podinfo").await;
    assert_eq!((&events["items"][0]["reason"], &events["items"][0]["isPerson"]), (&json!("Asked"), &json!(true)));

    assert_eq!(world.act("pause", &json!({"seen": world.seen().await}), &[]).await.0, StatusCode::OK);
    assert!(world.annotation(PAUSED).await.is_some_and(|text| text.starts_with("at 2")));
    assert_eq!(world.act("resume", &json!({"seen": world.seen().await}), &[]).await.0, StatusCode::OK);
    assert_eq!(world.annotation(PAUSED).await, None);
}

#[tokio::test]
async fn a_token_says_who_acts() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, "ada: s3cret\n").expect("a written file");
    let world = World::start(&["--dashboard", "act", "--dashboard-tokens", &tokens.display().to_string()]).await;
    let overview = world.json("/api/v1/overview").await;
    assert_eq!(overview["you"]["needsToken"], true);
    let wish = json!({"seen": world.seen().await});
    assert_eq!(world.act("rollback", &wish, &[]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.act("rollback", &wish, &[("authorization", "Bearer guess")]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.annotation(REQUEST).await, None);
    let (status, answer) = world.act("rollback", &wish, &[("authorization", "Bearer s3cret")]).await;
    assert_eq!((status, &answer["pending"]["by"]), (StatusCode::OK, &json!("ada")));
    // A token that is taken away is of no use any more.
    fs::write(&tokens, "").expect("a written file");
    assert_eq!(world.act("rollback", &wish, &[("authorization", "Bearer s3cret")]).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_kept_beside_the_state_and_followed() {
    let world = World::start(&["--log-level", "debug"]).await;
    let state = world.folder.path().join("state.db").display().to_string();
    let run = slipway(&["logs", "--state", &state, "--level", "info"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(
        run.stdout.lines().any(|line| line.ends_with(&format!(" info slipway starts listen={}", world.address))),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains(" debug "), "{}", run.stdout);
    let last = slipway(&["logs", "--state", &state, "--tail", "1", "-o", "json"]);
    assert_eq!(last.stdout.lines().count(), 1);
    assert!(last.json()["msg"].is_string());
    assert_eq!(slipway(&["logs", "--state", &state, "--for", "canary/nothing"]).stdout, "");
    assert_eq!(slipway(&["logs", "--state", &state, "--level", "loud"]).code, 2);

    // What the supervisor writes for a container.
    let folder = world.folder.path().join("state.files/local/logs/apps/podinfo-abc-1");
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("app.log");
    fs::write(&file, "one\ntwo\n").expect("a written file");
    let pods = ["logs", "--state", &state, "-n", "apps", "--for", "deployment/podinfo"];
    assert_eq!(slipway(&[&pods[..], &["--tail", "1"]].concat()).stdout, "podinfo-abc-1  two\n");
    assert_eq!(slipway(&[&pods[..], &["--since", "5m"]].concat()).code, 2);
    let mut follower = tokio::process::Command::new(SLIPWAY)
        .args([&pods[..], &["-f"]].concat())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("slipway starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let next = async |lines: &mut tokio::io::Lines<_>| {
        let line = tokio::time::timeout(PATIENCE, tokio::io::Lines::next_line(lines)).await;
        line.expect("a line in time").expect("readable").expect("a line")
    };
    assert_eq!(
        (next(&mut lines).await, next(&mut lines).await),
        ("podinfo-abc-1  one".into(), "podinfo-abc-1  two".into())
    );
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(b"three\n"))
        .expect("a written file");
    assert_eq!(next(&mut lines).await, "podinfo-abc-1  three");
}
