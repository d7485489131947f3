//! `slipway uninstall`: takes away what `slipway install` put into a cluster, whichever its flags were.

use std::{collections::BTreeSet, io::Write as _};

use anyhow::bail;
use api::{crd, meta::ObjectReference};
use clap::ValueEnum as _;
use reconcile::{Error, Store};
use serde_json::{Value, json};

use super::{Exit, mark, print, system};
use crate::{
    args::{install::Uninstall, run::Stage},
    deploy::{Extra, Installation, PART_OF, Router},
};

/// Runs the verb.
pub fn run(args: &Uninstall) -> anyhow::Result<Exit> {
    super::wait_for(async {
        let (store, _client, _records) = system::open_cluster(&args.access).await?;
        let installed = installed(&store, &args.namespace).await?;
        let definitions = if args.crds { defined(&store).await? } else { Vec::new() };
        if installed.is_empty() && definitions.is_empty() {
            eprintln!("Nothing of slipway is in namespace {:?}.", args.namespace);
            return Ok(Exit::Done);
        }
        if args.dry_run {
            print(&installed.iter().chain(&definitions).map(|id| format!("{id}\n")).collect::<String>());
            return Ok(Exit::Done);
        }
        if !args.yes && !agreed(installed.len(), definitions.len())? {
            return Ok(Exit::No);
        }
        // The process goes first: nobody is left who would put a finalizer back.
        delete(&store, &installed).await?;
        for definition in &definitions {
            release(&store, definition).await?;
        }
        delete(&store, &definitions).await?;
        print(&format!("{} slipway is gone from namespace {}\n", mark::good(), args.namespace));
        Ok(Exit::Done)
    })
}

/// What is there of everything that any installation may have put there, the Deployment first.
async fn installed(store: &Store, namespace: &str) -> anyhow::Result<Vec<ObjectReference>> {
    let anything = Installation {
        namespace: namespace.to_owned(),
        image: String::new(),
        stages: Stage::value_variants().iter().copied().filter(|stage| *stage != Stage::Local).collect(),
        routers: Router::value_variants().iter().copied().collect(),
        replicas: 1,
        arguments: Vec::new(),
        watch_namespace: None,
        config_tracking: true,
        extras: BTreeSet::from([Extra::NetworkPolicies, Extra::ServiceMonitor]),
    };
    let mut wanted: Vec<ObjectReference> = anything.objects().iter().filter_map(ObjectReference::of).collect();
    wanted.extend(namespaced_rights(store).await?);
    wanted.sort_by_key(|id| (id.kind != "Deployment", id.kind == "Namespace"));
    let mut there = Vec::new();
    for id in wanted {
        match store.find(&id).await {
            Ok(Some(object)) if is_ours(&object) && !there.contains(&id) => there.push(id),
            Ok(_) | Err(Error::UnknownKind { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(there)
}

/// Roles that an installation for one namespace has there.
async fn namespaced_rights(store: &Store) -> anyhow::Result<Vec<ObjectReference>> {
    let mut found = Vec::new();
    for kind in ["Role", "RoleBinding"] {
        let kind = ObjectReference {
            api_version: "rbac.authorization.k8s.io/v1".into(),
            kind: kind.into(),
            ..Default::default()
        };
        let all = store.list_values(&kind, None).await?;
        found.extend(all.iter().filter(|object| is_ours(object)).filter_map(ObjectReference::of));
    }
    Ok(found)
}

fn is_ours(object: &Value) -> bool {
    object.pointer("/metadata/labels").is_some_and(|labels| labels[PART_OF.0] == PART_OF.1)
}

/// The definitions of our kinds that the cluster has.
async fn defined(store: &Store) -> anyhow::Result<Vec<ObjectReference>> {
    let mut there = Vec::new();
    for id in crd::definitions().iter().filter_map(ObjectReference::of) {
        if store.find(&id).await?.is_some() {
            there.push(id);
        }
    }
    Ok(there)
}

/// Takes the finalizers off all objects of a kind: nobody is left who would answer them.
async fn release(store: &Store, definition: &ObjectReference) -> anyhow::Result<()> {
    let Some(definition) = store.find(definition).await? else { return Ok(()) };
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = ObjectReference {
        api_version: format!("{}/{}", text("/spec/group"), text("/spec/versions/0/name")),
        kind: text("/spec/names/kind").to_owned(),
        ..Default::default()
    };
    for object in store.list_values(&kind, None).await? {
        let has_finalizers = object.pointer("/metadata/finalizers").is_some();
        if let Some(id) = ObjectReference::of(&object).filter(|_| has_finalizers) {
            store.patch(&id, "slipway", &json!({"metadata": {"finalizers": null}})).await?;
        }
    }
    Ok(())
}

async fn delete(store: &Store, ids: &[ObjectReference]) -> anyhow::Result<()> {
    for id in ids {
        store.delete(id).await?;
        eprintln!("{} {id} deleted", mark::step());
    }
    Ok(())
}

/// Asks at the terminal.
fn agreed(objects: usize, definitions: usize) -> anyhow::Result<bool> {
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        bail!("uninstall needs a yes and there is no terminal\nhint: add --yes");
    }
    let loss = match definitions {
        0 => String::new(),
        kinds => format!(" and {kinds} kinds with all their objects"),
    };
    write!(std::io::stderr(), "Delete {objects} objects of slipway{loss}? y = yes, anything else = no: ")?;
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
