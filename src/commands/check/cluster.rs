//! `slipway check` without files: whether a cluster can hold slipway, and whether the one it holds is well.

mod takeover;

use std::cmp::Ordering;

use api::{crd, meta::ObjectReference};
use clap::ValueEnum as _;
use reconcile::{Error, Store};
use serde_json::{Value, json};

use crate::{
    args::{Output, check::Check, run::Stage},
    commands::{Exit, mark, print, print_json, system},
    deploy::{self, NAME},
};

/// Oldest Kubernetes that has what we use: server-side apply of definitions with CEL rules.
const OLDEST: &str = "1.26.0-0";

/// One line of the answer.
enum Line {
    /// What is looked at next.
    Step(String),
    /// It is well.
    Good(String),
    /// Nothing is wrong, but somebody should know.
    Note(String),
    /// It is not well.
    Bad(String),
}

/// Runs the verb.
pub fn run(args: &Check) -> anyhow::Result<Exit> {
    match (args.pre, args.takeover) {
        (true, _) => prerequisites(args),
        (_, true) => takeover::run(args),
        _ => installation(args),
    }
}

fn prerequisites(args: &Check) -> anyhow::Result<Exit> {
    crate::commands::wait_for(async {
        let (_store, client, _records) = system::open_cluster(&args.access).await?;
        let mut lines = vec![Line::Step("checking prerequisites".into()), version(&client).await?];
        if !is_bad(&lines) {
            lines.push(Line::Good("prerequisites checks passed".into()));
        }
        tell(&lines, args.output)
    })
}

fn installation(args: &Check) -> anyhow::Result<Exit> {
    let namespace = args.namespace.as_str();
    crate::commands::wait_for(async {
        let (store, client, _records) = system::open_cluster(&args.access).await?;
        let mut lines = vec![Line::Step("checking prerequisites".into()), version(&client).await?];
        lines.push(Line::Step("checking controllers".into()));
        let ours = store.find(&deployment(namespace, NAME)).await?;
        lines.extend(controllers(&store, namespace, ours.as_ref()).await?);
        lines.push(Line::Step("checking crds".into()));
        lines.extend(definitions(&store, &stages(ours.as_ref())).await?);
        if !is_bad(&lines) {
            lines.push(Line::Good("all checks passed".into()));
        }
        tell(&lines, args.output)
    })
}

/// Prints the lines; the answer is no if one of them is bad.
fn tell(lines: &[Line], output: Output) -> anyhow::Result<Exit> {
    match output {
        Output::Json => print_json(&json!({"checks": lines.iter().map(Line::json).collect::<Vec<_>>()}))?,
        Output::Table => print(&lines.iter().map(Line::text).collect::<String>()),
    }
    Ok(if is_bad(lines) { Exit::No } else { Exit::Done })
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Step(text) => format!("{} {text}\n", mark::look()),
            Self::Good(text) => format!("{} {text}\n", mark::good()),
            Self::Note(text) => format!("{} {text}\n", mark::note()),
            Self::Bad(text) => format!("{} {text}\n", mark::bad()),
        }
    }

    fn json(&self) -> Value {
        let (state, message) = match self {
            Self::Step(text) => ("step", text),
            Self::Good(text) => ("good", text),
            Self::Note(text) => ("note", text),
            Self::Bad(text) => ("bad", text),
        };
        json!({"state": state, "message": message})
    }
}

fn is_bad(lines: &[Line]) -> bool {
    lines.iter().any(|line| matches!(line, Line::Bad(_)))
}

async fn version(client: &kube::Client) -> anyhow::Result<Line> {
    let found = client.apiserver_version().await?.git_version;
    let found = found.trim_start_matches('v');
    Ok(match is_enough(found) {
        true => Line::Good(format!("Kubernetes {found} >={OLDEST}")),
        false => Line::Bad(format!("Kubernetes version v{found} does not match >={OLDEST}")),
    })
}

/// Whether a server of this version has what we use.
fn is_enough(version: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(version).cmp(&numbers(OLDEST)) != Ordering::Less
}

fn deployment(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// Our Deployment, and those of others that would do the same work.
async fn controllers(store: &Store, namespace: &str, ours: Option<&Value>) -> anyhow::Result<Vec<Line>> {
    let mut lines = match ours {
        None => {
            vec![Line::Bad(format!("{NAME}: no deployment in namespace {namespace:?}; install it: slipway install"))]
        }
        Some(found) => state(found).into(),
    };
    let all = store.list_values(&deployment("", ""), None).await?;
    for other in takeover::controllers(&all) {
        lines.push(Line::Note(format!(
            "{} runs in namespace {:?} too: see what would change with slipway check --takeover",
            other.name, other.namespace
        )));
    }
    Ok(lines)
}

/// The stages that a Deployment of ours runs; all where it does not say.
fn stages(deployment: Option<&Value>) -> Vec<Stage> {
    let arguments = deployment.and_then(|found| found.pointer("/spec/template/spec/containers/0/args")?.as_array());
    let named = arguments.into_iter().flatten().find_map(|argument| argument.as_str()?.strip_prefix("--controllers="));
    match named {
        Some(names) => names.split(',').filter_map(|name| Stage::from_str(name, true).ok()).collect(),
        None => Stage::value_variants().to_vec(),
    }
}

fn state(deployment: &Value) -> [Line; 2] {
    let count = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let image =
        deployment.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
    let (ready, wanted) = (count("/status/availableReplicas"), count("/spec/replicas"));
    let image = Line::Step(image.to_owned());
    match ready >= wanted && wanted > 0 {
        true => [Line::Good(format!("{NAME}: deployment ready")), image],
        false => [Line::Bad(format!("{NAME}: deployment not ready ({ready} of {wanted} pods available)")), image],
    }
}

/// Whether the cluster serves the kinds of these stages in the version that we read.
async fn definitions(store: &Store, stages: &[Stage]) -> anyhow::Result<Vec<Line>> {
    let groups: Vec<&str> = stages.iter().flat_map(|stage| deploy::groups(*stage)).copied().collect();
    let mut lines = Vec::new();
    for definition in crd::definitions() {
        if !groups.iter().any(|group| definition["spec"]["group"] == *group) {
            continue;
        }
        let Some(id) = ObjectReference::of(&definition) else { continue };
        let wanted = definition["spec"]["versions"][0]["name"].as_str().unwrap_or_default();
        let found = match store.find(&id).await {
            Err(Error::UnknownKind { .. }) => None,
            found => found?,
        };
        let serves = |found: &Value| {
            let versions = found["spec"]["versions"].as_array().into_iter().flatten();
            versions.into_iter().any(|version| version["name"] == wanted && version["served"] == true)
        };
        lines.push(match found {
            None => Line::Bad(format!("{} is missing", id.name)),
            Some(found) if !serves(&found) => Line::Bad(format!("{} does not serve {wanted}", id.name)),
            Some(_) => Line::Good(format!("{}/{wanted}", id.name)),
        });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_told() {
        for (version, expected) in [
            ("1.28.0", true),
            ("1.26.0", true),
            ("1.24.17", false),
            ("1.36.3+k3s1", true),
            ("2.0.0", true),
            ("1.9.9", false),
        ] {
            assert_eq!(is_enough(version), expected, "{version}");
        }
    }

    #[test]
    fn an_unready_deployment_is_named() {
        let deployment = serde_json::json!({"spec": {"replicas": 2}, "status": {"availableReplicas": 1}});
        assert!(
            matches!(&state(&deployment)[0], Line::Bad(text) if text == "slipway: deployment not ready (1 of 2 pods available)")
        );
    }
}
