//! Versions, policies, names of images, setters, commit messages.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use super::text;
use crate::support::{cases, copy_tree, rows, settle, slipway, slipway_with};

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
