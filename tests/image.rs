//! `slipway choose` and `slipway semver` beyond the sample cases: every tag's fate, and a look into a running slipway.

use std::{fs, path::Path};

use reconcile::{Directory, Store};
use scanner::{
    Listing, Tags,
    result::Exclusions,
    tags::{Origin, Stored},
};
use serde_json::{Value, json};

use crate::{
    demo::{
        ci::{self, Program, Release},
        parts,
    },
    support::{SLIPWAY, slipway, slipway_with},
};

const POLICY: &str = "
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImagePolicy
metadata: {name: app, namespace: apps}
spec:
  imageRepositoryRef: {name: app}
  filterTags: {pattern: '^v?[0-9]'}
  policy: {semver: {range: 1.x}}
---
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImageRepository
metadata: {name: app, namespace: apps}
spec: {image: ghcr.io/team/app, interval: 1m, exclusionList: ['\\.sig$']}
";

/// What `choose -o json` says of each tag.
fn fates(answer: &Value) -> Vec<(&str, bool, Option<&str>)> {
    let candidates = answer["candidates"].as_array().expect("candidates").iter();
    candidates
        .map(|row| (row["tag"].as_str().unwrap_or_default(), row["accepted"] == true, row["reason"].as_str()))
        .collect()
}

#[test]
fn choose_tells_the_fate_of_every_tag() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml").display().to_string();
    fs::write(&file, POLICY).expect("a file");
    let tags = "1.0.0\n1.2.0\nv1.2.0\n1.2.0.sig\nlatest\n2.0.0\n1.3.0-rc.1\n1.4\n";
    let run = slipway_with(&["choose", "-f", &file, "--tags", "-", "-o", "json"], tags);
    let answer = run.json();
    assert_eq!((run.code, &answer["latest"]), (0, &json!({"tag": "v1.2.0", "value": "v1.2.0"})));
    assert_eq!(
        fates(&answer),
        [
            ("v1.2.0", true, None),
            ("1.2.0", true, Some("equal to v1.2.0, whose tag is greater in byte order")),
            ("1.0.0", true, Some("lower than v1.2.0")),
            ("latest", false, Some("does not match the pattern ^v?[0-9]")),
            ("2.0.0", false, Some("\"2.0.0\" does not have same major version as \"1.x\"")),
            ("1.4", false, Some("not a semantic version: a tag needs all three fields, as in 1.2.3")),
            (
                "1.3.0-rc.1",
                false,
                Some("\"1.3.0-rc.1\" is a prerelease version and the constraint is only looking for release versions")
            ),
            ("1.2.0.sig", false, Some("matches \\.sig$ of the exclusion list")),
        ]
    );
    let run = slipway_with(&["choose", "-f", &file, "--tags", "-", "--all"], tags);
    assert_eq!(run.stdout.lines().count(), 9, "{}", run.stdout);
    assert!(run.stdout.contains("fits, lower than v1.2.0"), "{}", run.stdout);
    let run = slipway_with(&["choose", "-f", &file, "--tags", "-", "--why-not", "1.0.0"], tags);
    assert_eq!((run.code, run.stdout.as_str()), (1, "1.0.0 fits, as number 3, but is lower than v1.2.0\n"));
}

#[test]
fn choose_follows_the_policys_own_rules() {
    let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
        "metadata": {"name": "app", "annotations": {"slipway.dev/hold": "1.2.0", "slipway.dev/no-downgrade": "true"}},
        "spec": {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "1.x"}}},
        "status": {"latestRef": {"name": "a", "tag": "1.1.0"}}});
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.json").display().to_string();
    fs::write(&file, policy.to_string()).expect("a file");
    let answer = slipway_with(&["choose", "-f", &file, "--tags", "-", "-o", "json"], "1.0.0\n1.1.0\n1.2.0\n").json();
    assert_eq!(answer["latest"]["tag"], "1.1.0");
    assert_eq!(
        fates(&answer),
        [
            ("1.1.0", true, None),
            ("1.2.0", false, Some("held back by slipway.dev/hold")),
            ("1.0.0", false, Some("below 1.1.0, which slipway.dev/no-downgrade keeps")),
        ]
    );
}

#[tokio::test]
async fn choose_looks_into_a_running_slipway() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.db");
    let store = Store::Directory(Directory::open(&state, Vec::new()).await.expect("a store"));
    for object in api::manifest::documents(POLICY) {
        store.apply("user", &object.expect("a document").object).await.expect("applied");
    }
    let none = Exclusions::new(&[]).expect("no patterns");
    let listing = Listing::new(["1.0.0", "1.1.0", "2.0.0"].map(str::to_owned).to_vec(), &none);
    let origin = Origin { image: "ghcr.io/team/app", etag: None };
    Tags::new(store.database().clone()).put("apps", "app", &Stored::default(), &listing, origin).await.expect("kept");
    let state = state.display().to_string();
    let choose = |name: &str| slipway(&["choose", name, "--state", &state, "-n", "apps", "-o", "json"]);
    for name in ["app", "policy/app"] {
        assert_eq!(choose(name).json()["latest"]["tag"], "1.1.0", "{name}");
    }
    let run = slipway(&["choose", "ap", "--state", &state, "-n", "apps"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("image policy \"ap\" not found"), "{}", run.stderr);
}

#[tokio::test]
async fn choose_asks_the_registry_for_a_policy_of_a_running_slipway() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut part, address) = parts::registry(Path::new(SLIPWAY), folder.path()).expect("a registry");
    parts::listening(&mut part, address).await.expect("the registry listens");
    let program = Program::script(Path::new(SLIPWAY));
    for version in ["1.0.0", "1.1.0"] {
        let release = Release { version, fail_percent: 0 };
        ci::push_image(address, release, &program).await.expect("the image is pushed");
    }
    let state = folder.path().join("state.db");
    let store = Store::Directory(Directory::open(&state, Vec::new()).await.expect("a store"));
    let image = format!("{address}/demo/app");
    let manifest = POLICY.replace("ghcr.io/team/app", &image);
    for object in api::manifest::documents(&manifest) {
        store.apply("user", &object.expect("a document").object).await.expect("applied");
    }
    let none = Exclusions::new(&[]).expect("no patterns");
    let listing = Listing::new(["1.0.0", "1.1.0"].map(str::to_owned).to_vec(), &none);
    Tags::new(store.database().clone())
        .put("apps", "app", &Stored::default(), &listing, Origin { image: &image, etag: None })
        .await
        .expect("kept");
    let state = state.display().to_string();
    let choose = async |annotations: Value| {
        let id = reconcile::object::named::<api::image::ImagePolicy>("apps", "app");
        store.patch(&id, "user", &json!({"metadata": {"annotations": annotations}})).await.expect("patched");
        slipway(&["choose", "app", "--state", &state, "-n", "apps", "-o", "json"])
    };
    let run = choose(json!({"slipway.dev/platforms": "linux/amd64", "slipway.dev/created": null})).await;
    assert_eq!((run.code, &run.json()["latest"]["tag"]), (0, &json!("1.1.0")));
    let run = choose(json!({"slipway.dev/platforms": "linux/arm64"})).await;
    assert_eq!((run.code, fates(&run.json())[0].2), (1, Some("the image lacks linux/arm64")));
    let run = choose(json!({"slipway.dev/platforms": null, "slipway.dev/created": "newest"})).await;
    let undated = "the image does not say when it was built, which slipway.dev/created asks for";
    assert_eq!(fates(&run.json())[0].2, Some(undated));
    let run = choose(json!({"slipway.dev/created": null, "slipway.dev/signature": "secretRef: {name: keys}"})).await;
    assert_eq!((run.code, run.stderr.contains("secret 'apps/keys' not found")), (2, true), "{run:?}");
    // A policy in a file has no registry that is asked.
    let file = folder.path().join("policy.yaml").display().to_string();
    let asking = manifest.replacen("namespace: apps", "namespace: apps, annotations: {slipway.dev/created: newest}", 1);
    fs::write(&file, asking).expect("a file");
    let run = slipway_with(&["choose", "-f", &file, "--tags", "-"], "1.0.0");
    assert!(run.code == 0 && run.stderr.contains("signatures are not looked at"), "{run:?}");
}

/// What `check` complains about in a manifest: severity, field, and a part of the message.
fn complaints(manifest: &str, arguments: &[&str], input: &str) -> (i32, Vec<(String, String, u64, String)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml").display().to_string();
    fs::write(&file, manifest).expect("a file");
    let run = slipway_with(&[&["check", &file, "-o", "json"], arguments].concat(), input);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let answer = run.json();
    let rows = answer["findings"].as_array().expect("findings").iter();
    let found = rows.map(|row| {
        (text(row, "severity"), text(row, "field"), row["line"].as_u64().unwrap_or_default(), text(row, "message"))
    });
    (run.code, found.collect())
}

#[test]
fn check_finds_what_can_never_work_and_what_is_ignored() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {{name: a}}\nspec:\n  imageRepositoryRef: {{name: a}}\n{spec}"
        )
    };
    for (spec, severity, field, line, message) in [
        (
            "  policy:\n    semver:\n      range: '>2 <1'\n",
            "error",
            "spec.policy.semver.range",
            8,
            "no version can be in the range >2 <1",
        ),
        (
            "  policy:\n    semver:\n      range: '==1'\n",
            "error",
            "spec.policy.semver.range",
            8,
            "improper constraint: \"==1\"",
        ),
        ("  policy: {}\n", "error", "spec.policy", 6, "given ImagePolicyChoice object is invalid"),
        (
            "  policy: {numerical: {}}\n",
            "warning",
            "spec.policy.numerical",
            6,
            "without spec.filterTags one tag that is not a number fails the whole policy",
        ),
        (
            "  policy: {alphabetical: {}}\n  filterTags:\n    pattern: '(?P<ts>.*)'\n    extract: $tag_x\n",
            "error",
            "spec.filterTags.extract",
            9,
            "the pattern has no group tag_x, so ${tag_x} is always empty",
        ),
        (
            "  policy: {alphabetical: {order: up}}\n",
            "error",
            "spec.policy.alphabetical.order",
            6,
            "invalid order argument provided: 'UP', must be one of: ASC, DESC",
        ),
        (
            "  policy: {alphabetical: {}}\n  filterTag: {}\n",
            "warning",
            "spec.filterTag",
            7,
            "the field is unknown and ignored: the API server drops it",
        ),
        (
            "  policy: {alphabetical: {}}\n  interval: 5m\n",
            "error",
            "spec.interval",
            7,
            "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'",
        ),
    ] {
        let (code, found) = complaints(&policy(spec), &[], "");
        let expected = (severity.to_owned(), field.to_owned(), line, message.to_owned());
        assert_eq!(found, [expected], "{spec}");
        assert_eq!(code, i32::from(severity == "error"), "{spec}");
    }
    let good = policy("  policy: {semver: {range: 1.x}}\n");
    assert_eq!(complaints(&good, &[], ""), (0, Vec::new()));
    let (_, found) = complaints(&good, &["--tags", "-"], "1.0.0-rc.1\n1.0.0-rc.2\n");
    assert!(found[0].3.contains("write -0 behind a version of the range"), "{found:?}");
    let filtered = policy("  policy: {semver: {range: 1.x}}\n  filterTags: {pattern: ^rel-}\n");
    let (_, found) = complaints(&filtered, &["--tags", "-"], "1.0.0\n");
    assert_eq!(found[0].3, "^rel- matches none of the 1 tags");
}

#[test]
fn check_reads_repositories_too() {
    let repository = "apiVersion: image.toolkit.fluxcd.io/v1beta2\nkind: ImageRepository\nmetadata: {name: a}\nspec:\n  image: https://ghcr.io/a/b\n  interval: 1m\n  timeout: 1h\n  exclusionList: ['(']\n";
    let (code, found) = complaints(repository, &[], "");
    let fields: Vec<_> =
        found.iter().map(|(severity, field, line, _)| (severity.as_str(), field.as_str(), *line)).collect();
    let expected = [
        ("warning", "apiVersion", 1),
        ("error", "spec.image", 5),
        ("error", "spec.timeout", 7),
        ("error", "spec.exclusionList", 8),
    ];
    assert_eq!((code, fields), (1, expected.to_vec()));
    let (code, found) = complaints("kind: [\n", &[], "");
    assert_eq!((code, found.len()), (1, 1));
}

#[test]
fn check_reads_automations_too() {
    let rest = "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: apps}\n\
        spec: {url: https://example.com/fleet, interval: 1m, ref: {tag: v1}}\n---\n\
        apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: app, namespace: apps, labels: {team: a}}\n\
        spec: {imageRepositoryRef: {name: app}, policy: {alphabetical: {}}}\n";
    let automation = |name: &str, spec: &str| {
        format!(
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {{name: bot, namespace: apps}}\n\
             spec:\n  interval: 1m\n  sourceRef: {{kind: GitRepository, name: {name}}}\n{spec}{rest}"
        )
    };
    let git =
        |more: &str| format!("  git:\n    push: {{branch: main}}\n    commit:\n      author: {{email: a@b}}\n{more}");
    let message = |text: &str| git(&format!("      messageTemplate: {text:?}\n"));
    for (name, spec, severity, field, line, told) in [
        ("fleet", String::new(), "error", "spec.git", 4, "necessitates field .spec.git"),
        (
            "fleet",
            "  git: {commit: {author: {email: a@b}}}\n".into(),
            "error",
            "spec.git.push",
            7,
            "push spec not provided",
        ),
        ("gone", git(""), "warning", "spec.sourceRef", 6, "none of the files holds the GitRepository gone"),
        (
            "fleet",
            git("  policySelector:\n    matchLabels: {team: b}\n"),
            "warning",
            "spec.policySelector",
            11,
            "selects none of the ImagePolicies",
        ),
        (
            "fleet",
            git("  policySelector:\n    matchLabels: {team: two words}\n"),
            "error",
            "spec.policySelector",
            11,
            "failed to parse policy selector: ",
        ),
        (
            "fleet",
            message("{{ range .Updated.Files }}{{ end }}"),
            "error",
            "spec.git.commit.messageTemplate",
            11,
            "template uses removed '.Updated' field.",
        ),
        (
            "fleet",
            message("{{ .Changed"),
            "error",
            "spec.git.commit.messageTemplate",
            11,
            "unable to create commit message",
        ),
        (
            "fleet",
            message("{{ .Images }}"),
            "error",
            "spec.git.commit.messageTemplate",
            11,
            "can't evaluate field Images",
        ),
        (
            "fleet",
            message("{{ index .Changed.Changes 1 }}"),
            "warning",
            "spec.git.commit.messageTemplate",
            11,
            "failed to run template from spec: ",
        ),
        (
            "fleet",
            "  git:\n    push:\n      branch: main\n      refspec: main\n    commit: {author: {email: a@b}}\n".into(),
            "error",
            "spec.git.push.refspec",
            10,
            "is no source:target",
        ),
    ] {
        let (code, found) = complaints(&automation(name, &spec), &[], "");
        let [(level, place, at, text)] = found.as_slice() else { unreachable!("{spec}: {found:?}") };
        assert_eq!((level.as_str(), place.as_str(), *at), (severity, field, line), "{spec}: {text}");
        assert!(text.contains(told), "{spec}: {text}");
        assert_eq!(code, i32::from(severity == "error"), "{spec}");
    }
    assert_eq!(complaints(&automation("fleet", &git("")), &[], ""), (0, Vec::new()));
    let old = automation("fleet", &git("")).replacen("/v1", "/v1beta2", 1);
    assert_eq!(complaints(&old, &[], "").1[0].3, "v1beta2 ImageUpdateAutomation is deprecated, upgrade to v1");
}
