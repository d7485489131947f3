//! The sample cases, run through the built binary as its users run it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::support::{cases, client, copy_tree, rows, settle, slipway, slipway_with};

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

#[test]
fn semver_ranges_accept_what_the_reference_accepts() {
    let mut groups: BTreeMap<(String, bool), Vec<Value>> = BTreeMap::new();
    for file in ["image/semver_constraints.jsonl", "image/semver_grid.jsonl", "image/semver_reasons.jsonl"] {
        for row in rows(file) {
            if row.get("match").is_some() || row.get("reason").is_some() {
                let key = (text(&row, "constraint").to_owned(), row["include_prerelease"] == json!(true));
                groups.entry(key).or_default().push(row);
            }
        }
    }
    let (mut wrong, mut total) = (Vec::new(), 0);
    for ((range, with_prereleases), rows) in &groups {
        let versions: Vec<&str> = rows.iter().map(|row| text(row, "version")).collect();
        let mut arguments = vec!["semver", "-o", "json"];
        arguments.extend(with_prereleases.then_some("--include-prerelease"));
        arguments.extend(["--", range, "-"]);
        let run = slipway_with(&arguments, &versions.join("\n"));
        let answer = run.json();
        for row in rows {
            total += 1;
            let found =
                answer["versions"].as_array().and_then(|all| all.iter().find(|v| v["version"] == row["version"]));
            let fits = |field| row.get(field).is_none_or(|expected| found.map(|found| &found[field]) == Some(expected));
            if !fits("match") || !fits("reason") {
                wrong.push(format!("{row}: {found:?}"));
            }
        }
    }
    settle(total, &wrong);
}

#[test]
fn versions_are_read_as_the_reference_reads_them() {
    let all: Vec<Value> = rows("image/semver_constraints.jsonl")
        .into_iter()
        .filter(|row| row.get("parse").is_some() && matches!(text(row, "mode"), "" | "loose"))
        .collect();
    let versions: Vec<&str> = all.iter().map(|row| text(row, "version")).filter(|text| !text.is_empty()).collect();
    let answer = slipway_with(&["semver", "-o", "json", "*", "-"], &versions.join("\n")).json();
    let mut wrong = Vec::new();
    for row in all.iter().filter(|row| !text(row, "version").is_empty()) {
        let found = answer["versions"].as_array().and_then(|all| all.iter().find(|v| v["version"] == row["version"]));
        let parsed = found.and_then(|found| found["parsed"].as_str());
        let normalized = row.get("normalized").is_none_or(|expected| parsed == expected.as_str());
        if Some(parsed.is_some()) != row["parse"].as_bool() || !normalized {
            wrong.push(format!("{row}: {found:?}"));
        }
    }
    settle(all.len(), &wrong);
}

#[test]
fn semver_ranges_are_valid_where_the_reference_says_so() {
    let (mut wrong, mut total) = (Vec::new(), 0);
    for file in ["image/semver_constraints.jsonl", "image/semver_validity_grid.jsonl"] {
        for row in rows(file).into_iter().filter(|row| row.get("valid").is_some()) {
            total += 1;
            let run = slipway(&["semver", "-o", "json", "--", text(&row, "constraint"), "1.2.3"]);
            let answer = run.json();
            let error_fits = row.get("error").is_none_or(|error| answer["error"] == *error);
            let code_fits = (run.code == 2) != row["valid"].as_bool().unwrap_or_default();
            if answer["valid"] != row["valid"] || !error_fits || !code_fits {
                wrong.push(format!("{row}: {answer} exit {}", run.code));
            }
        }
    }
    settle(total, &wrong);
}

#[test]
fn policies_choose_what_the_reference_chooses() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    let (mut wrong, all) = (Vec::new(), rows("image/policies.jsonl"));
    for row in &all {
        let mut spec = json!({"imageRepositoryRef": {"name": "app"}, "policy": row["policy"]});
        if let Some(filter) = row.get("filterTags") {
            spec["filterTags"] = filter.clone();
        }
        let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
            "metadata": {"name": "app", "namespace": "apps"}, "spec": spec});
        fs::write(&file, policy.to_string()).expect("a written file");
        let tags: Vec<&str> = row["versions"].as_array().expect("versions").iter().filter_map(Value::as_str).collect();
        let file = file.display().to_string();
        let run = slipway_with(&["choose", "-f", &file, "--tags", "-", "-o", "json"], &tags.join("\n"));
        let answer = run.json();
        let fits = match row.get("error").and_then(Value::as_str) {
            Some(error) => {
                let told = answer["error"].as_str().unwrap_or_default();
                answer["latest"].is_null()
                    && run.code != 0
                    && (told.contains(error) || error.contains(told) && !told.is_empty())
            }
            None => run.code == 0 && answer["latest"]["tag"] == row["expected"],
        };
        if !fits {
            wrong.push(format!("{row}: exit {} {} {}", run.code, answer["latest"], answer["error"]));
        }
    }
    settle(all.len(), &wrong);
}

#[test]
fn image_names_are_read_as_the_reference_reads_them() {
    let (mut wrong, all) = (Vec::new(), rows("image/image_refs.jsonl"));
    for row in &all {
        let mut arguments = vec!["image", "-o", "json"];
        if row["insecure"] == json!(true) {
            arguments.push("--insecure");
        }
        arguments.extend(["--", text(row, "image")]);
        let run = slipway(&arguments);
        let answer = run.json();
        let fits = match row.get("error") {
            Some(error) => answer["error"] == *error && run.code == 2,
            None => ["canonical", "registry", "repository", "scheme"]
                .iter()
                .all(|field| row.get(field).is_none_or(|expected| answer[field] == *expected)),
        };
        if !fits {
            wrong.push(format!("{row}: exit {} {answer}", run.code));
        }
    }
    settle(all.len(), &wrong);
}

/// The policies of a set as manifests with a status, as the updater finds them.
fn policies(set: &Value) -> String {
    let list = set.as_array().expect("policies").iter().map(|policy| {
        let mut latest = json!({"name": policy["image"], "tag": policy["tag"]});
        if let Some(digest) = policy.get("digest") {
            latest["digest"] = digest.clone();
        }
        json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
            "metadata": {"name": policy["name"], "namespace": policy["namespace"]},
            "spec": {"imageRepositoryRef": {"name": "x"}, "policy": {"alphabetical": {}}},
            "status": {"latestRef": latest}})
        .to_string()
    });
    list.collect::<Vec<_>>().join("\n---\n")
}

/// Path and bytes of every file below a folder; of a link its target.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            if path.is_symlink() {
                found.insert(name, fs::read_link(&path).expect("a link").display().to_string().into_bytes());
            } else if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

#[test]
fn setters_change_the_marked_bytes_and_nothing_else() {
    let file = cases("image/setters.json");
    let suite: Value = serde_json::from_str(&fs::read_to_string(file).expect("setters.json")).expect("JSON");
    let all = suite["cases"].as_array().expect("cases");
    let mut wrong = Vec::new();
    for case in all {
        let name = text(case, "name");
        let folder = tempfile::tempdir().expect("a folder");
        let (work, expected) = (folder.path().join("work"), folder.path().join("expected"));
        copy_tree(&cases(&format!("image/setters/{name}/original")), &work);
        copy_tree(&cases(&format!("image/setters/{name}/expected")), &expected);
        for root in [&work, &expected] {
            prepare(case, root);
        }
        let policy_file = folder.path().join("policies.yaml");
        fs::write(&policy_file, policies(&suite["policy_sets"][text(case, "policy_set")])).expect("a written file");
        let path = work.join(text(case, "path"));
        let (path, policy_file) = (path.display().to_string(), policy_file.display().to_string());
        let run = slipway(&["set", &path, "-f", &policy_file, "-o", "json"]);
        if run.code == 2 {
            wrong.push(format!("{name}: exit 2: {}", run.stderr));
            continue;
        }
        if tree(&work) != tree(&expected) {
            wrong.push(format!("{name}: the tree differs"));
        }
        let key = |change: &Value| {
            ["file", "apiVersion", "kind", "namespace", "name", "setter", "old", "new"]
                .map(|field| text(change, field).to_owned())
        };
        let mut found: Vec<_> = run.json()["changes"].as_array().into_iter().flatten().map(key).collect();
        let mut wanted: Vec<_> = case["changes"].as_array().into_iter().flatten().map(key).collect();
        found.sort();
        wanted.sort();
        if found != wanted {
            wrong.push(format!("{name}: changes {found:?}, expected {wanted:?}"));
        }
    }
    settle(all.len(), &wrong);
}

/// Gives files the names and links that git cannot keep.
fn prepare(case: &Value, root: &Path) {
    for (from, to) in case["rename"].as_object().into_iter().flatten() {
        let to = root.join(to.as_str().expect("a name"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        if root.join(from).exists() {
            fs::rename(root.join(from), to).expect("a renamed file");
        }
    }
    for (link, target) in case["symlinks"].as_object().into_iter().flatten() {
        let link = root.join(link);
        fs::create_dir_all(link.parent().expect("a parent")).expect("a folder");
        std::os::unix::fs::symlink(target.as_str().expect("a target"), link).expect("a link");
    }
}

#[test]
fn commit_messages_render_as_the_reference_renders_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut wrong, all) = (Vec::new(), rows("image/commit_templates.jsonl"));
    for row in &all {
        let mut commit = json!({"author": {"email": "a@example.com"}});
        for (field, key) in [("template", "messageTemplate"), ("values", "messageTemplateValues")] {
            if let Some(value) = row.get(field).filter(|value| !value.is_null()) {
                commit[key] = value.clone();
            }
        }
        let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
            "metadata": row["automation"], "spec": {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "a"},
            "git": {"commit": commit}}});
        let (file, changes) = (folder.path().join("automation.yaml"), folder.path().join("changes.json"));
        fs::write(&file, automation.to_string()).expect("a written file");
        fs::write(&changes, row["changes"].to_string()).expect("a written file");
        let run = slipway(&[
            "message",
            "-f",
            &file.display().to_string(),
            "--changes",
            &changes.display().to_string(),
            "-o",
            "json",
        ]);
        let answer = run.json();
        let message = answer["message"].as_str().unwrap_or_default();
        let fits = if let Some(error) = row.get("error").and_then(Value::as_str) {
            // A removed field is told in the reference's own words; the sample gives only its class.
            let wanted =
                if row.get("stalled_reason").is_some() { "template uses removed '.Updated' field" } else { error };
            answer["error"].as_str().is_some_and(|told| told.starts_with(wanted)) && run.code == 2
        } else if let Some(parts) = row.get("expected_contains").and_then(Value::as_array) {
            parts.iter().filter_map(Value::as_str).all(|part| message.contains(part))
        } else {
            row.get("expected").and_then(Value::as_str) == Some(message)
        };
        if !fits {
            wrong.push(format!("{}: exit {} {answer}\n   row {row}", row["name"], run.code));
        }
    }
    settle(all.len(), &wrong);
}

/// The Canary whose metrics have the model of a case.
fn measured(row: &Value, metrics: &Value) -> Value {
    let model = &row["model"];
    let named = |kind: &str, field: &str| json!({"apiVersion": "v1", "kind": kind, "name": model[field]});
    json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": model["name"], "namespace": model["namespace"]},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": model["target"]},
            "ingressRef": named("Ingress", "ingress"), "routeRef": named("ApisixRoute", "route"),
            "service": {"name": model["service"], "port": 80},
            "analysis": {"interval": "1m", "threshold": 1, "stepWeight": 10, "metrics": metrics}}})
}

#[test]
fn metrics_are_asked_for_as_the_reference_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("canary.yaml");
    let queries = |canary: &Value| {
        fs::write(&file, canary.to_string()).expect("a written file");
        slipway(&["canary", "queries", "-f", &file.display().to_string(), "-o", "json"])
    };
    let (mut wrong, mut total) = (Vec::new(), 0);
    for row in rows("canary/metrics_providers.jsonl") {
        let interval = &row["model"]["interval"];
        let fits = match text(&row, "kind") {
            "builtin-query" => {
                let builtin = |name: &str| json!({"name": name, "interval": interval});
                let metrics = json!([builtin("request-success-rate"), builtin("request-duration")]);
                let mut canary = measured(&row, &metrics);
                canary["spec"]["provider"] = row["provider"].clone();
                let answer = queries(&canary).json();
                answer[0]["query"] == row["successRateQuery"] && answer[1]["query"] == row["durationQuery"]
            }
            "template" => {
                let variables = &row["model"]["variables"];
                let own = json!({"name": "own", "interval": interval, "query": row["template"], "templateVariables": variables});
                let run = queries(&measured(&row, &json!([own])));
                match row.get("rendered") {
                    Some(rendered) => run.code == 0 && run.json()[0]["query"] == *rendered,
                    None => run.code == 2 && run.json()["error"] == row["error"],
                }
            }
            _ => continue,
        };
        total += 1;
        if !fits {
            wrong.push(row.to_string());
        }
    }
    settle(total, &wrong);
}

/// Whether everything that is expected is there; weights of zero, status and empty members do not count.
fn covers(found: &Value, expected: &Value) -> bool {
    match expected {
        Value::Null => true,
        Value::Object(members) => members.iter().all(|(member, expected)| {
            member == "status" || (member == "weight" && *expected == json!(0)) || covers(&found[member], expected)
        }),
        Value::Array(items) if items.is_empty() => true,
        Value::Array(items) => {
            let found = found.as_array().map_or(&[] as &[Value], Vec::as_slice);
            found.len() == items.len() && found.iter().zip(items).all(|(found, expected)| covers(found, expected))
        }
        // Go writes the empty name of a container that has none.
        Value::String(text) => text.is_empty() || found == expected,
        expected => found == expected,
    }
}

/// A Canary of a case as a manifest.
fn manifest(canary: &Value) -> Value {
    let mut canary = canary.clone();
    canary["apiVersion"] = json!("flagger.app/v1beta1");
    canary["kind"] = json!("Canary");
    if canary["spec"]["targetRef"].is_null() {
        canary["spec"]["targetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"});
    }
    canary
}

/// The weights read, after the objects of every step were rendered over those before.
#[test]
fn routes_are_rendered_and_read_as_the_reference_does() {
    let (mut wrong, mut total) = (Vec::new(), 0);
    let folder = tempfile::tempdir().expect("a folder");
    let mut files: Vec<_> = fs::read_dir(cases("canary/routers")).expect("cases").flatten().collect();
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        let text = fs::read_to_string(file.path()).expect("a file of cases");
        for case in serde_json::from_str::<Vec<Value>>(&text).expect("JSON") {
            // Cookies are made up at random, and the status they are remembered in is the controller's.
            if case["canary"]["spec"]["analysis"]["sessionAffinity"].is_null() {
                total += 1;
                wrong.extend(routed(&case, folder.path()).map(|problem| format!("{}: {problem}", case["id"])));
            }
        }
    }
    settle(total, &wrong);
}

/// What is wrong with the rendering of a case; stops at the first step that only a controller can take.
fn routed(case: &Value, folder: &Path) -> Option<String> {
    let (canary, existing) = (folder.join("canary.json"), folder.join("existing.json"));
    fs::write(&canary, manifest(&case["canary"]).to_string()).expect("a written file");
    let mut objects = case["objects"].as_array().cloned().unwrap_or_default();
    let steps = case["steps"].as_array().expect("steps").iter().zip(case["results"].as_array().expect("results"));
    for (step, result) in steps {
        let manifests: Vec<String> = objects.iter().map(Value::to_string).collect();
        fs::write(&existing, manifests.join("\n---\n")).expect("a written file");
        let (canary, existing) = (canary.display().to_string(), existing.display().to_string());
        let (provider, class) = (text(case, "provider"), format!("--ingress-class={}", text(case, "ingressClass")));
        let common = ["-f", &canary, "--existing", &existing, "--mesh-provider", provider, &class, "-o", "json"];
        let weights = match text(step, "op") {
            "reconcile" if result.get("writes").is_none() && result.get("error").is_none() => continue,
            "reconcile" | "workloadInit" => "100,0".to_owned(),
            "setRoutes" => format!("{},{}", step["primary"], step["canary"]),
            "getRoutes" => {
                let run = slipway(&[&["canary", "weights"], common.as_slice()].concat());
                let expected = &result["routes"];
                if expected.is_object() && run.json() != *expected {
                    return Some(format!("read {}, not {expected}", run.json()));
                }
                continue;
            }
            _ => return None,
        };
        let mirror: &[&str] = if step["mirrored"] == json!(true) { &["--mirror"] } else { &[] };
        let run = slipway(&[&["canary", "render", "--weights", &weights], mirror, common.as_slice()].concat());
        if let Some(error) = result.get("error").and_then(Value::as_str) {
            let told = run.json();
            let told = told["error"].as_str().unwrap_or_default();
            return (run.code != 2 || !told.contains(error)).then(|| format!("{told:?}, not {error:?}"));
        }
        let rendered = run.json().as_array().cloned().unwrap_or_default();
        let owned = !text(case, "name").contains("no-owner-refs");
        for write in
            result["writes"].as_array().into_iter().flatten().filter(|write| write["verb"] != "delete" && owned)
        {
            let name = &write["object"]["metadata"]["name"];
            let named =
                |object: &&Value| object["metadata"]["name"] == *name && object["apiVersion"] == write["apiVersion"];
            if !rendered.iter().filter(named).any(|object| covers(object, &write["object"])) {
                return Some(format!("{step}: rendered {rendered:?}, not {}", write["object"]));
            }
        }
        for object in rendered {
            objects.retain(|old| {
                (&old["kind"], &old["metadata"]["name"]) != (&object["kind"], &object["metadata"]["name"])
            });
            objects.push(object);
        }
    }
    None
}

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
