//! `slipway get --watch`: every change as one more line. A single Canary is watched until its rollout ends.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use api::{flagger::Phase, meta::ObjectReference};
use reconcile::clock;
use serde_json::{Value, json};

use super::{Asked, around, table};
use crate::{
    args::look::Format,
    commands::{
        Exit,
        kinds::{Kind, Named},
        print,
        streams::is_heard,
        table::{padded, width},
    },
};

/// How often a state file, and a cluster, are looked at.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_AT_CLUSTER: Duration = Duration::from_secs(1);

/// Prints what is there, then every change, until interrupted or the one Canary that was named has come to an end.
pub(super) async fn run(asked: &Asked<'_>, named: &Named) -> anyhow::Result<Exit> {
    let Named::Kind(kind, names) = named else { bail!("say which kind to watch: slipway get canary -w") };
    if matches!(asked.args.output, Format::Yaml | Format::Name) {
        bail!("--watch prints a table, or with -o json one object a line");
    }
    let mut lines = Lines::default();
    let mut seen: BTreeMap<ObjectReference, Value> = BTreeMap::new();
    let pause = if asked.system.store.is_standalone() { LOOK } else { LOOK_AT_CLUSTER };
    loop {
        let mut objects = asked.read(kind).await?;
        objects.retain(|object| names.is_empty() || names.iter().any(|name| object["metadata"]["name"] == *name));
        if let (1, [], true) = (names.len(), objects.as_slice(), seen.is_empty()) {
            super::missing(&asked.system.store, kind, &asked.system.namespace, &names[0]).await?;
            return Ok(Exit::No);
        }
        lines.tell(asked, kind, &changes(&mut seen, &objects)).await?;
        if let (1, [object], "Canary") = (names.len(), objects.as_slice(), kind.kind)
            && let Some(exit) = ended(object)
        {
            return Ok(exit);
        }
        if !is_heard() {
            return Ok(Exit::Done);
        }
        clock::sleep(pause).await;
    }
}

/// What changed since the last look: the kind of change and the object.
fn changes(seen: &mut BTreeMap<ObjectReference, Value>, objects: &[Value]) -> Vec<(&'static str, Value)> {
    let mut changes = Vec::new();
    let now: BTreeMap<ObjectReference, &Value> =
        objects.iter().filter_map(|object| Some((ObjectReference::of(object)?, object))).collect();
    let gone: Vec<ObjectReference> = seen.keys().filter(|id| !now.contains_key(id)).cloned().collect();
    changes.extend(gone.iter().filter_map(|id| seen.remove(id)).map(|object| ("DELETED", object)));
    for (id, object) in now {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match seen.insert(id, object.clone()) {
            None => changes.push(("ADDED", object.clone())),
            Some(before) if version(&before) != version(object) => changes.push(("MODIFIED", object.clone())),
            Some(_) => {}
        }
    }
    changes
}

/// How a rollout ended, if it has.
fn ended(canary: &Value) -> Option<Exit> {
    let phase = canary.pointer("/status/phase").and_then(Value::as_str)?;
    let is = |wanted: Phase| phase == wanted.as_str();
    match () {
        () if is(Phase::Failed) => Some(Exit::No),
        () if is(Phase::Succeeded) || is(Phase::Initialized) => Some(Exit::Done),
        () => None,
    }
}

/// The lines of a table that grows: columns keep the widths of the first page.
#[derive(Default)]
struct Lines {
    widths: Vec<usize>,
}

impl Lines {
    async fn tell(&mut self, asked: &Asked<'_>, kind: &'static Kind, changes: &[(&str, Value)]) -> anyhow::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        if asked.args.output == Format::Json {
            let lines =
                changes.iter().map(|(change, object)| json!({"type": change, "object": object}).to_string() + "\n");
            print(&lines.collect::<String>());
            return Ok(());
        }
        let objects = changes.iter().filter(|(change, _)| *change != "DELETED").map(|(_, object)| object.clone());
        let around = around(&asked.system.store).await?;
        let (titles, rows) = table::rows(asked.args, &(kind, objects.collect()), &around, false);
        let mut text = String::new();
        if self.widths.is_empty() {
            let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
            let page = || std::iter::once(&titles).chain(&rows);
            self.widths =
                (0..titles.len()).map(|column| page().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
            if !asked.args.no_headers {
                text.push_str(&padded(&titles, &self.widths));
            }
        }
        rows.iter().for_each(|row| text.push_str(&padded(row, &self.widths)));
        print(&text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let object = |name: &str, version: &str| json!({"kind": "Canary", "metadata": {"name": name, "resourceVersion": version}});
        let mut seen = BTreeMap::new();
        let kinds = |seen: &mut BTreeMap<_, _>, objects: &[Value]| {
            changes(seen, objects).into_iter().map(|(change, _)| change).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&mut seen, &[object("a", "1"), object("b", "1")]), ["ADDED", "ADDED"]);
        assert_eq!(kinds(&mut seen, &[object("a", "1"), object("b", "1")]), [""; 0]);
        assert_eq!(kinds(&mut seen, &[object("b", "2")]), ["DELETED", "MODIFIED"]);
    }
}
