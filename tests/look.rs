//! The verbs that look at a running system, on a state file that this test writes, and `scan` on a real registry.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use api::meta::{ObjectReference, REQUESTED_AT};
use oci::{Client, Name, image, manifest};
use reconcile::{Directory, Event, Events, Http, Notice, Store, clock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    demo::transport,
    support::{Run, SLIPWAY, slipway},
};

/// A state file with a Canary in a rollout, a policy, and an event.
struct State {
    folder: TempDir,
    store: Store,
}

impl State {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("the store opens");
        let state = Self { folder, store: Store::Directory(directory) };
        for (name, image) in [("podinfo", "ghcr.io/a/podinfo:6.7.1"), ("podinfo-primary", "ghcr.io/a/podinfo:6.7.0")] {
            let pod = json!({"spec": {"containers": [{"name": "app", "image": image}]}});
            state.apply("apps/v1", "Deployment", name, json!({"replicas": 1, "template": pod}), json!({})).await;
        }
        let spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "service": {"port": 80},
            "analysis": {"interval": "10s", "threshold": 5, "stepWeight": 10, "maxWeight": 50}});
        let status = json!({"phase": "Progressing", "canaryWeight": 30, "failedChecks": 1, "iterations": 0, "lastTransitionTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Promoted", "status": "Unknown", "reason": "Progressing", "message": "New revision\ndetected",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}]});
        let canary = state.apply("flagger.app/v1beta1", "Canary", "podinfo", spec, status).await;
        let spec = json!({"imageRepositoryRef": {"name": "podinfo"}, "policy": {"semver": {"range": "6.x"}}});
        let status = json!({"latestRef": {"name": "ghcr.io/a/podinfo", "tag": "6.7.1"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "chosen", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        state.apply("image.toolkit.fluxcd.io/v1", "ImagePolicy", "podinfo", spec, status).await;
        let events = Events::new(state.store.clone(), "test");
        events
            .publish(&canary, "flagger", &Notice::error("Synced", "Halt podinfo.apps advancement"))
            .await
            .expect("an event");
        state
    }

    async fn apply(&self, api_version: &str, kind: &str, name: &str, spec: Value, status: Value) -> Value {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "apps"}, "spec": spec});
        let stored = self.store.apply("user", &object).await.expect("the object is applied");
        let id = ObjectReference::of(&stored).expect("an object has a name");
        self.store.write_status(&id, "test", &status).await.expect("the status is written")
    }

    /// Runs a verb on the state file.
    fn run(&self, arguments: &[&str]) -> Run {
        let state = self.folder.path().join("state.db").display().to_string();
        slipway(&[arguments, &["--state", &state]].concat())
    }
}

fn words(line: Option<&str>) -> Vec<&str> {
    line.unwrap_or_default().split_whitespace().collect()
}

#[tokio::test]
async fn get_shows_where_a_rollout_stands() {
    let state = State::new().await;
    let run = state.run(&["get", "canary", "-n", "apps"]);
    let mut lines = run.stdout.lines();
    assert_eq!(words(lines.next()), ["NAME", "STATE", "WEIGHT", "STEP", "FAILED", "VERSION", "SINCE", "MESSAGE"]);
    let row = words(lines.next());
    assert_eq!(row[..8], ["podinfo", "Progressing", "30%", "3/5", "1/5", "6.7.0", ">", "6.7.1"]);
    assert_eq!(row[9..], ["New", "revision", "detected"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let everywhere = state.run(&["get", "rollouts", "-A"]);
    assert_eq!(words(everywhere.stdout.lines().next())[..2], ["NAMESPACE", "NAME"]);
    let policy = state.run(&["get", "image", "policy", "-n", "apps", "--no-headers"]);
    let row = words(Some(policy.stdout.as_str()));
    assert_eq!((&row[..4], row[5]), (["podinfo", "ghcr.io/a/podinfo", "6.7.1", "True"].as_slice(), "chosen"));
    let all = state.run(&["get", "all", "-n", "apps"]);
    assert!(all.stdout.contains("imagepolicy/podinfo ") && all.stdout.contains("canary/podinfo "), "{}", all.stdout);
}

#[tokio::test]
async fn get_prints_objects_for_programs() {
    let state = State::new().await;
    let one = state.run(&["get", "canary/podinfo", "-n", "apps", "-o", "json"]).json();
    assert_eq!((&one["kind"], &one["status"]["canaryWeight"]), (&json!("Canary"), &json!(30)));
    let list = state.run(&["get", "canaries", "-n", "apps", "-o", "json"]).json();
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("List"), Some(1)));
    assert_eq!(state.run(&["get", "ks", "-o", "json"]).json()["items"], json!([]));
    let yaml = state.run(&["get", "canary", "podinfo", "-n", "apps", "-o", "yaml"]);
    assert_eq!(api::manifest::parse(&yaml.stdout).expect("it is YAML"), one);
    assert_eq!(state.run(&["get", "cd", "-A", "-o", "name"]).stdout, "canary/podinfo\n");
}

#[tokio::test]
async fn what_is_not_there_is_told_with_a_tip() {
    let state = State::new().await;
    let empty = state.run(&["get", "canary"]);
    assert_eq!((empty.code, empty.stdout.as_str()), (0, ""));
    assert_eq!(empty.stderr, "No canaries in namespace \"default\". Look everywhere: slipway get canary -A\n");
    for (arguments, code, stderr) in [
        (
            ["get", "canary", "podifno", "-n", "apps"].as_slice(),
            1,
            "error: canary \"podifno\" not found in namespace \"apps\"\ntip: a similar name exists: podinfo\n",
        ),
        (
            &["get", "canary", "podinfo"],
            1,
            "error: canary \"podinfo\" not found in namespace \"default\"\ntip: it exists in namespace \"apps\": add -n apps\n",
        ),
        (&["get", "canry"], 2, "error: no kind is called \"canry\"\ntip: a similar kind exists: canary\n"),
        (&["reconcile", "canary"], 2, "error: say which canary: slipway reconcile canary NAME\n"),
        (
            &["reconcile", "ip", "podinf", "-n", "apps"],
            1,
            "error: image policy \"podinf\" not found in namespace \"apps\"\ntip: a similar name exists: podinfo\n",
        ),
    ] {
        let run = state.run(arguments);
        assert_eq!((run.code, run.stderr.as_str(), run.stdout.as_str()), (code, stderr, ""), "{arguments:?}");
    }
    let run = slipway(&["get", "canary", "--state", "/no/such/state.db"]);
    assert_eq!((run.code, run.stderr.as_str()), (2, "error: /no/such/state.db: no such state file\n"));
    for words in
        [["get", "canary"].as_slice(), &["get", "canary", "-w"], &["describe", "ip", "a"], &["events"], &["logs"]]
    {
        let run = slipway(&[words, &["--state", "/no/such/state.db", "-o", "json"]].concat());
        let told = json!({"error": "/no/such/state.db: no such state file"});
        assert_eq!((run.code, run.json()), (2, told), "{words:?}");
        // What prints a line for each object or entry prints one for the error.
        let is_line = words == ["logs"] || words.contains(&"-w");
        assert_eq!(run.stdout.lines().count() == 1, is_line, "{words:?}: {}", run.stdout);
    }
}

#[tokio::test]
async fn what_no_controller_reports_on_is_described_and_no_choice_is_json_too() {
    let state = State::new().await;
    let run = state.run(&["describe", "deployment", "podinfo", "-n", "apps"]);
    assert!(run.stdout.starts_with("podinfo: 0/1 pods ready\n"), "{run:?}");
    let run = state.run(&["choose", "other", "-n", "apps", "-o", "json"]);
    assert_eq!((run.code, run.json()["latest"].clone()), (1, Value::Null), "{run:?}");
    let run = state.run(&["canary", "rollback", "canary/podinfo", "-n", "apps"]);
    assert_eq!(run.code, 2, "it is found, and wants a yes: {run:?}");
}

#[tokio::test]
async fn events_are_listed_by_object_type_and_place() {
    let state = State::new().await;
    let run = state.run(&["events", "--for", "canary/podinfo", "-n", "apps"]);
    let mut lines = run.stdout.lines();
    assert_eq!(words(lines.next()), ["LAST-SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "BY", "MESSAGE"]);
    assert_eq!(
        words(lines.next())[1..],
        ["Warning", "Synced", "canary/podinfo", "1", "flagger", "Halt", "podinfo.apps", "advancement"]
    );
    let list = state.run(&["events", "-A", "-o", "json"]).json();
    let event: Event = serde_json::from_value(list["items"][0].clone()).expect("an event");
    assert_eq!(event.message, "Halt podinfo.apps advancement");
    for (arguments, stderr) in [
        (
            ["events", "--for", "canary/podinfo"].as_slice(),
            "No events for canary/podinfo in namespace \"default\". History is kept for 30d.\n",
        ),
        (
            &["events", "-A", "--types", "normal", "--since", "24h"],
            "No events in the last 1d. History is kept for 30d.\n",
        ),
    ] {
        let run = state.run(arguments);
        assert_eq!((run.code, run.stderr.as_str(), run.stdout.as_str()), (0, stderr, ""), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_asks_and_waits_for_the_answer() {
    let state = State::new().await;
    let id = ObjectReference {
        api_version: "image.toolkit.fluxcd.io/v1".into(),
        kind: "ImagePolicy".into(),
        namespace: "apps".into(),
        name: "podinfo".into(),
    };
    let (store, asked) = (state.store.clone(), id.clone());
    // In the place of the controller: acts on the request as soon as it is there.
    let controller = tokio::spawn(async move {
        loop {
            let object = store.find(&asked).await.expect("the store answers").expect("the policy is there");
            if let Some(request) = object["metadata"]["annotations"][REQUESTED_AT].as_str() {
                return store
                    .write_status(&asked, "test", &json!({"lastHandledReconcileAt": request}))
                    .await
                    .expect("the status is written");
            }
            tokio::task::yield_now().await;
        }
    });
    let run =
        tokio::task::block_in_place(|| state.run(&["reconcile", "ip", "podinfo", "-n", "apps", "--timeout", "30s"]));
    controller.await.expect("the controller ends");
    assert_eq!((run.code, run.stderr.as_str()), (0, "► asking image policy apps/podinfo to reconcile now\n"));
    assert!(run.stdout.starts_with("✔ chosen ("), "{}", run.stdout);
    state.store.patch(&id, "user", &json!({"spec": {"suspend": true}})).await.expect("the policy is there");
    let run = state.run(&["reconcile", "ip/podinfo", "-n", "apps"]);
    assert_eq!((run.code, run.stderr.lines().next()), (5, Some("error: image policy apps/podinfo is suspended")));
}

#[tokio::test]
async fn reconcile_gives_up_in_time() {
    let state = State::new().await;
    let run = state.run(&["reconcile", "ip", "podinfo", "-n", "apps", "--timeout", "50ms"]);
    assert_eq!(run.code, 6);
    assert!(
        run.stderr
            .contains("error: image policy \"podinfo\" was not reconciled within 50ms\nhint: is slipway running on "),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn watch_tells_each_change_in_a_line_and_ends_with_the_rollout() {
    let state = State::new().await;
    let path = state.folder.path().join("state.db").display().to_string();
    let mut command = Command::new(SLIPWAY);
    command.args(["watch", "canary/podinfo", "-n", "apps", "--interval", "50ms", "--state", &path]);
    let mut process = Process(command.stdout(Stdio::piped()).spawn().expect("slipway starts"));
    let mut lines = BufReader::new(process.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let first = lines.next().expect("a line");
    assert!(first.ends_with("Z  apps/podinfo  Progressing  30%  3/5  6.7.0 > 6.7.1  Sending 30% to 6.7.1."), "{first}");
    let id = ObjectReference {
        api_version: api::flagger::API_VERSION.into(),
        kind: "Canary".into(),
        namespace: "apps".into(),
        name: "podinfo".into(),
    };
    state.store.write_status(&id, "test", &json!({"phase": "Failed", "canaryWeight": 0})).await.expect("written");
    let last = lines.next().expect("a line");
    assert!(last.contains("  Failed  0%") && !last.contains('\x1b'), "{last}");
    assert_eq!(process.0.wait().expect("it ends").code(), Some(1));
    let list = state.run(&["watch", "canary", "nothing", "-n", "apps"]);
    assert_eq!(list.code, 1);
    assert_eq!(state.run(&["watch", "ip/podinfo"]).code, 2);
    assert_eq!(state.run(&["watch", "--filter", "odd"]).code, 2);
}

#[tokio::test]
async fn a_canary_that_does_not_fit_is_shown_with_the_reason() {
    let state = State::new().await;
    let condition = json!({"type": "Stalled", "status": "True", "reason": "InvalidManifest", "message": "threshold is odd",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let spec = json!({"analysis": {"threshold": "two"}});
    state.apply("flagger.app/v1beta1", "Canary", "typo", spec, json!({"conditions": [condition]})).await;
    let list = state.run(&["get", "canary", "-n", "apps"]);
    let row = list.stdout.lines().find(|line| line.starts_with("typo "));
    assert!(row.is_some_and(|row| row.ends_with("  threshold is odd")), "{list:?}");
    let page = state.run(&["describe", "canary", "typo", "-n", "apps"]);
    assert_eq!(page.code, 0, "{page:?}");
    assert!(page.stdout.contains("InvalidManifest") && page.stdout.contains("threshold: two"), "{page:?}");
    assert_eq!(page.stdout.lines().next(), Some("typo: threshold is odd"));
    assert_eq!(state.run(&["describe", "canary", "typo", "-n", "apps", "-o", "json"]).json()["kind"], "Canary");
}

#[tokio::test]
async fn only_what_a_controller_acts_on_is_reconciled() {
    let state = State::new().await;
    let run = state.run(&["reconcile", "deployment", "podinfo", "-n", "apps"]);
    let told = "error: deployments are not reconciled: no controller acts on them by itself\n";
    assert_eq!((run.code, run.stderr.as_str()), (2, told));
    let run = state.run(&["reconcile", "canary", "podinfo", "-n", "apps"]);
    assert!(run.stderr.ends_with("look at: slipway events --for canary/podinfo -n apps\n"), "{run:?}");
    let run = state.run(&["canary", "pause", "podinfo", "-n", "apps"]);
    assert_eq!(run.stderr, "hint: to send it all back: slipway canary rollback podinfo -n apps\n");
}

#[tokio::test]
async fn who_watches_ends_when_nobody_reads() {
    let state = State::new().await;
    let path = state.folder.path().join("state.db").display().to_string();
    let id = ObjectReference {
        api_version: api::flagger::API_VERSION.into(),
        kind: "Canary".into(),
        namespace: "apps".into(),
        name: "podinfo".into(),
    };
    for verb in [["get", "canary", "-w"].as_slice(), &["watch", "--interval", "50ms"]] {
        let mut command = Command::new(SLIPWAY);
        command.args(verb).args(["-n", "apps", "--state", &path]);
        let mut process = Process(command.stdout(Stdio::piped()).spawn().expect("slipway starts"));
        let mut reader = BufReader::new(process.0.stdout.take().expect("a pipe"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        drop(reader);
        let begun = clock::instant();
        let mut weight = 0;
        let ended = loop {
            if let Some(status) = process.0.try_wait().expect("its end can be asked for") {
                break status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{verb:?} goes on though nobody reads");
            weight += 1;
            let status = json!({"phase": "Progressing", "canaryWeight": weight});
            state.store.write_status(&id, "test", &status).await.expect("written");
            clock::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(ended, Some(0), "{verb:?}");
    }
}

#[tokio::test]
async fn watch_paints_a_terminal_and_gives_it_back() {
    let state = State::new().await;
    let id = ObjectReference {
        api_version: api::flagger::API_VERSION.into(),
        kind: "Canary".into(),
        namespace: "apps".into(),
        name: "podinfo".into(),
    };
    state.store.write_status(&id, "test", &json!({"phase": "Succeeded", "canaryWeight": 0})).await.expect("written");
    let path = state.folder.path().join("state.db").display().to_string();
    let shown = |flags: &str| {
        let line = format!("stty cols 80 rows 24; {SLIPWAY} {flags} watch podinfo -n apps --state {path}");
        // A terminal, from Debian's essential package bsdutils.
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let output = output.expect("script runs (apt-get install bsdutils)");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = shown("--color never --ascii");
    assert_eq!(code, Some(0), "{text}");
    let (screen, after) = text.split_once("\x1b[?1049l").expect("the terminal is given back");
    assert!(screen.contains("\x1b[?1049h") && screen.contains("\x1b[1;1Happs/podinfo  Ready"), "{text}");
    assert!(after.contains("apps/podinfo  Ready") && after.is_ascii() && !after.contains('\x1b'), "{text}");
    assert!(shown("--color always").1.contains("\x1b[1mapps/podinfo\x1b[0m"));
    let line = format!(
        "stty cols 60; export TERM=dumb; {SLIPWAY} watch podinfo -n apps --state {path}; {SLIPWAY} get cd -n apps --state {path}"
    );
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    let text = String::from_utf8_lossy(&output.expect("script runs").stdout).into_owned();
    assert!(text.contains("apps/podinfo  Ready") && !text.contains('\x1b'), "{text}");
    assert!(text.contains("New revisio…\r\n") || text.contains("New revi...\r\n"), "{text}");
}

/// A process that ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty registry on a free port, and where it says it listens.
fn start_registry(folder: &Path) -> (Process, String) {
    let config = folder.join("registry.yaml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        folder.display()
    );
    std::fs::write(&config, text).expect("the file is written");
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut process = Process(command.spawn().expect("docker-registry starts (apt-get install docker-registry)"));
    let mut log = BufReader::new(process.0.stderr.take().expect("stderr is piped")).lines().map_while(Result::ok);
    let address = log.find_map(|line| Some(line.split("listening on ").nth(1)?.split(['"', ' ']).next()?.to_owned()));
    std::thread::spawn(move || log.for_each(drop));
    (process, address.expect("the registry says where it listens"))
}

#[tokio::test]
async fn scan_lists_a_live_registry() {
    let folder = tempfile::tempdir().expect("a folder");
    let (registry, address) = start_registry(folder.path());
    let name = Name::parse(&format!("{address}/team/app")).expect("a good name");
    let repository = Client::new(transport(&Http::new("test"))).repository(&name, None);
    let packed = image::pack(&[Vec::new()], manifest::Process::default()).expect("an image");
    for tag in ["1.0.0", "1.1.0", "sha256-0.sig"] {
        repository.push_image(tag, &packed).await.expect("the push succeeds");
    }
    let run = slipway(&["scan", &name.to_string(), "-o", "json"]);
    let answer = run.json();
    assert_eq!(
        (run.code, &answer["tagCount"], &answer["tags"]),
        (0, &json!(2), &json!(["1.1.0", "1.0.0"])),
        "{}",
        run.stderr
    );
    assert_eq!((&answer["image"], &answer["canonical"]), (&json!(name.to_string()), &json!(name.to_string())));
    assert!(answer["revision"].as_str().is_some_and(|revision| revision.starts_with("sha256:")));
    let run = slipway(&["scan", &format!("{address}/no/such"), "-o", "json"]);
    assert_eq!((run.code, &run.json()["tags"]), (1, &json!([])));
    assert!(run.stderr.contains("NAME_UNKNOWN"), "{}", run.stderr);
    drop(registry);
    assert_eq!(slipway(&["scan", "127.0.0.1:1/team/app"]).code, 3);
    assert_eq!(slipway(&["scan", "https://ghcr.io/a/b"]).code, 2);
}
