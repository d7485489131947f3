//! How each Alert fares, written into its status: last success, last error, what is pending, patterns that never match.
//!
//! Differs: Flux's Alerts have no status.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::{
    Condition,
    conditions::{self, New, Status},
    notification::Alert,
};
use jiff::Timestamp;
use kube::ResourceExt as _;
use reconcile::{Store, object};
use serde_json::{Value, json};

use super::queues::{Name, Queues};
use crate::{CONTROLLER, Error, alert::Verdict, outbox::Entry};

/// Type of the condition about delivery.
const DELIVERED: &str = "Delivered";
/// Type of the condition about the inclusion list.
const INCLUSION_LIST: &str = "InclusionListMatches";
/// Events of an Alert's sources after which a pattern that matched none of them is told.
const ENOUGH_EVENTS: u64 = 5;
/// Shortest time between two writes of all statuses.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of all Alerts since the start.
#[derive(Debug, Default)]
pub(super) struct Health {
    alerts: BTreeMap<Name, Known>,
    changed: BTreeSet<Name>,
    write_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Known {
    last_success: Option<Timestamp>,
    last_error: Option<(Timestamp, String)>,
    events: u64,
    matched: BTreeSet<usize>,
    generation: Option<i64>,
}

impl Health {
    /// When statuses are written next; none while nothing changed.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.write_at
    }

    /// An Alert was asked about an event.
    pub(super) fn heard(&mut self, alert: &Alert, verdict: &Verdict, now: Timestamp) {
        if !verdict.is_of_source || alert.spec.inclusion_list.is_empty() {
            return;
        }
        let key = (alert.namespace().unwrap_or_default(), alert.name_any());
        let known = self.alerts.entry(key.clone()).or_default();
        if known.generation != alert.metadata.generation {
            (known.events, known.generation) = (0, alert.metadata.generation);
            known.matched.clear();
        }
        known.events += 1;
        let news = verdict.included_by.iter().filter(|index| known.matched.insert(**index)).count();
        if known.events == ENOUGH_EVENTS || (known.events > ENOUGH_EVENTS && news > 0) {
            self.change(key, now);
        }
    }

    /// A notification was put into the outbox.
    pub(super) fn put(&mut self, entry: &Entry, now: Timestamp) {
        self.change(key(entry), now);
    }

    /// A notification was tried.
    pub(super) fn tried(&mut self, entry: &Entry, error: Option<&Error>, now: Timestamp) {
        let known = self.alerts.entry(key(entry)).or_default();
        match error {
            None => (known.last_success, known.last_error) = (Some(now), None),
            Some(error) => known.last_error = Some((now, error.to_string())),
        }
        self.change(key(entry), now);
    }

    fn change(&mut self, key: Name, now: Timestamp) {
        self.changed.insert(key);
        self.write_at.get_or_insert(now + PAUSE);
    }

    /// Writes what changed, if it is time. An Alert that is gone, or whose kind has no status, is passed over.
    pub(super) async fn tell(&mut self, store: &Store, queues: &Queues, now: Timestamp) {
        if self.write_at.is_none_or(|at| at > now) {
            return;
        }
        self.write_at = None;
        let waiting = queues.waiting();
        for key in std::mem::take(&mut self.changed) {
            let known = self.alerts.entry(key.clone()).or_default();
            let waiting = waiting.get(&key).copied().unwrap_or_default();
            let Ok(Some(alert)) = store.get::<Alert>(&key.0, &key.1).await else { continue };
            let id = object::reference(&alert);
            let before = store.find(&id).await.ok().flatten().unwrap_or_default();
            let status = status(&alert, &before, known, waiting, now);
            if let Err(error) = store.write_status(&id, CONTROLLER, &status).await {
                tracing::debug!(%error, alert = %id, "how the alert fares is not written");
            }
        }
    }
}

fn key(entry: &Entry) -> Name {
    (entry.namespace.clone(), entry.alert.clone())
}

/// Merge patch of the status.
fn status(alert: &Alert, before: &Value, known: &Known, pending: usize, now: Timestamp) -> Value {
    let list = before.pointer("/status/conditions").cloned().unwrap_or_default();
    let mut list: Vec<Condition> = serde_json::from_value(list).unwrap_or_default();
    let generation = alert.metadata.generation.unwrap_or_default();
    let mut set = |kind, status, reason, message: &str| {
        conditions::set(&mut list, New { kind, status, reason, message, generation }, now);
    };
    match (&known.last_error, known.last_success) {
        (Some((_, error)), _) => set(DELIVERED, Status::False, "NotificationDispatchFailed", error),
        (None, Some(_)) => set(DELIVERED, Status::True, "Succeeded", "the last notification was delivered"),
        (None, None) => {}
    }
    if known.events >= ENOUGH_EVENTS {
        let patterns = alert.spec.inclusion_list.iter().enumerate();
        let unmatched: Vec<_> = patterns
            .filter(|(index, _)| !known.matched.contains(index))
            .map(|(_, pattern)| format!("{pattern:?}"))
            .collect();
        let events = known.events;
        match unmatched.as_slice() {
            [] => set(INCLUSION_LIST, Status::True, "Matched", "every entry of inclusionList has matched an event"),
            patterns => set(
                INCLUSION_LIST,
                Status::False,
                "NeverMatched",
                &format!(
                    "inclusionList: {} matched none of the last {events} events of the sources; patterns are case-sensitive",
                    patterns.join(", ")
                ),
            ),
        }
    }
    let error = known.last_error.as_ref().map(|(at, message)| json!({"at": at, "message": message}));
    let mut status = json!({"conditions": list, "delivery": {"pending": pending, "lastError": error}});
    if let Some(at) = known.last_success {
        status["delivery"]["lastSuccess"] = at.to_string().into();
    }
    status
}
