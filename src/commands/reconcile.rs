//! `slipway reconcile`: asks a controller to act on an object now, and waits until it has.

use std::time::Duration;

use anyhow::bail;
use api::meta::REQUESTED_AT;
use reconcile::clock;
use serde_json::{Value, json};

use super::{
    Exit, get,
    kinds::{self, Kind, Named},
    mark, print, suspend,
    system::{self, System},
};
use crate::args::look::Reconcile;

/// How often the object is looked at. The state file is local; nothing tells another process of changes.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the verb.
pub fn run(args: &Reconcile) -> anyhow::Result<Exit> {
    let (kind, name) = match kinds::parse(&args.words).map_err(anyhow::Error::msg)? {
        Named::Kind(kind, names) if names.len() == 1 => (kind, names.concat()),
        Named::Kind(kind, _) => bail!("say which {}: slipway reconcile {} NAME", kind.singular, kind.singular),
        Named::All => bail!("say which object: slipway reconcile KIND NAME"),
    };
    if !suspend::KINDS.contains(&kind.kind) {
        bail!("{} are not reconciled: no controller acts on them by itself", kind.plural);
    }
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let (store, namespace) = (&system.store, system.namespace.as_str());
        let id = kind.object(namespace, &name);
        let Some(object) = store.find(&id).await? else {
            get::missing(store, kind, namespace, &name).await?;
            return Ok(Exit::No);
        };
        let shown = format!("{} {namespace}/{name}", kind.singular);
        if object.pointer("/spec/suspend").is_some_and(|suspend| *suspend == true) {
            eprintln!("{} {shown} is suspended{}", mark::error(), suspend::told(&object));
            eprintln!("hint: resume it first: slipway resume {} {name} -n {namespace}", kind.singular);
            return Ok(Exit::Refused);
        }
        let request = clock::now().to_string();
        store.patch(&id, "slipway", &json!({"metadata": {"annotations": {REQUESTED_AT: request}}})).await?;
        eprintln!("{} asking {shown} to reconcile now", mark::step());
        if !args.wait {
            return Ok(Exit::Done);
        }
        if !answers(kind) {
            eprintln!(
                "{} do not say when they have acted; look at: slipway events --for {} -n {namespace}",
                kind.plural,
                kind.slash(&name)
            );
            return Ok(Exit::Done);
        }
        wait(args, &system, kind, &name, &request).await
    })
}

/// Whether objects of the kind report the request they acted on.
fn answers(kind: &Kind) -> bool {
    kind.api_version.contains(".fluxcd.io/") && !matches!(kind.kind, "Alert" | "Provider")
}

async fn wait(args: &Reconcile, system: &System, kind: &Kind, name: &str, request: &str) -> anyhow::Result<Exit> {
    let id = kind.object(&system.namespace, name);
    let begun = clock::instant();
    while begun.elapsed() < args.timeout.get() {
        let Some(object) = system.store.find(&id).await? else {
            eprintln!("error: {} {name:?} was deleted meanwhile", kind.singular);
            return Ok(Exit::No);
        };
        if object.pointer("/status/lastHandledReconcileAt").is_some_and(|handled| handled == request) {
            return Ok(tell(&object, begun.elapsed()));
        }
        clock::sleep(LOOK).await;
    }
    eprintln!("error: {} {name:?} was not reconciled within {}", kind.singular, args.timeout);
    match &args.place.state {
        Some(state) => eprintln!(
            "hint: is slipway running on {}? start it with: slipway run --state {0} --manifests FOLDER",
            state.display()
        ),
        None => eprintln!("hint: is a controller running in this cluster? look with: slipway check"),
    }
    Ok(Exit::TimedOut)
}

/// Says what came of it.
fn tell(object: &Value, took: Duration) -> Exit {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    let message = ready.and_then(|ready| ready["message"].as_str()).unwrap_or("reconciled");
    let failed = ready.is_some_and(|ready| ready["status"] == "False");
    print(&format!("{} {message} ({:.1}s)\n", if failed { mark::bad() } else { mark::good() }, took.as_secs_f64()));
    if failed { Exit::No } else { Exit::Done }
}
