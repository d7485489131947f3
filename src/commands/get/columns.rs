//! The columns of each kind. A cell is a pure function of the object and what is around it.

use notification::outbox::{Entry, State};
use serde_json::Value;

use super::{Around, canary};
use crate::commands::{
    kinds::Kind,
    table::{ago, cell, span},
};

/// A column.
#[derive(Clone, Copy)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// What stands in it.
    pub cell: fn(&Value, &Around) -> String,
}

const fn column(title: &'static str, cell: fn(&Value, &Around) -> String) -> Column {
    Column { title, cell }
}

const NAME: Column = column("NAME", |object, _| text(object, "/metadata/name"));
const READY: Column = column("READY", |object, _| condition(object, "status"));
const MESSAGE: Column = column("MESSAGE", |object, _| condition(object, "message"));
const AGE: Column = column("AGE", |object, around| since(object, "/metadata/creationTimestamp", around));
const INTERVAL: Column = column("INTERVAL", |object, _| text(object, "/spec/interval"));
const SUSPENDED: Column = column("SUSPENDED", |object, _| if is_suspended(object) { "True" } else { "False" }.into());
const LAST_SENT: Column =
    column("LAST-SENT", |object, around| sent(object, around, |entry| ago(entry.due, around.now)));
const SENT_WELL: Column = column("READY", |object, around| {
    sent(object, around, |entry| match (entry.state, entry.tries) {
        (State::Sent, _) => "True".into(),
        (State::Failed, _) | (State::Pending, 1..) => "False".into(),
        (State::Pending, 0) => "Unknown".into(),
    })
});
const LAST_MESSAGE: Column =
    column("MESSAGE", |object, around| sent(object, around, |entry| cell(&entry.event.message)));

const REPOSITORY: &[Column] = &[
    column("IMAGE", |object, _| text(object, "/spec/image")),
    column("TAGS", |object, _| text(object, "/status/lastScanResult/tagCount")),
    column("LAST-SCAN", |object, around| since(object, "/status/lastScanResult/scanTime", around)),
    column("NEXT", next_scan),
    READY,
    MESSAGE,
];
const POLICY: &[Column] = &[
    column("IMAGE", |object, _| text(object, "/status/latestRef/name")),
    column("TAG", |object, _| text(object, "/status/latestRef/tag")),
    READY,
    column("CHANGED", |object, around| moment(&condition(object, "lastTransitionTime"), around)),
    MESSAGE,
];
const UPDATE: &[Column] = &[
    column("BRANCH", |object, _| first(object, &["/spec/git/push/branch", "/spec/git/checkout/ref/branch"])),
    column("LAST-COMMIT", |object, _| text(object, "/status/lastPushCommit").chars().take(7).collect()),
    column("LAST-RUN", |object, around| since(object, "/status/lastAutomationRunTime", around)),
    READY,
    MESSAGE,
];
const SOURCE: &[Column] = &[
    column("URL", |object, _| text(object, "/spec/url")),
    column("BRANCH", |object, _| {
        first(object, &["/spec/ref/branch", "/spec/ref/tag", "/spec/ref/semver", "/spec/ref/commit"])
    }),
    column("REVISION", |object, _| text(object, "/status/artifact/revision")),
    READY,
    MESSAGE,
];
const KUSTOMIZATION: &[Column] = &[
    column("SOURCE", |object, _| {
        format!("{}/{}", text(object, "/spec/sourceRef/kind").to_lowercase(), text(object, "/spec/sourceRef/name"))
    }),
    column("REVISION", |object, _| text(object, "/status/lastAppliedRevision")),
    READY,
    MESSAGE,
];
const DEPLOYMENT: &[Column] = &[
    column("READY", |object, _| {
        format!("{}/{}", count(object, "/status/readyReplicas"), count(object, "/spec/replicas"))
    }),
    column("UPDATED", |object, _| count(object, "/status/updatedReplicas").to_string()),
    column("AVAILABLE", |object, _| count(object, "/status/availableReplicas").to_string()),
    column("IMAGE", |object, _| text(object, "/spec/template/spec/containers/0/image")),
];
const DIGEST: Column = column("DIGEST", |object, _| text(object, "/status/latestRef/digest"));
const PATH: Column = column("PATH", |object, _| text(object, "/status/webhookPath"));

/// The columns that are shown for these objects. SUSPENDED appears only if one of them is.
pub fn shown(kind: &Kind, objects: &[Value], wide: bool) -> Vec<Column> {
    let (narrow, further) = columns(kind.kind);
    let mut columns = vec![NAME];
    columns.extend(narrow);
    if objects.iter().any(is_suspended) {
        columns.insert(columns.len().saturating_sub(1).max(1), SUSPENDED);
    }
    if wide {
        columns.extend(further);
        columns.push(AGE);
    }
    columns
}

/// The columns after the name, and those that only `wide` shows.
fn columns(kind: &str) -> (&'static [Column], &'static [Column]) {
    match kind {
        "Canary" => (&canary::COLUMNS, &canary::WIDE),
        "ImageRepository" => (REPOSITORY, &[INTERVAL]),
        "ImagePolicy" => (POLICY, &[DIGEST]),
        "ImageUpdateAutomation" => (UPDATE, &[INTERVAL]),
        "GitRepository" => (SOURCE, &[INTERVAL]),
        "Kustomization" => (KUSTOMIZATION, &[INTERVAL]),
        "Alert" | "Provider" => (&[SENT_WELL, LAST_SENT, LAST_MESSAGE], &[]),
        "Receiver" => (&[READY, MESSAGE], &[PATH]),
        "Deployment" => (DEPLOYMENT, &[]),
        _ => (&[AGE], &[]),
    }
}

/// The text or number at a pointer, `-` if there is none.
pub fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) => cell(text),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => "-".into(),
    }
}

fn first(object: &Value, pointers: &[&str]) -> String {
    pointers.iter().map(|pointer| text(object, pointer)).find(|text| text != "-").unwrap_or_else(|| "-".into())
}

fn count(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn is_suspended(object: &Value) -> bool {
    object.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false)
}

/// How long ago the time at the pointer was.
pub fn since(object: &Value, pointer: &str, around: &Around) -> String {
    moment(&text(object, pointer), around)
}

fn moment(time: &str, around: &Around) -> String {
    time.parse().map_or_else(|_| "-".into(), |then| ago(then, around.now))
}

fn condition(object: &Value, field: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    ready.map_or_else(|| "-".into(), |condition| text(condition, &format!("/{field}")))
}

fn next_scan(object: &Value, around: &Around) -> String {
    let scanned: Option<jiff::Timestamp> = text(object, "/status/lastScanResult/scanTime").parse().ok();
    let interval: Option<api::Duration> =
        object.pointer("/spec/interval").and_then(|value| serde_json::from_value(value.clone()).ok());
    let Some((scanned, interval)) = scanned.zip(interval) else { return "-".into() };
    let rest = scanned.saturating_add(interval.get()).ok().map(|due| due.duration_since(around.now).as_secs());
    rest.filter(|rest| *rest > 0).map_or_else(|| "now".into(), |rest| span(rest.unsigned_abs()))
}

/// Something of the last notification of an Alert or Provider.
fn sent(object: &Value, around: &Around, cell: impl Fn(&Entry) -> String) -> String {
    let kind = if object["kind"] == "Alert" { "Alert" } else { "Provider" };
    let key = (kind, text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    around.sent.get(&key).map_or_else(|| "-".into(), cell)
}
