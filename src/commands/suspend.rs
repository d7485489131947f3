//! `slipway suspend` and `slipway resume`: `spec.suspend`, with who, when and why.

use anyhow::bail;
use reconcile::clock;
use serde_json::{Value, json};

use super::{
    Exit, get,
    kinds::{self, Kind, Named},
    mark, print,
    system::{self, System},
    table,
};
use crate::args::look::Suspend;

/// Who suspended an object, when and why, for those who look at it.
const SUSPENDED: &str = "slipway.dev/suspended";
/// Kinds with `spec.suspend`: those that a controller acts on.
pub const KINDS: [&str; 9] = [
    "ImageRepository",
    "ImagePolicy",
    "ImageUpdateAutomation",
    "GitRepository",
    "Kustomization",
    "Alert",
    "Provider",
    "Receiver",
    "Canary",
];

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Leave it alone.
    Suspend,
    /// Take it up again.
    Resume,
}

/// Runs the verb.
pub fn run(args: &Suspend, wish: Wish) -> anyhow::Result<Exit> {
    let Named::Kind(kind, names) = kinds::parse(&args.words).map_err(anyhow::Error::msg)? else {
        bail!("say which kind: slipway suspend KIND NAME")
    };
    let verb = if wish == Wish::Suspend { "suspend" } else { "resume" };
    if !KINDS.contains(&kind.kind) {
        bail!("{} cannot be suspended", kind.plural);
    }
    if names.is_empty() != args.all {
        bail!("say which {}: slipway {verb} {} NAME, or --all", kind.singular, kind.singular);
    }
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let names = if args.all { everything(&system, kind).await? } else { names };
        let mut exit = Exit::Done;
        for name in &names {
            let id = kind.object(&system.namespace, name);
            let Some(object) = system.store.find(&id).await? else {
                get::missing(&system.store, kind, &system.namespace, name).await?;
                exit = Exit::No;
                continue;
            };
            let is_suspended = object.pointer("/spec/suspend").is_some_and(|suspend| *suspend == true);
            if is_suspended != (wish == Wish::Suspend) {
                system.store.patch(&id, "slipway", &change(args, wish)).await?;
            }
            print(&said(kind, &system.namespace, &object, wish));
        }
        Ok(exit)
    })
}

async fn everything(system: &System, kind: &Kind) -> anyhow::Result<Vec<String>> {
    let objects = system.store.list_values(&kind.object("", ""), Some(&system.namespace)).await?;
    if objects.is_empty() {
        eprintln!("No {} in namespace {:?}.", kind.plural, system.namespace);
    }
    Ok(objects.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

fn change(args: &Suspend, wish: Wish) -> Value {
    let note = match wish {
        Wish::Suspend => {
            json!(json!({"by": super::who(), "at": clock::now(), "reason": args.reason}).to_string())
        }
        Wish::Resume => Value::Null,
    };
    json!({"metadata": {"annotations": {SUSPENDED: note}}, "spec": {"suspend": wish == Wish::Suspend}})
}

/// What came of it, and what stays.
fn said(kind: &Kind, namespace: &str, object: &Value, wish: Wish) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let shown = format!("{} {namespace}/{name}", kind.singular);
    match wish {
        Wish::Resume => format!("{} {shown} resumed\n", mark::good()),
        Wish::Suspend => {
            let weight = object.pointer("/status/canaryWeight").and_then(Value::as_i64).unwrap_or(0);
            let stays = match weight {
                0 => String::new(),
                weight => format!("The canary keeps {weight}% of traffic until resumed.\n"),
            };
            format!("{} {shown} suspended\n{stays}", mark::good())
        }
    }
}

/// ` (by ada, 2d ago: "registry move")` of a suspended object; nothing where nobody wrote it down.
pub fn told(object: &Value) -> String {
    let note = object.pointer("/metadata/annotations").and_then(|all| all.get(SUSPENDED)?.as_str());
    let Some(note) = note.and_then(|note| serde_json::from_str::<Value>(note).ok()) else { return String::new() };
    let by = note["by"].as_str().unwrap_or("somebody");
    let when = note["at"].as_str().and_then(|at| at.parse().ok());
    let when = when.map(|at| format!(", {} ago", table::ago(at, clock::now()))).unwrap_or_default();
    let why = note["reason"].as_str().map(|reason| format!(": {reason:?}")).unwrap_or_default();
    format!(" (by {by}{when}{why})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_are_told() {
        let note = json!({"by": "ada", "reason": "registry move"}).to_string();
        let object = json!({"metadata": {"annotations": {SUSPENDED: note}}});
        assert_eq!(told(&object), " (by ada: \"registry move\")");
        assert_eq!(told(&json!({})), "");
    }
}
