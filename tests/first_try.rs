//! What somebody meets who tries slipway for the first time: slips of the pen, empty folders, servers that do not answer.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
};

use serde_json::json;

use crate::support::{SLIPWAY, slipway};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

const POLICY: &str = "apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: apps}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: 1.x}}}
status: {latestRef: {name: a.io/app, tag: 1.2.0}}
";

#[test]
fn a_slip_gets_one_tip_and_the_right_one() {
    let promote = slipway(&["promote", "app", "--full"]);
    assert_eq!(promote.stderr.matches("tip:").count(), 1, "{}", promote.stderr);
    assert!(promote.stderr.ends_with("tip: slipway canary promote app --full\n"), "{}", promote.stderr);
    let image = slipway(&["get", "image", "--state", "/nowhere/state.db"]);
    assert!(image.stderr.contains("image repository, image policy, image update"), "{}", image.stderr);
    let other = slipway(&["canary", "promote", "ip/app", "--state", "/nowhere/state.db"]);
    assert!(other.code == 2 && other.stderr.contains("not image policies"), "{other:?}");
    let time = slipway(&["logs", "--since-time", "yesterday", "--state", "/nowhere/state.db"]);
    assert!(time.stderr.contains("a time such as 2026-05-04T09:14:31Z is expected"), "{}", time.stderr);
    let help = slipway(&["--help"]).stdout;
    assert!(help.contains("Exit codes:") && help.contains("Promote, roll back"), "{help}");
}

#[test]
fn check_names_what_is_no_object_of_any_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |from: &str, to: &str| {
        let file = write(folder.path(), "policy.yaml", &POLICY.replace(from, to));
        let run = slipway(&["check", &file, "-o", "json"]);
        let finding = run.json()["findings"][0].clone();
        let told = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        (run.code, format!("{}: {}", told("field"), told("message")))
    };
    for (from, to, expected) in [
        (
            "kind: ImagePolicy",
            "kind: ImagePolic",
            "kind: image.toolkit.fluxcd.io has no kind \"ImagePolic\"; ImagePolicy is one",
        ),
        (
            "io/v1",
            "io/v7",
            "apiVersion: image.toolkit.fluxcd.io/v7 is not served; use image.toolkit.fluxcd.io/v1 or v1beta2",
        ),
        ("name: app, ", "", "metadata.name: is required"),
        ("1.x", "1.x ||| 2", "spec.policy.semver.range: constraint parser error: not a semantic version"),
    ] {
        assert_eq!(of(from, to), (1, expected.to_owned()));
    }
    write(folder.path(), "policy.yaml", POLICY);
    write(folder.path(), "values.yaml", "kind: Canary\nname: an application's own\n");
    assert_eq!(slipway(&["check", &folder.path().display().to_string()]).code, 0);
}

#[test]
fn set_says_why_nothing_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = write(folder.path(), "policies.yaml", POLICY);
    let none = write(folder.path(), "none.yaml", &POLICY.replace("status:", "other:"));
    let bare = write(folder.path(), "bare.yaml", "image: a.io/app:1.2.0\n");
    let right = write(folder.path(), "right.yaml", "image: a.io/app:1.2.0 # {\"$imagepolicy\": \"apps:app\"}\n");
    for (path, policies, expected) in [
        (&bare, &policies, "No markers found under "),
        (&right, &none, "No commit needed: no marker names a policy with an image in "),
        (&right, &policies, "No commit needed: 1 marker already names the chosen tag.\n"),
    ] {
        let run = slipway(&["set", path, "-f", policies]);
        assert!(run.code == 0 && run.stdout.contains(expected), "{run:?}");
    }
    let markers = slipway(&["markers", &bare]);
    assert!(markers.code == 0 && markers.stdout.is_empty(), "{markers:?}");
    assert!(markers.stderr.starts_with("No markers found under "), "{markers:?}");
    let add = |image: &str| slipway(&["markers", "add", &bare, "--image", image, "--policy", "apps:app"]);
    assert!(add("a.io/app:1.2.0").code == 2 && add("").code == 2);
    assert!(add("a.io/other").stdout.contains("no value without a marker names a.io/other"));
}

#[test]
fn a_template_that_fails_is_named_by_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
        "metadata": {"name": "app"}, "spec": {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "app"},
            "git": {"commit": {"author": {"email": "a@b.c"}, "messageTemplate": "{{ .Nope }}"}}}});
    let file = write(folder.path(), "automation.yaml", &automation.to_string());
    let changes = write(folder.path(), "changes.json", "[]");
    let run = slipway(&["message", "-f", &file, "--changes", &changes, "-o", "json"]);
    assert!(run.stderr.contains("automation.yaml, line 1: spec.git.commit.messageTemplate\n  because: "), "{run:?}");
    assert!(run.json()["error"].as_str().is_some_and(|error| error.starts_with("failed to run template")), "{run:?}");
}

#[test]
fn a_receiver_that_is_not_there_or_not_ready_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = "apiVersion: notification.toolkit.fluxcd.io/v1\nkind: Receiver\nmetadata: {name: hook}\nspec: {type: generic, \
                    secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]}\n";
    let file = write(folder.path(), "receiver.yaml", receiver);
    let call = write(folder.path(), "call.json", "{}");
    let other = slipway(&["receive", "-f", &file, "--receiver", "other"]);
    assert!(other.code == 2 && other.stderr.contains("no Receiver named other in "), "{other:?}");
    let none = slipway(&["receive", "-f", &write(folder.path(), "none.yaml", POLICY)]);
    assert!(none.code == 2 && none.stderr.contains("no Receiver in "), "{none:?}");
    let run = slipway(&["receive", "-f", &file, "--request", &call, "-o", "json"]);
    assert_eq!(run.json()["status"], 503);
    assert!(run.json()["errors"][1].as_str().is_some_and(|error| error.contains("token")), "{run:?}");
}

#[test]
fn what_was_never_a_state_file_is_not_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = folder.path().display().to_string();
    let policy = write(folder.path(), "policy.yaml", POLICY);
    let state = folder.path().join("state.db").display().to_string();
    for (flags, expected) in [
        (["--state", &policy].as_slice(), "is no state file of slipway"),
        (&["--state", &manifests], "is a folder"),
        (&["--state", &state, "--log-level", "nope"], "no level is called \"nope\""),
        (&["--state", &state, "--events-addr", "flux"], "--events-addr flux: an http or https URL is expected"),
        (&["--state", &state, "--external-url", "here"], "--external-url here: an http or https URL is expected"),
        (&["--state", &state, "--dashboard", "act", "--dashboard-tokens", "/nowhere"], "--dashboard-tokens /nowhere"),
    ] {
        let run = slipway(&[&["run", "--manifests", &manifests, "--listen", "127.0.0.1:0"], flags].concat());
        assert!(run.code == 2 && run.stderr.contains(expected), "{flags:?}: {run:?}");
    }
    assert_eq!(fs::read_to_string(&policy).expect("the file"), POLICY);
    let demo = slipway(&["demo", "--folder", &manifests]);
    assert!(demo.code == 2 && demo.stderr.contains("is not empty"), "{demo:?}");
}

#[test]
fn a_registry_that_goes_silent_in_the_middle_is_given_up() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"tags\": [");
            open.push(stream);
        }
    });
    let image = format!("{address}/team/app");
    let run = slipway(&["scan", &image, "--insecure", "--timeout", "500ms", "-o", "json"]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stderr.contains("has not listed the tags of") && run.stderr.contains("hint: to wait longer"),
        "{run:?}"
    );
    assert!(run.json()["error"].as_str().is_some_and(|error| error.contains("within 500ms")), "{run:?}");
}

#[test]
fn a_cluster_that_cannot_be_asked_is_told_to_programs_and_people() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]});
    let config = write(folder.path(), "kubeconfig", &config.to_string());
    for flags in [["--pre"].as_slice(), &["--takeover"], &[]] {
        let run = slipway(&[&["check", "-o", "json", "--kubeconfig", &config], flags].concat());
        assert!(run.code == 3 && run.json()["error"].is_string(), "{run:?}");
        assert!(run.stderr.contains("because: connection refused\n"), "{run:?}");
        assert!(run.stderr.contains("hint: the cluster at https://127.0.0.1:1/ is asked"), "{run:?}");
    }
    let text = write(folder.path(), "notes.txt", "hello\n");
    let run = slipway(&["get", "canary", "--state", &text]);
    assert!(run.code == 2 && run.stderr.contains("is no state file of slipway"), "{run:?}");
    let run = slipway(&["choose", "--tags", &text]);
    assert!(run.code == 2 && run.stderr.contains("--file <FILE>"), "{run:?}");
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Command::new(SLIPWAY)
        .args(["get", "canary", "--kubeconfig"])
        .arg(folder.path().join("none"))
        .env("SLIPWAY_STATE", "")
        .output()
        .expect("slipway runs");
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(2) && told.contains("cannot read kubeconfig"), "{told}");
    let run =
        Command::new(SLIPWAY).arg("run").env("KUBECONFIG", "").env("SLIPWAY_LISTEN", "").output().expect("it runs");
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(told.contains("nothing to work on: give --manifests FOLDER"), "{told}");
}
