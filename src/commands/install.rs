//! `slipway install`: the objects of `deploy.rs`, printed or applied.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use clap::{Parser as _, ValueEnum as _};
use reconcile::{Store, clock};
use serde_json::Value;

use super::{Exit, mark, print, system};
use crate::{
    args::{Arguments, Verb, install::Install, run::Stage},
    deploy::{Extra, Installation, Router},
};

/// Field manager of what is installed.
const MANAGER: &str = "slipway";
/// Where this version's image is.
const IMAGE: &str = concat!("ghcr.io/slipway-dev/slipway:v", env!("CARGO_PKG_VERSION"));
/// How often it is looked whether what was applied is ready.
const LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// Runs the verb.
pub fn run(args: &Install) -> anyhow::Result<Exit> {
    ensure!(!args.controllers.contains(&Stage::Local), "--controllers local works standalone only");
    let installation = installation(args);
    understood(&installation.arguments)?;
    let definitions = if args.crds { installation.definitions() } else { Vec::new() };
    if args.export {
        print(&yaml(definitions.iter().chain(&installation.objects()))?);
        return Ok(Exit::Done);
    }
    super::wait_for(async {
        let (store, _client, _records) = system::open_cluster(&args.access).await?;
        apply(&store, &definitions).await?;
        for definition in &definitions {
            if !until(args, async || Ok(is_true(&found(&store, definition).await?, "Established"))).await? {
                return Ok(late(definition));
            }
        }
        let objects = installation.objects();
        apply(&store, &objects).await?;
        if !args.wait {
            return Ok(Exit::Done);
        }
        for deployment in objects.iter().filter(|object| object["kind"] == "Deployment") {
            eprintln!("{} waiting for {} to be ready", mark::busy(), name(deployment));
            if !until(args, async || Ok(is_rolled_out(&found(&store, deployment).await?))).await? {
                return Ok(late(deployment));
            }
        }
        print(&format!("{} slipway runs in namespace {}\n", mark::good(), installation.namespace));
        Ok(Exit::Done)
    })
}

/// The objects as one YAML file.
pub fn yaml<'a>(objects: impl Iterator<Item = &'a Value>) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object)?);
    }
    Ok(text)
}

fn installation(args: &Install) -> Installation {
    let mut extras = BTreeSet::new();
    extras.extend(args.network_policy.then_some(Extra::NetworkPolicies));
    extras.extend(args.service_monitor.then_some(Extra::ServiceMonitor));
    let routers = match args.routers.as_slice() {
        [] => Router::value_variants().iter().copied().collect(),
        some => some.iter().copied().collect(),
    };
    Installation {
        namespace: args.namespace.clone(),
        image: args.image.clone().unwrap_or_else(|| IMAGE.into()),
        stages: args.controllers.iter().copied().collect(),
        routers,
        replicas: args.replicas,
        arguments: arguments(args),
        watch_namespace: args.watch_namespace.clone(),
        config_tracking: args.config_tracking,
        extras,
    }
}

/// What `slipway run` is told beside controllers, storage and log.
fn arguments(args: &Install) -> Vec<String> {
    let given = |flag: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{flag}={value}"));
    let mut arguments = Vec::new();
    arguments.extend(given("mesh-provider", &args.mesh_provider));
    arguments.extend(given("metrics-server", &args.metrics_server));
    arguments.extend(given("watch-namespace", &args.watch_namespace));
    arguments.extend(args.no_cross_namespace_refs.then(|| "--no-cross-namespace-refs".to_owned()));
    arguments.extend(args.more.iter().cloned());
    arguments
}

/// Errs on flags that `slipway run` does not take: the pods would say so too late.
fn understood(flags: &[String]) -> anyhow::Result<()> {
    let words = ["slipway", "run"].into_iter().chain(flags.iter().map(String::as_str));
    match Arguments::try_parse_from(words) {
        Ok(Arguments { verb: Verb::Run(run), .. }) => crate::config::check_addresses(&run),
        Ok(_) => Ok(()),
        Err(error) => bail!("slipway run: {}", error.to_string().trim_start_matches("error: ").trim_end()),
    }
}

async fn apply(store: &Store, objects: &[Value]) -> anyhow::Result<()> {
    for object in objects {
        let before = found(store, object).await?;
        let after = store.apply(MANAGER, object).await?;
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let change = match before.is_null() {
            true => "created",
            false if version(&before) == version(&after) => "unchanged",
            false => "changed",
        };
        eprintln!("{} {} {change}", mark::step(), name(object));
    }
    Ok(())
}

/// The object as the cluster has it; null if it has not, or does not know the kind yet.
async fn found(store: &Store, object: &Value) -> anyhow::Result<Value> {
    let id = reconcile::object::require_reference(object)?;
    Ok(store.find(&id).await?.unwrap_or_default())
}

/// Waits until something holds; false if the time is over.
async fn until(args: &Install, holds: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let begun = clock::instant();
    while begun.elapsed() < args.timeout.get() {
        if holds().await? {
            return Ok(true);
        }
        clock::sleep(LOOK).await;
    }
    Ok(false)
}

fn late(object: &Value) -> Exit {
    eprintln!("error: {} is not ready", name(object));
    eprintln!("hint: kubectl describe {}", name(object));
    Exit::TimedOut
}

/// `kind/name` with ` -n namespace`, as kubectl takes it.
fn name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let slash = format!("{}/{}", text("/kind").to_lowercase(), text("/metadata/name"));
    match text("/metadata/namespace") {
        "" => slash,
        namespace => format!("{slash} -n {namespace}"),
    }
}

fn is_true(object: &Value, kind: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == kind && condition["status"] == "True"))
}

/// Whether all pods of a Deployment are those of its newest template, and ready.
fn is_rolled_out(deployment: &Value) -> bool {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or_default();
    let wanted = number("/spec/replicas");
    number("/status/observedGeneration") >= number("/metadata/generation")
        && number("/status/updatedReplicas") == wanted
        && number("/status/availableReplicas") == wanted
}
