//! `slipway get`: objects of a running system, as tables or as they are.

mod canary;
mod columns;

use std::collections::BTreeMap;

use anyhow::bail;
use api::meta::ObjectReference;
use notification::outbox::Entry;
use reconcile::{Directory, Store, clock};
use serde_json::{Value, json};

use super::{
    Exit,
    kinds::{self, KINDS, Kind, Named},
    print, print_json,
    table::render,
};
use crate::args::look::{Format, Get, Place};

/// What a cell may look at beside its object.
pub struct Around {
    /// The time.
    pub now: jiff::Timestamp,
    /// Deployments and DaemonSets, for the versions of Canaries.
    pub workloads: Vec<Value>,
    /// The last notification by kind (`Alert`, `Provider`), namespace and name.
    pub sent: BTreeMap<(&'static str, String, String), Entry>,
}

/// Runs the verb.
pub fn run(args: &Get) -> anyhow::Result<Exit> {
    let named = kinds::parse(&args.words).map_err(anyhow::Error::msg)?;
    if args.all_namespaces && matches!(&named, Named::Kind(_, names) if !names.is_empty()) {
        bail!("a name and --all-namespaces exclude each other; say -n NAMESPACE");
    }
    super::wait_for(async {
        let store = open(&args.place)?;
        match named {
            Named::All => all(args, &store).await,
            Named::Kind(kind, names) if names.is_empty() => list(args, &store, kind).await,
            Named::Kind(kind, names) => some(args, &store, kind, &names).await,
        }
    })
}

/// The store of the running system.
pub fn open(place: &Place) -> anyhow::Result<Store> {
    Ok(Store::Directory(Directory::attach(&place.state)?))
}

async fn list(args: &Get, store: &Store, kind: &'static Kind) -> anyhow::Result<Exit> {
    let objects = read(args, store, kind).await?;
    if objects.is_empty() {
        let everywhere = format!("slipway get {} -A", kind.singular);
        match args.all_namespaces {
            true => eprintln!("No {} in any namespace.", kind.plural),
            false => {
                eprintln!("No {} in namespace {:?}. Look everywhere: {everywhere}", kind.plural, args.place.namespace)
            }
        }
        // Programs get an answer that they can read.
        if matches!(args.output, Format::Table | Format::Wide | Format::Name) {
            return Ok(Exit::Done);
        }
    }
    show(args, store, &[(kind, objects)]).await?;
    Ok(Exit::Done)
}

async fn all(args: &Get, store: &Store) -> anyhow::Result<Exit> {
    let mut groups = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.is_shown_by_all) {
        let objects = read(args, store, kind).await?;
        if !objects.is_empty() {
            groups.push((kind, objects));
        }
    }
    if groups.is_empty() {
        eprintln!(
            "Nothing in {}.",
            if args.all_namespaces { "any namespace".into() } else { format!("namespace {:?}", args.place.namespace) }
        );
    }
    show(args, store, &groups).await?;
    Ok(Exit::Done)
}

async fn some(args: &Get, store: &Store, kind: &'static Kind, names: &[String]) -> anyhow::Result<Exit> {
    let mut objects = Vec::new();
    let mut exit = Exit::Done;
    for name in names {
        match store.find(&kind.object(&args.place.namespace, name)).await? {
            Some(object) => objects.push(object),
            None => {
                missing(store, kind, &args.place.namespace, name).await?;
                exit = Exit::No;
            }
        }
    }
    match (args.output, objects.as_slice(), names.len()) {
        (_, [], _) => {}
        (Format::Json, [object], 1) => print_json(object)?,
        (Format::Yaml, [object], 1) => print(&serde_saphyr::to_string(object)?),
        _ => show(args, store, &[(kind, objects)]).await?,
    }
    Ok(exit)
}

/// Says that an object is not there, and what may have been meant.
pub async fn missing(store: &Store, kind: &Kind, namespace: &str, name: &str) -> anyhow::Result<()> {
    eprintln!("error: {} {name:?} not found in namespace {namespace:?}", kind.singular);
    let objects = store.list_values(&kind.object("", ""), None).await?;
    let references: Vec<_> = objects.iter().filter_map(ObjectReference::of).collect();
    if let Some(found) = references.iter().find(|found| found.name == name) {
        eprintln!("tip: it exists in namespace {:?}: add -n {}", found.namespace, found.namespace);
        return Ok(());
    }
    let here = references.iter().filter(|found| found.namespace == namespace).map(|found| found.name.as_str());
    if let Some(similar) = kinds::similar(name, here) {
        eprintln!("tip: a similar name exists: {similar}");
    }
    Ok(())
}

async fn read(args: &Get, store: &Store, kind: &Kind) -> anyhow::Result<Vec<Value>> {
    let namespace = Some(args.place.namespace.as_str()).filter(|_| !args.all_namespaces);
    let mut objects = store.list_values(&kind.object("", ""), namespace).await?;
    objects.sort_by_key(|object| ObjectReference::of(object).map(|id| (id.namespace, id.name)));
    Ok(objects)
}

async fn show(args: &Get, store: &Store, groups: &[(&'static Kind, Vec<Value>)]) -> anyhow::Result<()> {
    let items = || groups.iter().flat_map(|(_, objects)| objects);
    match args.output {
        Format::Json => print_json(&list_of(items()))?,
        Format::Yaml => print(&serde_saphyr::to_string(&list_of(items()))?),
        Format::Name => {
            for (kind, objects) in groups {
                let names = objects.iter().filter_map(ObjectReference::of).map(|id| kind.slash(&id.name) + "\n");
                print(&names.collect::<String>());
            }
        }
        Format::Table | Format::Wide => {
            let around = around(store).await?;
            let tables = groups.iter().map(|(kind, objects)| {
                let shown = columns::shown(kind, objects, args.output == Format::Wide);
                let mut titles: Vec<&str> = shown.iter().map(|column| column.title).collect();
                let mut rows: Vec<Vec<String>> = objects
                    .iter()
                    .map(|object| shown.iter().map(|column| (column.cell)(object, &around)).collect())
                    .collect();
                if args.all_namespaces {
                    titles.insert(0, "NAMESPACE");
                    rows.iter_mut()
                        .zip(objects)
                        .for_each(|(row, object)| row.insert(0, columns::text(object, "/metadata/namespace")));
                }
                if groups.len() > 1 {
                    let at = usize::from(args.all_namespaces);
                    rows.iter_mut().for_each(|row| row[at] = kind.slash(&row[at]));
                }
                render(Some(titles.as_slice()).filter(|_| !args.no_headers), &rows)
            });
            print(&tables.collect::<Vec<_>>().join("\n"));
        }
    }
    Ok(())
}

/// The objects as one, as Kubernetes writes lists.
pub fn list_of<T: serde::Serialize>(items: impl Iterator<Item = T>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items.collect::<Vec<_>>()})
}

async fn around(store: &Store) -> anyhow::Result<Around> {
    let mut workloads = Vec::new();
    for kind in ["deployment", "daemonset"].iter().filter_map(|word| kinds::find(word)) {
        workloads.extend(store.list_values(&kind.object("", ""), None).await?);
    }
    let mut sent = BTreeMap::new();
    // Keys sort by time, so the last one stays.
    for (_, value) in store.database().scan(notification::controller::OUTBOX, "").await? {
        let Ok(entry) = serde_json::from_slice::<Entry>(&value) else { continue };
        sent.insert(("Alert", entry.namespace.clone(), entry.alert.clone()), entry.clone());
        sent.insert(("Provider", entry.namespace.clone(), entry.provider.clone()), entry);
    }
    Ok(Around { now: clock::now(), workloads, sent })
}
