//! The columns of Canaries: where a rollout stands, in numbers.

use api::flagger::{Canary, Phase};
use canary::report::{self, Share};
use serde_json::Value;

use super::{
    Around,
    columns::{Column, since, text},
};
use crate::commands::table::cell;

/// The columns after the name.
pub const COLUMNS: [Column; 7] = [
    Column { title: "STATE", cell: |object, _| text(object, "/status/phase") },
    Column { title: "WEIGHT", cell: |object, _| typed(object, |canary| format!("{}%", canary.status().canary_weight)) },
    Column { title: "STEP", cell: |object, _| typed(object, step) },
    Column {
        title: "FAILED",
        cell: |object, _| {
            typed(object, |canary| format!("{}/{}", canary.status().failed_checks, canary.analysis().threshold()))
        },
    },
    Column { title: "VERSION", cell: version },
    Column { title: "SINCE", cell: |object, around| since(object, "/status/lastTransitionTime", around) },
    Column { title: "MESSAGE", cell: |object, _| message(object) },
];

/// The columns that only `wide` shows.
pub const WIDE: [Column; 1] = [Column { title: "PROVIDER", cell: |object, _| text(object, "/spec/provider") }];

fn typed(object: &Value, cell: impl Fn(&Canary) -> String) -> String {
    api::manifest::typed::<Canary>(object).map_or_else(|_| "-".into(), |canary| cell(&canary))
}

/// How far the analysis is: weights reached of all weights, or iterations done of all.
fn step(canary: &Canary) -> String {
    match report::reached(canary) {
        Share { of: 0, .. } => "-".into(),
        Share { n, of } => format!("{n}/{of}"),
    }
}

/// `a > b`: going to b; `a < b`: returned to a; else what users get.
fn version(object: &Value, around: &Around) -> String {
    let target = text(object, "/spec/targetRef/name");
    let namespace = text(object, "/metadata/namespace");
    let image = |name: &str| {
        let is_it = |workload: &&Value| {
            workload.pointer("/metadata/name").is_some_and(|own| own == name)
                && text(workload, "/metadata/namespace") == namespace
        };
        around
            .workloads
            .iter()
            .find(is_it)
            .map(|workload| report::version(&text(workload, "/spec/template/spec/containers/0/image")))
    };
    let (primary, canary) = (image(&format!("{target}-primary")), image(&target));
    match (primary, canary, text(object, "/status/phase").as_str()) {
        (Some(primary), Some(canary), _) if primary == canary => primary,
        (Some(primary), Some(canary), phase) if phase == Phase::Failed.as_str() => format!("{primary} < {canary}"),
        (Some(primary), Some(canary), _) => format!("{primary} > {canary}"),
        (primary, canary, _) => primary.or(canary).unwrap_or_else(|| "-".into()),
    }
}

fn message(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let find = |kind: &str| conditions.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
    // One that does not fit its kind has no other word about it.
    let told = find(api::conditions::STALLED).or_else(|| find(api::flagger::PROMOTED));
    told.map_or_else(|| "-".into(), |condition| cell(condition["message"].as_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(name: &str, image: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "apps"}, "spec": {"template": {"spec": {"containers": [{"image": image}]}}}})
    }

    #[test]
    fn versions_say_where_they_go() {
        for (phase, target, expected) in [
            ("Progressing", "ghcr.io/a/app:1.1.0", "1.0.0 > 1.1.0"),
            ("Failed", "ghcr.io/a/app:1.1.0", "1.0.0 < 1.1.0"),
            ("Succeeded", "ghcr.io/a/app:1.0.0", "1.0.0"),
        ] {
            let workloads = vec![workload("app", target), workload("app-primary", "ghcr.io/a/app:1.0.0")];
            let around = Around { now: jiff::Timestamp::UNIX_EPOCH, workloads, sent: Default::default() };
            let canary = json!({"metadata": {"name": "x", "namespace": "apps"}, "spec": {"targetRef": {"name": "app"}}, "status": {"phase": phase}});
            assert_eq!(version(&canary, &around), expected);
        }
    }

    #[test]
    fn steps_are_counted_on_the_ladder() {
        for (analysis, weight, iterations, expected) in [
            (json!({"stepWeight": 10, "maxWeight": 50}), 30, 0, "3/5"),
            (json!({"stepWeights": [1, 10, 80]}), 10, 0, "2/3"),
            (json!({"iterations": 10}), 0, 4, "4/10"),
            (json!({}), 0, 0, "-"),
        ] {
            let canary: Canary = serde_json::from_value(json!({"metadata": {"name": "x"},
                "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}, "analysis": analysis},
                "status": {"phase": "Progressing", "canaryWeight": weight, "iterations": iterations}}))
            .unwrap();
            assert_eq!(step(&canary), expected);
        }
    }
}
