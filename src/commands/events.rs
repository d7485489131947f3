//! `slipway events`: what happened, oldest first.

use anyhow::bail;
use reconcile::{Event, Severity, clock, store::EventFilter};

use super::{
    Exit, get,
    kinds::{self, Kind},
    mark, print, print_json, system,
    table::{ago, cell, fitted, span},
};
use crate::args::look::{Events, Format};

const TITLES: [&str; 7] = ["LAST-SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "BY", "MESSAGE"];

/// Runs the verb.
pub fn run(args: &Events) -> anyhow::Result<Exit> {
    events(args).map_err(|error| super::wrong(args.output.into(), error))
}

fn events(args: &Events) -> anyhow::Result<Exit> {
    let object = args.object.as_deref().map(kinds::parse_one).transpose().map_err(anyhow::Error::msg)?;
    if let Some(unknown) = args.types.iter().find(|kind| !["normal", "warning"].contains(&kind.to_lowercase().as_str()))
    {
        bail!("no events are of type {unknown:?}; types are Normal and Warning");
    }
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let filter = EventFilter {
            kind: object.as_ref().map(|(kind, _)| kind.kind.to_owned()),
            namespace: Some(system.namespace.clone()).filter(|_| !args.all_namespaces),
            name: object.as_ref().map(|(_, name)| name.clone()),
        };
        let now = clock::now();
        let is_asked_for = |event: &Event| {
            let recent =
                args.since.is_none_or(|since| now.duration_since(event.timestamp).unsigned_abs() <= since.get());
            recent && (args.types.is_empty() || args.types.iter().any(|kind| kind.eq_ignore_ascii_case(event.kind())))
        };
        let mut events = system.store.events(&filter).await?;
        events.retain(is_asked_for);
        if events.is_empty() {
            eprintln!("{}", nothing(args, &system.namespace, object.as_ref()));
        }
        show(args, &events, now)?;
        Ok(Exit::Done)
    })
}

fn show(args: &Events, events: &[Event], now: jiff::Timestamp) -> anyhow::Result<()> {
    match args.output {
        Format::Json => print_json(&get::list_of(events.iter()))?,
        Format::Yaml => print(&serde_saphyr::to_string(&get::list_of(events.iter()))?),
        Format::Name => print(&events.iter().map(|event| object(event) + "\n").collect::<String>()),
        Format::Table | Format::Wide if events.is_empty() => {}
        Format::Table | Format::Wide => {
            let rows: Vec<Vec<String>> = events.iter().map(|event| row(args, event, now)).collect();
            let mut titles = TITLES.to_vec();
            if args.all_namespaces {
                titles.insert(0, "NAMESPACE");
            }
            let columns = mark::columns().filter(|_| args.output == Format::Table);
            print(&fitted(Some(titles.as_slice()).filter(|_| !args.no_headers), rows, columns));
        }
    }
    Ok(())
}

fn row(args: &Events, event: &Event, now: jiff::Timestamp) -> Vec<String> {
    let seen = match args.output {
        Format::Wide => format!("{:.0}", event.timestamp),
        _ => ago(event.timestamp, now),
    };
    // Traces are Normal to Kubernetes; people may want to tell them apart.
    let kind = if event.severity == Severity::Trace { "Normal" } else { event.kind() };
    let mut row = vec![
        seen,
        kind.into(),
        event.reason.clone(),
        object(event),
        event.count.to_string(),
        event.reporting_controller.clone(),
        cell(&event.message),
    ];
    if args.all_namespaces {
        row.insert(0, cell(&event.involved_object.reference.namespace));
    }
    row
}

fn object(event: &Event) -> String {
    let about = &event.involved_object.reference;
    format!("{}/{}", about.kind.to_lowercase(), about.name)
}

fn nothing(args: &Events, namespace: &str, object: Option<&(&'static Kind, String)>) -> String {
    let about = object.map(|(kind, name)| format!(" for {}", kind.slash(name))).unwrap_or_default();
    let place = match (args.all_namespaces, object) {
        (true, _) => String::new(),
        (false, _) => format!(" in namespace {namespace:?}"),
    };
    let since = args.since.map(|since| format!(" in the last {}", span(since.get().as_secs()))).unwrap_or_default();
    format!("No events{about}{place}{since}. History is kept for 30d.")
}
