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
    complains(&slipway(&["promote", "app"]), &["'promote'", "tip: slipway canary promote app\n"]);
    complains(&slipway(&["abort", "app"]), &["tip: slipway canary rollback\n"]);
    complains(&slipway(&["choose"]), &["slipway choose -f FILE --tags FILE", "slipway choose NAME"]);
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

const CANARY: &str = "apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: app, namespace: apps}
spec:
  provider: istio
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  service: {port: 80}
  analysis:
    interval: 1m
    threshold: 2
    maxWeight: 50
    stepWeight: 10
    metrics:
    - name: request-success-rate
      thresholdRange: {min: 99}
    - name: mine
      templateRef: {name: mine}
      thresholdRange: {max: 1}
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: mine, namespace: apps}
spec:
  provider: {type: prometheus, address: http://p}
  query: up
";

#[test]
fn a_wrong_field_of_a_canary_is_named_by_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name).display().to_string();
        fs::write(&path, text).expect("a file");
        path
    };
    let scenario = write("scenario.yaml", "- tick: 1\n- tick: 1\n");
    let canary = |text: &str| write("canary.yaml", text);
    let step = canary(&CANARY.replace("stepWeight: 10", "stepWeight: ten"));
    let place = format!("{step}, line 12: spec.analysis.stepWeight: a whole number is expected");
    for arguments in [
        ["simulate", "-f", &step, "--scenario", &scenario].as_slice(),
        &["render", "-f", &step, "--weights", "90,10"],
        &["weights", "-f", &step, "--existing", &scenario],
        &["queries", "-f", &step, "-o", "json"],
    ] {
        let run = slipway(&[&["canary"], arguments].concat());
        complains(&run, &[&place]);
        assert!(!arguments.contains(&"json") || run.json()["error"] == place, "{run:?}");
    }
    let query = canary(&CANARY.replace("query: up", "query: [up]"));
    complains(&slipway(&["canary", "queries", "-f", &query]), &[", line 25: spec.query: invalid type: list, expected"]);
    let query = canary(&CANARY.replace("templateRef: {name: mine}", "templateRef: {name: other}"));
    let past = ["simulate", "-f", &query, "--prometheus", "http://127.0.0.1:9", "--since", "1h"];
    for arguments in [["queries", "-f", &query].as_slice(), &past] {
        complains(&slipway(&[&["canary"], arguments].concat()), &[", line 16: Canary app: ", "other.apps"]);
    }
    let twice = canary(&[CANARY, "---\n", CANARY].concat());
    let render = slipway(&["canary", "render", "-f", &twice, "--weights", "90,10"]);
    complains(&render, &[", line 26: a second Canary, where one is expected"]);
    let good = canary(CANARY);
    for (script, told) in [
        ("# steps\n- tick: 1\n- tock: 1\n", ", line 3: scenario: steps[1]: unknown step \"tock\""),
        ("steps:\n- tick: 1\n- tick: -1\n", ", line 3: scenario: steps[1]: tick: a number"),
        ("world:\n  image: 5\nsteps: []\n", ", line 2: scenario: world.image: a text is expected"),
        ("- tick: 90000\n- tick: 90000\n", ", line 2: scenario: steps[1]: more than 100000 ticks in all"),
        ("- tick\n- patch: {spec: {service: 5}}\n", ", line 2: scenario: steps[1]: patch: spec.service: invalid type"),
        ("- tick: 1\n---\n- tick: 1\n", ", line 3: one document is expected, not several"),
    ] {
        let script = write("bad.yaml", script);
        complains(&slipway(&["canary", "simulate", "-f", &good, "--scenario", &script]), &[told]);
    }
    let samples = write("samples.json", "{\"mine\": [[0, 1], [2000000000, 1]]}");
    complains(&slipway(&["canary", "simulate", "-f", &good, "--samples", &samples]), &["at most 100000 are played"]);
}

#[test]
fn objects_of_any_shape_are_refused_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("receiver.yaml").display().to_string();
    let event = folder.path().join("event.json").display().to_string();
    fs::write(
        &event,
        json!({"involvedObject": {"kind": "Canary", "name": "a"}, "severity": "info", "timestamp": "2026-01-01T00:00:00Z",
            "message": "m", "reason": "r", "reportingController": "c"})
        .to_string(),
    )
    .expect("a file");
    for (text, told) in [
        ("kind: Receiver\nmetadata: text\nspec: {}\n", ", line 2: metadata: an object is expected"),
        ("kind: Receiver\nspec: {}\nmetadata: [1]\n", ", line 3: metadata: an object is expected"),
    ] {
        fs::write(&file, text).expect("a file");
        complains(&slipway(&["receive", "-f", &file]), &[&file, told]);
        complains(&slipway(&["notify", "-f", &file, "--event", &event]), &[&file, told]);
    }
    fs::write(&file, "kind: Receiver\nmetadata: {name: a}\nspec:\n  type: 5\n").expect("a file");
    complains(&slipway(&["receive", "-f", &file]), &[&file, ", line 4: spec.type: a string"]);
    fs::write(&file, "kind: Alert\nmetadata: {name: a}\nspec:\n  summary: [1]\n").expect("a file");
    complains(&slipway(&["notify", "-f", &file, "--event", &event]), &[&file, ", line 4: spec.summary: "]);
}

#[test]
fn what_is_no_text_is_named_by_its_line_and_steers_no_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml").display().to_string();
    let choose = |content: &[u8]| {
        fs::write(&file, content).expect("a file");
        slipway(&["choose", "-f", &file, "--tags", "-"])
    };
    complains(&choose(b"kind: A\nspec: \xe9\n"), &[", line 2: UTF-8 is expected, and byte 0xe9 is none"]);
    complains(&choose(b"\xff\xfek\0"), &[", line 1: UTF-8 is expected, and this is UTF-16"]);
    complains(&choose(b"a: 1\na: 2\n"), &[", line 2: duplicate mapping key: a\n"]);
    complains(&choose("[".repeat(10_000).as_bytes()), &[", line 1: it is nested too deeply"]);
    let folder = folder.path().display().to_string();
    complains(&slipway(&["choose", "-f", &folder, "--tags", "-"]), &["cannot read ", ": is a directory\n"]);
    let run = slipway_with(&["semver", "*", "-"], "1\x1b[2J\u{202e}2\n");
    assert!(run.stdout.contains("1\\u{1b}[2J\\u{202e}2"), "{run:?}");
    complains(
        &slipway_with(&["canary", "simulate", "-f", "-", "--scenario", "-"], CANARY),
        &["standard input can be read once"],
    );
}

#[test]
fn plain_letters_are_written_where_others_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml").display().to_string();
    let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "metadata": {"name": "a"},
        "spec": {"imageRepositoryRef": {"name": "a"}, "policy": {"semver": {"range": "1.x"}}}});
    fs::write(&file, policy.to_string()).expect("a file");
    let run = slipway(&["--ascii", "semver", "1.x", "1.0.0", "2.0.0"]);
    assert!(run.stdout.starts_with("ok 1.0.0  in range\n!  2.0.0  "), "{run:?}");
    let run = slipway_with(&["--ascii", "choose", "-f", &file, "--tags", "-", "--all"], "1.0.0\n1.1.0\n2.0.0\n");
    assert!(
        run.stdout.is_ascii() && run.stdout.contains("\nok  1.1.0") && run.stdout.contains("\n!   2.0.0"),
        "{run:?}"
    );
    assert_eq!(slipway(&["--ascii", "check", &file]).stdout, "ok nothing to complain about in 1 object\n");
}

#[test]
fn programs_are_told_what_is_wrong_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = folder.path().join("good.yaml").display().to_string();
    fs::write(&good, CANARY).expect("a file");
    fs::write(folder.path().join("bad.yaml"), b"a: 1\nb: \xff\n").expect("a file");
    let folder = folder.path().display().to_string();
    for arguments in [
        ["check", "/nowhere/x.yaml"].as_slice(),
        &["check", &good, "--tags", "/nowhere/x.yaml"],
        &["markers", "/nowhere/x.yaml"],
        &["markers", "add", "/nowhere/x.yaml", "--image", "a", "--policy", "a:b"],
        &["notify", "-f", "/nowhere/x.yaml", "--event", "-"],
        &["receive", "-f", "/nowhere/x.yaml"],
        &["canary", "queries", "-f", "/nowhere/x.yaml"],
    ] {
        let run = slipway(&[arguments, &["-o", "json"]].concat());
        complains(&run, &["/nowhere/x.yaml"]);
        assert!(run.json()["error"].as_str().is_some_and(|error| error.contains("/nowhere/x.yaml")), "{run:?}");
    }
    // A file of a folder that cannot be read does not hide the others.
    let run = slipway(&["check", &folder]);
    assert_eq!((run.code, run.stdout.lines().count()), (1, 1), "{run:?}");
    assert!(run.stdout.contains("/bad.yaml:2: error: UTF-8 is expected"), "{run:?}");
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error_unless_nobody_wants_it() {
    let run = |stdout: fs::File, stderr: fs::File| {
        let mut command = std::process::Command::new(crate::support::SLIPWAY);
        command.args(["semver", "1.x", "1.2.3"]).stdout(stdout).stderr(stderr).status().expect("slipway runs").code()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has /dev/full");
    assert_eq!(run(full(), fs::File::create(&told).expect("a file")), Some(2));
    let text = fs::read_to_string(&told).expect("a file");
    assert_eq!(text, "error: cannot write to standard output: no space left on device\n");
    assert_eq!(run(full(), full()), Some(2));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = std::process::Command::new(crate::support::SLIPWAY);
    let gone = command.args(["semver", "1.x", "1.2.3"]).stdout(writer).output().expect("slipway runs");
    assert_eq!((gone.status.code(), gone.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn check_reads_a_thousand_canaries_in_the_time_that_each_takes() {
    let mut text = String::new();
    for number in 0..400 {
        let named = CANARY.replace("name: app", &format!("name: app{number}"));
        text += &format!("---\n{}", named.replace("name: mine", &format!("name: mine{number}")));
    }
    let begun = reconcile::clock::instant();
    let run = slipway_with(&["check", "-"], &text);
    assert_eq!(run.code, 0, "{run:?}");
    // A debug build takes 3 s of it; what looks at all objects for each takes minutes.
    assert!(begun.elapsed() < std::time::Duration::from_secs(40), "{:?}", begun.elapsed());
}

#[test]
fn check_names_the_line_of_a_field_in_a_list() {
    let policy = |range: &str| {
        format!(
            "- apiVersion: image.toolkit.fluxcd.io/v1\n  kind: ImagePolicy\n  metadata: {{name: a{range}}}\n  spec:\n    \
             imageRepositoryRef: {{name: a}}\n    policy:\n      semver:\n        range: {range}\n"
        )
    };
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}{}", policy("1.x"), policy("x1y"));
    let run = slipway_with(&["check", "-", "-o", "json"], &list);
    assert_eq!((run.code, &run.json()["findings"][0]["line"]), (1, &json!(19)), "{run:?}");
}

#[test]
fn check_takes_no_text_for_a_field() {
    let policy = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata:\n  name: a\n  annotations:\n    \
                  note: |\n      spec:\n        policy: {semver: {range: 1.x}}\nspec: {imageRepositoryRef: {name: a},\n  \
                  policy: {semver:\n    {range: x1y}}}\n";
    let object = "{\"apiVersion\": \"image.toolkit.fluxcd.io/v1\", \"kind\": \"ImagePolicy\",\n\"metadata\": {\"name\": \"b\"},\n\
                  \"spec\": {\"imageRepositoryRef\": {\"name\": \"a\"}, \"policy\": {\"semver\": {\"range\":\n\"x1y\"}}}}";
    let list = format!("---\n{{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [{object}, {object}]}}\n");
    let run = slipway_with(&["check", "-", "-o", "json"], &format!("{policy}{list}"));
    let lines: Vec<_> =
        run.json()["findings"].as_array().expect("findings").iter().map(|one| one["line"].clone()).collect();
    assert_eq!(lines, [11, 15, 18], "{run:?}");
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
