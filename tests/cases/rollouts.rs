//! Metrics and routes of rollouts.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::text;
use crate::support::{cases, rows, settle, slipway};

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
