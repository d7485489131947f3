//! Bad input: one clear message that names what and where, the right exit code, and nothing else disturbed.

use std::fs;

use serde_json::json;

use crate::support::{Run, slipway, slipway_with};

/// The run failed as wrong input and its message holds every one of these texts.
fn complains(run: &Run, texts: &[&str]) {
    assert_eq!(run.code, 2, "{run:?}");
    for text in texts {
        assert!(run.stderr.contains(text), "{text:?} is not in {:?}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
}

#[test]
fn a_wrong_flag_is_named_with_a_tip() {
    complains(&slipway(&["image", "--outptu", "json", "a.io/b"]), &["--outptu", "--output"]);
    complains(&slipway(&["semvre"]), &["semvre", "semver"]);
}

#[test]
fn a_missing_file_is_named() {
    complains(&slipway(&["choose", "-f", "/nowhere/policy.yaml", "--tags", "-"]), &["/nowhere/policy.yaml"]);
    complains(&slipway(&["set", "/nowhere", "-f", "/nowhere/policies.yaml"]), &["/nowhere"]);
    complains(&slipway(&["canary", "render", "-f", "/nowhere/c.yaml", "--weights", "90,10"]), &["/nowhere/c.yaml"]);
    complains(&slipway(&["run", "--manifests", "/nowhere", "--state", "/tmp/none.db"]), &["/nowhere"]);
}

#[test]
fn a_malformed_manifest_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    fs::write(&file, "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: [\n")
        .expect("a file");
    let file = file.display().to_string();
    complains(&slipway(&["choose", "-f", &file, "--tags", "-"]), &[&file, "line "]);
}

#[test]
fn a_wrong_field_is_named_by_its_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "metadata": {"name": "a"},
        "spec": {"imageRepositoryRef": {"name": "a"}, "policy": {"semver": {"range": 5}}}});
    fs::write(&file, policy.to_string()).expect("a file");
    let file = file.display().to_string();
    complains(&slipway_with(&["choose", "-f", &file, "--tags", "-"], "1.0.0"), &[&file, "spec.policy.semver.range"]);
}

#[test]
fn nothing_to_work_on_is_said() {
    let run = std::process::Command::new(crate::support::SLIPWAY)
        .arg("run")
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("slipway runs");
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("--manifests"), "{run:?}");
}

#[test]
fn a_state_file_has_one_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.db");
    let lock = fs::File::create(folder.path().join("state.db.lock")).expect("a file");
    lock.lock().expect("a lock");
    let manifests = folder.path().display().to_string();
    let state = state.display().to_string();
    complains(
        &slipway(&["run", "--manifests", &manifests, "--state", &state, "--listen", "127.0.0.1:0"]),
        &["in use by another slipway"],
    );
}

#[test]
fn the_api_server_is_asked_as_often_as_fluxs_controllers_ask_it() {
    let help = slipway(&["run", "--help"]).stdout;
    for (flag, default) in [("--kube-api-qps", "50"), ("--kube-api-burst", "300")] {
        let (_, text) = help.split_once(flag).expect("the flag");
        let stated = text.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']')).expect("a default");
        assert_eq!(stated.0, default, "{flag}");
    }
}

#[test]
fn help_names_every_verb() {
    let help = slipway(&["--help"]).stdout;
    for verb in
        ["run", "demo", "get", "events", "reconcile", "choose", "semver", "set", "message", "image", "scan", "canary"]
    {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} is not in {help}");
    }
}
