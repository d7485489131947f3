//! The sample rollouts, played by the built binary with the objects of the samples' world given as manifests.

use std::{fs, path::Path};

use api::flagger::{Alert, Analysis, Canary, MIN_INTERVAL, Severity};
use serde_json::{Map, Value, json};

use crate::support::{rows, settle, slipway};

/// Samples whose ticks differ on purpose; why is said where `crates/canary` plays them.
const DIFFERS: [&str; 1] = ["hook-rollback-while-waiting-rollout"];

/// The sample's Canary with what the samples leave out.
fn canary(case: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "podinfo", "namespace": "default"},
        "spec": {"provider": case["provider"], "service": {"port": 9898},
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}},
    });
    merge(&mut object, &case["canary"]);
    object
}

/// A JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    for (key, value) in members {
        if !target[key].is_object() {
            target[key] = json!({});
        }
        merge(&mut target[key], value);
    }
}

/// The objects that exist at the beginning of every sample.
fn world(case: &Value) -> Vec<Value> {
    let target = &canary(case)["spec"]["targetRef"];
    let mut objects = Vec::new();
    let (mut env, mut env_from, mut volumes) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, word) in [("ConfigMap", "config"), ("Secret", "secret")] {
        for place in ["env", "all-env", "vol"] {
            let name = format!("podinfo-{word}-{place}");
            let mut object =
                json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}});
            match kind {
                "Secret" => {
                    object["type"] = json!("Opaque");
                    object["data"] = json!({"apiKey": "dGVzdA=="});
                    env.push(json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "apiKey"}}}));
                    env_from.push(json!({"secretRef": {"name": name}}));
                    volumes.push(json!({"name": word, "secret": {"secretName": name}}));
                }
                _ => {
                    object["data"] = json!({"color": "red"});
                    env.push(
                        json!({"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": name, "key": "color"}}}),
                    );
                    env_from.push(json!({"configMapRef": {"name": name}}));
                    volumes.push(json!({"name": word, "configMap": {"name": name}}));
                }
            }
            objects.push(object);
        }
    }
    if target["kind"] != "Service" {
        let container = json!({"name": "podinfo", "image": "quay.io/stefanprodan/podinfo:1.2.0", "env": env, "envFrom": env_from,
            "ports": [{"name": "http", "containerPort": 9898}, {"name": "http-metrics", "containerPort": 8080}, {"containerPort": 8888}]});
        objects.push(json!({"apiVersion": "apps/v1", "kind": target["kind"],
            "metadata": {"name": "podinfo", "namespace": "default", "labels": {"app": "podinfo"}},
            "spec": {"selector": {"matchLabels": {"app": "podinfo"}},
                "template": {"metadata": {"labels": {"app": "podinfo"}}, "spec": {"containers": [container], "volumes": volumes}}}}));
    }
    objects.push(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "podinfo", "namespace": "default"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "maxReplicas": 4}}));
    objects.push(json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "custom", "namespace": "default"},
        "spec": {"provider": {"type": "prometheus", "address": "http://prometheus"}, "query": "custom_metric{t=\"{{ target }}\"}"}}));
    objects
}

fn script(case: &Value) -> Value {
    let steps = case["steps"].as_array().expect("steps").iter().map(|step| match step["op"].as_str().expect("an op") {
        "tick" => json!({"tick": step["n"].as_u64().unwrap_or(1)}),
        "targetImage" => json!({"image": step["value"]}),
        "targetReplicas" => json!({"replicas": step["count"]}),
        "configMap" => json!({"config": {"configmap/podinfo-config-env": {"color": step["value"]}}}),
        "patchCanary" => json!({"patch": step["patch"]}),
        op @ ("primary" | "target") => json!({op: match step["state"].as_str() {
            Some("notready") => "updating",
            Some("unavailable-past-deadline") => "unavailable",
            state => state.expect("a state"),
        }}),
        "hooks" => json!({"hooks": step["set"]}),
        "metrics" => {
            let names = [("success", "request-success-rate"), ("duration", "request-duration"), ("custom", "custom")];
            let value = |value: &Value| if value == "nodata" { Value::Null } else { value.clone() };
            let set =
                names.iter().filter_map(|(short, name)| Some(((*name).to_owned(), value(step["set"].get(short)?))));
            json!({"metrics": set.collect::<Map<_, _>>()})
        }
        other => unreachable!("unknown step {other}"),
    });
    json!({"world": {"readiness": "manual"}, "steps": steps.collect::<Vec<_>>()})
}

fn is_alike(found: &Value, wanted: &Value) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let calls: Vec<_> = list(&found["webhookCalls"]).iter().map(|call| json!([call["name"], call["phase"]])).collect();
    let wanted_calls: Vec<_> =
        list(&wanted["webhookCalls"]).iter().map(|call| json!([call["hook"], call["payload"]["phase"]])).collect();
    // On a real server the first phase is written before the first tick.
    let phase = if wanted["phase"] == "" { json!("Initializing") } else { wanted["phase"].clone() };
    let same = ["canaryWeight", "failedChecks", "iterations", "route", "primaryReplicas", "targetReplicas"];
    found["phase"] == phase
        && (wanted["phase"] == "" || found["condition"] == wanted["condition"])
        && same.iter().all(|field| found[field] == wanted[field])
        && list(&found["events"]) == list(&wanted["events"])
        && list(&found["alerts"]) == list(&wanted["alerts"])
        && calls == wanted_calls
}

#[test]
fn rollouts_go_as_flagger_lets_them_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manifests, scenario) = (folder.path().join("manifests.yaml"), folder.path().join("scenario.yaml"));
    let all = rows("canary/state_machine.jsonl");
    let mut wrong = Vec::new();
    for case in &all {
        let name = case["name"].as_str().expect("a name");
        let objects: Vec<_> = [canary(case)].into_iter().chain(world(case)).map(|object| object.to_string()).collect();
        fs::write(&manifests, objects.join("\n---\n")).expect("written");
        fs::write(&scenario, script(case).to_string()).expect("written");
        let run = slipway(&[
            "canary",
            "simulate",
            "-f",
            &manifests.display().to_string(),
            "--scenario",
            &scenario.display().to_string(),
            "-o",
            "json",
        ]);
        let ticks = run.json()["ticks"].as_array().cloned().unwrap_or_default();
        let wanted = case["ticks"].as_array().expect("ticks");
        let different = ticks.iter().zip(wanted).position(|(found, wanted)| !is_alike(found, wanted));
        match different {
            _ if DIFFERS.contains(&name) => {}
            Some(index) => {
                wrong.push(format!("{name}: tick {index}: {}\n    instead of {}", ticks[index], wanted[index]))
            }
            None if ticks.len() != wanted.len() => wrong.push(format!("{name}: {} ticks", ticks.len())),
            None => {}
        }
    }
    settle(all.len(), &wrong);
}

#[test]
fn the_table_ends_with_what_would_become_of_the_rollout() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manifests, scenario) = (folder.path().join("manifests.yaml"), folder.path().join("scenario.yaml"));
    let all = rows("canary/state_machine.jsonl");
    for (phase, told, code) in [
        ("Succeeded", "Would promote ", 0),
        ("Failed", "Would roll back ", 1),
        ("Progressing", "Would be Progressing ", 0),
        ("", "Nothing would roll out.", 0),
    ] {
        let ends = |case: &&Value| {
            case["ticks"].as_array().and_then(|ticks| ticks.last()).is_some_and(|tick| tick["phase"] == phase)
        };
        let case = all.iter().find(ends).expect("a case that ends so");
        let objects: Vec<_> = [canary(case)].into_iter().chain(world(case)).map(|object| object.to_string()).collect();
        fs::write(&manifests, objects.join("\n---\n")).expect("written");
        fs::write(&scenario, script(case).to_string()).expect("written");
        let [manifests, scenario] = [&manifests, &scenario].map(|file| file.display().to_string());
        let run = slipway(&["canary", "simulate", "-f", &manifests, "--scenario", &scenario]);
        let last = run.stdout.lines().last().unwrap_or_default();
        assert!(run.code == code && last.starts_with(told), "{}: {}", case["name"], run.stdout);
    }
}

#[test]
fn what_the_reference_refuses_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manifest, scenario) = (folder.path().join("canary.yaml"), folder.path().join("scenario.yaml"));
    fs::write(&scenario, "- tick: 1\n").expect("written");
    let all: Vec<_> = rows("canary/misc.jsonl").into_iter().filter(|row| row["kind"] == "validate").collect();
    let mut wrong = Vec::new();
    for row in &all {
        let mut object = canary(&json!({"canary": {"metadata": {"namespace": row["namespace"]}, "spec": row["spec"]}}));
        if object["spec"]["provider"].is_null() {
            object["spec"]["provider"] = json!("istio");
        }
        fs::write(&manifest, object.to_string()).expect("written");
        let (manifest, scenario) = (manifest.display().to_string(), scenario.display().to_string());
        let mut arguments = vec!["canary", "simulate", "-o", "json", "-f", &manifest, "--scenario", &scenario];
        if row["noCrossNamespaceRefs"] == true {
            arguments.push("--no-cross-namespace-refs");
        }
        let run = slipway(&arguments);
        let fits = match row["expectedError"].as_str() {
            Some(error) => run.code == 2 && run.json()["error"].as_str().is_some_and(|told| told.ends_with(error)),
            None => run.code != 2,
        };
        if !fits {
            wrong.push(format!("{}: exit {} {} {}", row["name"], run.code, run.stdout, run.stderr));
        }
    }
    settle(all.len(), &wrong);
}

/// The `Set-Cookie` that a route with this session affinity holds, once this cookie is the run's.
fn set_cookie(folder: &Path, row: &Value) -> Option<String> {
    let (name, _) = row["cookie"].as_str()?.split_once('=')?;
    let mut affinity = row["settings"].clone();
    affinity["cookieName"] = json!(name);
    affinity["maxAge"] = row["maxAge"].clone();
    let given = json!({"spec": {"provider": "istio", "analysis": {"stepWeight": 10, "sessionAffinity": affinity}},
        "status": {"phase": "Progressing", "sessionAffinityCookie": row["cookie"]}});
    let manifest = folder.join("cookie.yaml");
    fs::write(&manifest, canary(&json!({"provider": "istio", "canary": given})).to_string()).expect("written");
    let run = slipway(&["canary", "render", "-o", "json", "--weights", "90,10", "-f", &manifest.display().to_string()]);
    let route = run.json().as_array()?.iter().find(|object| object["kind"] == "VirtualService")?.clone();
    let destinations = route["spec"]["http"].as_array()?.iter().filter_map(|rule| rule["route"].as_array()).flatten();
    let mut cookies = destinations.filter_map(|to| to.pointer("/headers/response/add/Set-Cookie")?.as_str());
    cookies.find(|text| text.starts_with(name)).map(str::to_owned)
}

#[test]
fn strategies_intervals_cookies_and_who_gets_an_alert_are_the_references() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut wrong, mut total) = (Vec::new(), 0);
    for row in rows("canary/misc.jsonl") {
        let (found, expected) = match row["kind"].as_str().expect("a kind") {
            "strategy" => {
                let typed = canary(&json!({"provider": "istio", "canary": {"spec": {"analysis": row["analysis"]}}}));
                let canary: Canary = api::manifest::typed(&typed).expect("a Canary");
                (json!(canary.analysis().strategy().as_str()), &row["expected"])
            }
            "analysis-interval" => {
                let interval = row["interval"].as_str().expect("a text").to_owned();
                let analysis = Analysis { interval, ..Analysis::default() };
                (json!(analysis.interval(MIN_INTERVAL).as_secs()), &row["expectedSeconds"])
            }
            "alert-filter" => {
                let alert = json!({"name": "a", "severity": row["configured"], "providerRef": {"name": "a"}});
                let alert: Alert = serde_json::from_value(alert).expect("an alert");
                let event: Severity = serde_json::from_value(row["event"].clone()).expect("a severity");
                (json!(alert.receives(event)), &row["expectedSent"])
            }
            "cookie" => (json!(set_cookie(folder.path(), &row)), &row["expected"]),
            _ => continue,
        };
        total += 1;
        if found != *expected {
            wrong.push(format!("{row}: {found}"));
        }
    }
    settle(total, &wrong);
}
