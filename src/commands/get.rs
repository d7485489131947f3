//! `slipway get`: objects of a running system, as tables or as they are.

mod canary;
pub mod columns;
mod table;
mod watch;

use anyhow::bail;
use api::meta::ObjectReference;
use reconcile::Store;
use serde_json::{Value, json};

use super::{
    Exit,
    kinds::{self, KINDS, Kind, Named},
    print, print_json,
    selector::Selector,
    system::{self, System},
};
use crate::args::look::{Format, Get};
pub use table::{Around, around};

/// What is asked of which system.
struct Asked<'a> {
    args: &'a Get,
    system: &'a System,
    selector: Selector,
}

/// Objects of one kind.
type Group = (&'static Kind, Vec<Value>);

/// Runs the verb.
pub fn run(args: &Get) -> anyhow::Result<Exit> {
    get(args).map_err(|error| match args.watch {
        true => super::wrong_in_a_line(args.output.into(), error),
        false => super::wrong(args.output.into(), error),
    })
}

fn get(args: &Get) -> anyhow::Result<Exit> {
    let named = kinds::parse(&args.words).map_err(anyhow::Error::msg)?;
    if args.all_namespaces && matches!(&named, Named::Kind(_, names) if !names.is_empty()) {
        bail!("a name and --all-namespaces exclude each other; say -n NAMESPACE");
    }
    let selector = Selector::parse(args.selector.as_deref().unwrap_or_default(), args.status_selector.as_deref())?;
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let asked = Asked { args, system: &system, selector };
        if args.watch {
            return watch::run(&asked, &named).await;
        }
        match named {
            Named::All => asked.all().await,
            Named::Kind(kind, names) if names.is_empty() => asked.list(kind).await,
            Named::Kind(kind, names) => asked.some(kind, &names).await,
        }
    })
}

impl Asked<'_> {
    async fn list(&self, kind: &'static Kind) -> anyhow::Result<Exit> {
        let objects = self.read(kind).await?;
        if objects.is_empty() {
            eprintln!("{}", self.nothing(kind));
            // Programs get an answer that they can read.
            if matches!(self.args.output, Format::Table | Format::Wide | Format::Name) {
                return Ok(Exit::Done);
            }
        }
        self.show(&[(kind, objects)]).await?;
        Ok(Exit::Done)
    }

    fn nothing(&self, kind: &Kind) -> String {
        let such = if self.selector.is_empty() { "" } else { " that are selected" };
        match self.args.all_namespaces {
            true => format!("No {}{such} in any namespace.", kind.plural),
            false => format!(
                "No {}{such} in namespace {:?}. Look everywhere: slipway get {} -A",
                kind.plural, self.system.namespace, kind.singular
            ),
        }
    }

    async fn all(&self) -> anyhow::Result<Exit> {
        let mut groups = Vec::new();
        for kind in KINDS.iter().filter(|kind| kind.is_shown_by_all) {
            let objects = self.read(kind).await?;
            if !objects.is_empty() {
                groups.push((kind, objects));
            }
        }
        if groups.is_empty() {
            let namespace = &self.system.namespace;
            let place =
                if self.args.all_namespaces { "any namespace".into() } else { format!("namespace {namespace:?}") };
            eprintln!("Nothing in {place}.");
        }
        self.show(&groups).await?;
        Ok(Exit::Done)
    }

    async fn some(&self, kind: &'static Kind, names: &[String]) -> anyhow::Result<Exit> {
        let mut objects = Vec::new();
        let mut exit = Exit::Done;
        for name in names {
            match self.system.store.find(&kind.object(&self.system.namespace, name)).await? {
                Some(object) => objects.push(object),
                None => {
                    missing(&self.system.store, kind, &self.system.namespace, name).await?;
                    exit = Exit::No;
                }
            }
        }
        match (self.args.output, objects.as_slice(), names.len()) {
            (_, [], _) => {}
            (Format::Json, [object], 1) => print_json(object)?,
            (Format::Yaml, [object], 1) => print(&serde_saphyr::to_string(object)?),
            _ => self.show(&[(kind, objects)]).await?,
        }
        Ok(exit)
    }

    async fn read(&self, kind: &Kind) -> anyhow::Result<Vec<Value>> {
        let namespace = Some(self.system.namespace.as_str()).filter(|_| !self.args.all_namespaces);
        let mut objects = match self.system.store.list_values(&kind.object("", ""), namespace).await {
            Ok(objects) => objects,
            // A cluster need not have all kinds.
            Err(reconcile::Error::UnknownKind { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        objects.retain(|object| self.selector.matches(object));
        objects.sort_by_key(|object| ObjectReference::of(object).map(|id| (id.namespace, id.name)));
        Ok(objects)
    }

    async fn show(&self, groups: &[Group]) -> anyhow::Result<()> {
        let items = || groups.iter().flat_map(|(_, objects)| objects);
        match self.args.output {
            Format::Json => print_json(&list_of(items()))?,
            Format::Yaml => print(&serde_saphyr::to_string(&list_of(items()))?),
            Format::Name => {
                for (kind, objects) in groups {
                    let names = objects.iter().filter_map(ObjectReference::of).map(|id| kind.slash(&id.name) + "\n");
                    print(&names.collect::<String>());
                }
            }
            Format::Table | Format::Wide => {
                let around = around(&self.system.store).await?;
                print(&table::text(self.args, groups, &around));
            }
        }
        Ok(())
    }
}

/// Says that an object is not there, and what may have been meant.
pub async fn missing(store: &Store, kind: &Kind, namespace: &str, name: &str) -> anyhow::Result<()> {
    eprintln!("{} {} {name:?} not found in namespace {namespace:?}", super::mark::error(), kind.singular);
    let objects = store.list_values(&kind.object("", ""), None).await.unwrap_or_default();
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

/// The objects as one, as Kubernetes writes lists.
pub fn list_of<T: serde::Serialize>(items: impl Iterator<Item = T>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items.collect::<Vec<_>>()})
}
