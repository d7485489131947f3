//! `slipway describe`: one object, from the sentence that says where it stands to its last events.

mod canary;

use anyhow::bail;
use reconcile::{Event, clock, store::EventFilter};
use serde_json::Value;

use super::{
    Exit, get,
    get::{Around, columns},
    kinds::{self, Kind, Named},
    mark::{Paint, paint},
    print, print_json, suspend,
    system::{self, System},
    table::{ago, cell, render},
};
use crate::args::{Output, look::Describe};

/// Events that are shown.
const EVENTS: usize = 10;

/// Runs the verb.
pub fn run(args: &Describe) -> anyhow::Result<Exit> {
    describe(args).map_err(|error| super::wrong(args.output, error))
}

fn describe(args: &Describe) -> anyhow::Result<Exit> {
    let (kind, name) = match kinds::parse(&args.words).map_err(anyhow::Error::msg)? {
        Named::Kind(kind, names) if names.len() == 1 => (kind, names.concat()),
        Named::Kind(kind, _) => bail!("say which {}: slipway describe {} NAME", kind.singular, kind.singular),
        Named::All => bail!("say which object: slipway describe KIND NAME"),
    };
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let Some(object) = system.store.find(&kind.object(&system.namespace, &name)).await? else {
            get::missing(&system.store, kind, &system.namespace, &name).await?;
            return Ok(Exit::No);
        };
        let around = get::around(&system.store).await?;
        let rollout = match kind.kind {
            // One that does not fit its kind is no rollout; its condition says why.
            "Canary" if api::manifest::typed::<api::flagger::Canary>(&object).is_ok() => {
                Some(canary::Rollout::read(&system.store, &object).await?)
            }
            _ => None,
        };
        if args.output == Output::Json {
            print_json(&rollout.map_or(object, |rollout| rollout.json()))?;
            return Ok(Exit::Done);
        }
        let events = events(&system, kind, &name).await?;
        let head = rollout.map_or_else(|| sentence(kind, &object, &around) + "\n", |rollout| rollout.text());
        print(&(head + "\n" + &text(kind, &object, &around, &events)?));
        Ok(Exit::Done)
    })
}

async fn events(system: &System, kind: &Kind, name: &str) -> anyhow::Result<Vec<Event>> {
    let filter = EventFilter {
        kind: Some(kind.kind.to_owned()),
        namespace: Some(system.namespace.clone()),
        name: Some(name.to_owned()),
    };
    let mut events = system.store.events(&filter).await?;
    events.drain(..events.len().saturating_sub(EVENTS));
    Ok(events)
}

fn text(kind: &Kind, object: &Value, around: &Around, events: &[Event]) -> anyhow::Result<String> {
    let mut text = String::new();
    let shown = columns::shown(kind, std::slice::from_ref(object), true);
    let facts = shown.iter().filter(|column| column.title != "MESSAGE");
    let facts = facts.map(|column| vec![title(column.title), (column.cell)(object, around)]);
    let namespace = vec!["Namespace".to_owned(), columns::text(object, "/metadata/namespace")];
    let mut rows: Vec<Vec<String>> = facts.collect();
    rows.insert(1.min(rows.len()), namespace);
    text.push_str(&render(None, &rows));
    let heading = |title: &str| format!("\n{}\n", paint(title, Paint::Bold));
    text.push_str(&heading("Spec"));
    text.push_str(&indented(&serde_saphyr::to_string(&object["spec"])?));
    let conditions = conditions(object, around);
    if !conditions.is_empty() {
        text.push_str(&heading("Conditions"));
        text.push_str(&indented(&render(Some(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]), &conditions)));
    }
    text.push_str(&heading("Events"));
    match events {
        [] => text.push_str("  none\n"),
        events => text.push_str(&indented(&render(
            Some(&["LAST-SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"]),
            &event_rows(events),
        ))),
    }
    Ok(text)
}

/// Where an object without conditions stands, in the words of its columns.
fn plainly(kind: &Kind, object: &Value, around: &Around) -> String {
    let shown = columns::shown(kind, std::slice::from_ref(object), true);
    let find = |title: &str| {
        let cell = shown.iter().find(|column| column.title == title).map(|column| (column.cell)(object, around));
        cell.filter(|cell| cell != "-")
    };
    match (find("LAST-SENT"), find("MESSAGE"), kind.kind) {
        (Some(sent), Some(message), _) => format!("last sent {sent} ago: {message}"),
        (None, _, "Alert" | "Provider") => "nothing was sent yet".into(),
        (.., "Deployment" | "DaemonSet") => format!("{} pods ready", find("READY").unwrap_or_default()),
        _ if suspend::KINDS.contains(&kind.kind) => "no controller has reported on it".into(),
        _ => format!("{} in namespace {}", kind.singular, columns::text(object, "/metadata/namespace")),
    }
}

/// Where the object stands, in the words of its condition.
fn sentence(kind: &Kind, object: &Value, around: &Around) -> String {
    let name = columns::text(object, "/metadata/name");
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let find = |kind: &str| all.into_iter().flatten().find(|condition| condition["type"] == kind);
    let suspended = object.pointer("/spec/suspend").is_some_and(|suspend| *suspend == true);
    let stands = match find("Stalled").or_else(|| find("Ready")).or_else(|| find("Promoted")) {
        Some(condition) => cell(condition["message"].as_str().unwrap_or_default()),
        None => plainly(kind, object, around),
    };
    match suspended {
        true => format!("{name} is suspended{}. Before: {stands}", suspend::told(object)),
        false => format!("{name}: {stands}"),
    }
}

/// `LAST-SCAN` as `Last scan`.
fn title(column: &str) -> String {
    let lower = column.replace('-', " ").to_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn conditions(object: &Value, around: &Around) -> Vec<Vec<String>> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let row = |condition: &Value| {
        let text = |field: &str| cell(condition[field].as_str().unwrap_or_default());
        let since = text("lastTransitionTime").parse().map_or_else(|_| "-".into(), |then| ago(then, around.now));
        vec![text("type"), text("status"), text("reason"), since, text("message")]
    };
    all.into_iter().flatten().map(row).collect()
}

fn event_rows(events: &[Event]) -> Vec<Vec<String>> {
    let now = clock::now();
    let row = |event: &Event| {
        let seen = ago(event.timestamp, now);
        vec![seen, event.kind().into(), event.reason.clone(), event.count.to_string(), cell(&event.message)]
    };
    events.iter().map(row).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
