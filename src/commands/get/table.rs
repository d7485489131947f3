//! Objects as tables: which columns, in which colours.

use std::collections::BTreeMap;

use notification::outbox::Entry;
use reconcile::{Store, clock};
use serde_json::Value;

use super::{Group, columns};
use crate::{
    args::look::{Format, Get},
    commands::{
        kinds,
        mark::{self, Paint, paint},
        table::fitted,
    },
};

/// What a cell may look at beside its object.
pub struct Around {
    /// The time.
    pub now: jiff::Timestamp,
    /// Deployments and DaemonSets, for the versions of Canaries.
    pub workloads: Vec<Value>,
    /// The last notification by kind (`Alert`, `Provider`), namespace and name.
    pub sent: BTreeMap<(&'static str, String, String), Entry>,
}

/// Looks around.
pub async fn around(store: &Store) -> anyhow::Result<Around> {
    let mut workloads = Vec::new();
    for kind in ["deployment", "daemonset"].iter().filter_map(|word| kinds::find(word)) {
        // Who may not see workloads still sees Canaries.
        workloads.extend(store.list_values(&kind.object("", ""), None).await.unwrap_or_default());
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

/// A table for each group.
pub(super) fn text(args: &Get, groups: &[Group], around: &Around) -> String {
    let tables = groups.iter().map(|group| {
        let (titles, rows) = rows(args, group, around, groups.len() > 1);
        let bold: Vec<String> = titles.iter().map(|title| paint(title, Paint::Bold)).collect();
        let bold: Vec<&str> = bold.iter().map(String::as_str).collect();
        // Wide tables are whole.
        let columns = mark::columns().filter(|_| args.output == Format::Table);
        fitted(Some(bold.as_slice()).filter(|_| !args.no_headers), rows, columns)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// Titles and rows of a group. With several groups the name says the kind.
pub(super) fn rows(
    args: &Get,
    (kind, objects): &Group,
    around: &Around,
    slashes: bool,
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let shown = columns::shown(kind, objects, args.output == Format::Wide);
    let mut titles: Vec<&str> = shown.iter().map(|column| column.title).collect();
    let row = |object| shown.iter().map(|column| colored(column.title, (column.cell)(object, around))).collect();
    let mut rows: Vec<Vec<String>> = objects.iter().map(row).collect();
    if slashes {
        rows.iter_mut().for_each(|row| row[0] = kind.slash(&row[0]));
    }
    if args.all_namespaces {
        titles.insert(0, "NAMESPACE");
        let namespaces = objects.iter().map(|object| columns::text(object, "/metadata/namespace"));
        rows.iter_mut().zip(namespaces).for_each(|(row, namespace)| row.insert(0, namespace));
    }
    (titles, rows)
}

/// The cell in the colour of what it says.
fn colored(title: &str, cell: String) -> String {
    let color = match (title, cell.as_str()) {
        ("READY", "True") | ("STATE", "Succeeded" | "Initialized") => Paint::Green,
        ("READY", "False") | ("STATE", "Failed") => Paint::Red,
        ("READY", "Unknown") | ("STATE", "Waiting" | "WaitingPromotion") => Paint::Yellow,
        ("STATE", "Progressing" | "Promoting" | "Finalising" | "Initializing") => Paint::Blue,
        ("SUSPENDED", "True") => Paint::Magenta,
        _ => return cell,
    };
    paint(&cell, color)
}
