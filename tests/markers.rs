//! `slipway markers` and `slipway set --diff` through the built binary.

use std::fs;

use serde_json::{Value, json};

use crate::support::slipway;

const POLICY: &str = r#"{"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
    "metadata": {"name": "app", "namespace": "apps"},
    "spec": {"imageRepositoryRef": {"name": "app"}, "policy": {"alphabetical": {}}},
    "status": {"latestRef": {"name": "example.com/app", "tag": "2"}}}"#;

#[test]
fn markers_are_added_listed_and_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let before = "kind: Deployment\r\nimage: 'example.com/app:1'   \r\nother: example.com/app-two:1\r\n";
    fs::create_dir(folder.path().join("deploy")).expect("a folder");
    fs::write(folder.path().join("deploy/app.yaml"), before).expect("a file");
    fs::write(folder.path().join("policy.yaml"), POLICY).expect("a file");

    let add = ["markers", "add", &at("deploy"), "--image", "example.com/app", "--policy", "apps:app", "-o", "json"];
    let added = slipway(&add);
    assert_eq!((added.code, added.json()["added"].clone()), (0, json!([{"file": "app.yaml", "line": 2}])), "{added:?}");
    let marked = fs::read_to_string(folder.path().join("deploy/app.yaml")).expect("a file");
    let marker = " # {\"$imagepolicy\": \"apps:app\"}";
    assert_eq!(marked, before.replace("app:1'", &format!("app:1'{marker}")));
    assert_eq!(slipway(&add).json()["added"], json!([]), "a second time adds nothing");

    let listed = slipway(&["markers", &at("deploy"), "-f", &at("policy.yaml"), "-o", "json"]);
    let expected = json!([{"file": "app.yaml", "line": 2, "setter": "apps:app", "value": "example.com/app:1",
        "wanted": "example.com/app:2", "problem": null, "covered": true}]);
    assert_eq!((listed.code, &listed.json()["markers"]), (0, &expected), "{listed:?}");

    let diff = slipway(&["set", &at("deploy"), "-f", &at("policy.yaml"), "--dry-run", "--diff"]);
    for part in ["    Update from image update automation\n", "--- a/app.yaml\n", "+image: 'example.com/app:2'"] {
        assert!(diff.stdout.contains(part), "{part:?} is not in {}", diff.stdout);
    }
}

#[test]
fn a_marker_that_nothing_covers_is_the_negative_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(folder.path().join("app.yaml"), "a: b # {\"$imagepolicy\": \"apps:absent\"}\n").expect("a file");
    fs::write(folder.path().join("policy.json"), POLICY).expect("a file");
    assert_eq!(slipway(&["markers", &at("app.yaml")]).code, 0);
    let run = slipway(&["markers", &at("app.yaml"), "-f", &at("policy.json")]);
    assert!(run.code == 1 && run.stdout.contains("no such policy with an image"), "{run:?}");
}

#[test]
fn an_automation_that_the_controller_would_refuse_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let file = "image: example.com/app:1 # {\"$imagepolicy\": \"apps:app\"}\n";
    fs::write(folder.path().join("app.yaml"), file).expect("a file");
    fs::write(folder.path().join("policy.yaml"), POLICY).expect("a file");
    let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
        "metadata": {"name": "bot", "namespace": "apps"},
        "spec": {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "app"}, "update": {"strategy": "Guess"}}});
    fs::write(folder.path().join("automation.yaml"), automation.to_string()).expect("a file");
    let run = slipway(&["set", &at("."), "-f", &at("policy.yaml"), "--automation", &at("automation.yaml")]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("automation.yaml: spec.update.strategy: unsupported update strategy: Guess"),
        "{run:?}"
    );
    assert_eq!(fs::read_to_string(folder.path().join("app.yaml")).expect("a file"), file);
}

#[test]
fn set_follows_the_path_and_the_selector_of_an_automation() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let file = "image: example.com/app:1 # {\"$imagepolicy\": \"apps:app\"}\n";
    for (place, name) in [("a/b", "app.yaml"), ("b", "own.yaml"), ("c", "other.yaml")] {
        fs::create_dir_all(folder.path().join(place)).expect("a folder");
        fs::write(folder.path().join(place).join(name), file).expect("a file");
    }
    fs::write(folder.path().join("policy.yaml"), POLICY).expect("a file");
    let set = |path: &str, selector: Value| {
        let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
            "metadata": {"name": "bot", "namespace": "apps"}, "spec": {"interval": "1m", "update": {"path": path},
                "policySelector": selector, "sourceRef": {"kind": "GitRepository", "name": "app"}}});
        fs::write(folder.path().join("automation.yaml"), automation.to_string()).expect("a file");
        let (policy, automation) = (at("policy.yaml"), at("automation.yaml"));
        slipway(&["set", &at("."), "-f", &policy, "--automation", &automation, "--dry-run", "-o", "json"])
    };
    let every = json!({});
    for (path, expected) in
        [("a/../b", "own.yaml"), ("../b/.", "own.yaml"), ("/b/own.yaml", "own.yaml"), ("a", "b/app.yaml")]
    {
        let run = set(path, every.clone());
        let files: Vec<Value> =
            run.json()["changes"].as_array().expect("changes").iter().map(|one| one["file"].clone()).collect();
        assert_eq!(files, [expected], "{path}: {run:?}");
    }
    let run = set("b", json!({"matchLabels": {"team": "two words"}}));
    assert!(run.code == 2 && run.stderr.contains("failed to parse policy selector: "), "{run:?}");
    assert_eq!(set("b", json!({"matchLabels": {"team": "other"}})).json()["changes"], json!([]));
}

#[test]
fn a_file_that_no_automation_reads_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let file = |version: u8| format!("image: example.com/app:{version} # {{\"$imagepolicy\": \"apps:app\"}}\n");
    let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
        "metadata": {"name": "bot", "namespace": "apps"},
        "spec": {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "app"}}});
    fs::write(folder.path().join("policy.yaml"), POLICY).expect("a file");
    fs::write(folder.path().join("automation.yaml"), automation.to_string()).expect("a file");
    let content = || fs::read_to_string(folder.path().join("app.txt")).expect("a file");
    fs::write(folder.path().join("app.txt"), file(1)).expect("a file");
    let told = json!(["app.txt: no automation reads it: only *.yaml, *.yml and Kustomization are read"]);

    let (path, policy, automation) = (at("app.txt"), at("policy.yaml"), at("automation.yaml"));
    let list = slipway(&["markers", &path, "-o", "json"]);
    assert_eq!((list.code, &list.json()["warnings"]), (1, &told), "{list:?}");
    let set = |more: &[&str]| slipway(&[&["set", &path, "-f", &policy, "-o", "json"], more].concat()).json();
    // What the next commit of the automation would do, it says as it is.
    let followed = set(&["--automation", &automation]);
    assert_eq!((&followed["changes"], &followed["warnings"], content()), (&json!([]), &told, file(1)));
    // Who names a file wants it changed.
    let own = set(&[]);
    assert_eq!((own["changes"].as_array().map(Vec::len), &own["warnings"], content()), (Some(1), &told, file(2)));
}
