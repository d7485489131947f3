//! What is to be sent, as records: their keys, when the next try is due, and which repetitions are dropped. Pure.
//! Source: reference delivery.md section 3.1.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reconcile::{Event, Severity};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Tries after which Flux gives up; from then on people are told.
pub const TOLD_AFTER: u32 = 4;
/// How long a notification is tried unless the command line says otherwise.
///
/// Differs: Flux gives up after 15 seconds and the message is lost.
pub const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// How long a record of what was sent is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// First wait after a failed try; it doubles.
pub const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A notification: one event for one Alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Namespace of Alert and Provider.
    pub namespace: String,
    /// Name of the Alert.
    pub alert: String,
    /// Name of the Provider.
    pub provider: String,
    /// The event with the Alert's facts.
    pub event: Event,
    /// When it was put in.
    pub created: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub due: Timestamp,
    /// Where it stands.
    pub state: State,
}

/// How long is waited, and for how long it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// First wait; it doubles.
    pub first_wait: Duration,
    /// Age at which a notification is given up.
    pub max_age: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first_wait: FIRST_WAIT, max_age: MAX_AGE }
    }
}

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Trying again may help, after this time if the service named one.
    Transient {
        /// What the service asked for.
        wait: Option<Duration>,
    },
    /// Trying again cannot help.
    Final,
}

/// Where a notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To be sent.
    Pending,
    /// Delivered.
    Sent,
    /// Given up.
    Failed,
}

impl Entry {
    /// A new notification, due at once.
    pub fn new(namespace: &str, alert: &str, provider: &str, event: Event, now: Timestamp) -> Self {
        let name = |name: &str| name.to_owned();
        Self {
            namespace: name(namespace),
            alert: name(alert),
            provider: name(provider),
            event,
            created: now,
            tries: 0,
            due: now,
            state: State::Pending,
        }
    }

    /// The same for the same event and Alert, however often the process starts; keys sort by the time of the event.
    pub fn key(&self) -> String {
        let about = &self.event.involved_object;
        let reference = about.reference.to_string();
        let parts = [&self.namespace, &self.alert, &reference, &about.uid, &self.event.reason, &self.event.message];
        format!("{:020}-{}", self.event.timestamp.as_nanosecond(), &hash(&parts.map(String::as_str))[..16])
    }

    /// After a failed try: due again after a wait that doubles, or that the service asked for, or given up.
    #[must_use]
    pub fn failed(mut self, failure: Failure, patience: Patience, now: Timestamp) -> Self {
        self.tries += 1;
        let doublings = (self.tries - 1).min(16);
        let own = patience.first_wait.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        let wait = match failure {
            Failure::Transient { wait: Some(asked) } => asked.max(patience.first_wait),
            _ => own,
        };
        self.due = now + wait.min(patience.max_age);
        let age: Duration = self.due.duration_since(self.created).try_into().unwrap_or_default();
        if failure == Failure::Final || age > patience.max_age {
            self.state = State::Failed;
        }
        self
    }

    /// After a try that was answered well.
    #[must_use]
    pub fn sent(mut self, now: Timestamp) -> Self {
        self.tries += 1;
        self.due = now;
        self.state = State::Sent;
        self
    }

    /// Whether people are told of the trouble now: once when Flux would have given up, once when we do.
    pub fn is_told(&self) -> bool {
        self.state == State::Failed || self.tries == TOLD_AFTER
    }
}

/// The last event of an object that was let through, by which repetitions are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When it happened.
    pub at: Timestamp,
    /// How severe it was.
    pub severity: Severity,
}

/// What makes two events the same to people. Source: Flux's event server: name, namespace, kind, message, revisions, token.
///
/// Differs: severity and reason count too, so that a failure with the words of a success is not dropped.
pub fn identity(event: &Event) -> String {
    let about = &event.involved_object.reference;
    let fact = |key: &str| event.metadata.get(key).map(String::as_str).unwrap_or_default();
    let severity = if event.severity == Severity::Error { "error" } else { "info" };
    hash(&[
        &about.name,
        &about.namespace,
        &about.kind,
        &event.message,
        fact("originRevision"),
        fact("revision"),
        fact("token"),
        severity,
        &event.reason,
    ])
}

/// Whether the event repeats one that was let through less than `interval` ago.
/// `other` is the last event of the same object with the other severity.
///
/// Differs: what is said again after the state changed in between is news, and is let through; Flux drops it.
pub fn repeats(event: &Event, same: Option<&Seen>, other: Option<&Seen>, interval: Duration) -> bool {
    let Some(same) = same else { return false };
    let changed_since = other.is_some_and(|other| other.at > same.at);
    let recent = event.timestamp < same.at + interval;
    // An event from before the one that was let through is that one itself, read again after a restart.
    recent && !changed_since
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::event;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn waits_double_until_the_entry_is_given_up() {
        let mut entry = Entry::new("apps", "all", "chat", event(), at(0));
        let mut waits = Vec::new();
        let mut told = 0;
        while entry.state == State::Pending {
            let now = entry.due;
            entry = entry.failed(Failure::Transient { wait: None }, Patience::default(), now);
            told += u32::from(entry.is_told());
            waits.push(entry.due.duration_since(now).as_secs());
        }
        assert_eq!(waits[..7], [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!((told, waits.iter().sum::<i64>() as u64 > MAX_AGE.as_secs()), (2, true));
    }

    #[test]
    fn what_cannot_be_mended_is_given_up_at_once() {
        let entry =
            Entry::new("apps", "all", "chat", event(), at(0)).failed(Failure::Final, Patience::default(), at(1));
        assert_eq!((entry.state, entry.is_told()), (State::Failed, true));
    }

    #[test]
    fn a_service_that_asks_for_time_is_given_it() {
        let entry = || Entry::new("apps", "all", "chat", event(), at(0));
        let asked = |seconds| Failure::Transient { wait: Some(Duration::from_secs(seconds)) };
        let waits = |seconds| entry().failed(asked(seconds), Patience::default(), at(0));
        assert_eq!((waits(90).due, waits(90).state), (at(90), State::Pending));
        assert_eq!(waits(0).due, at(2));
        assert_eq!(waits(86_400).state, State::Pending, "as late as its age allows");
        assert_eq!(
            entry().failed(asked(1), Patience { max_age: Duration::from_secs(1), ..Patience::default() }, at(5)).state,
            State::Failed
        );
    }

    #[test]
    fn keys_are_stable_and_sort_by_time() {
        let entry = |event: Event, now| Entry::new("apps", "all", "chat", event, at(now)).key();
        assert_eq!(entry(event(), 1), entry(event(), 2));
        let later = Event { timestamp: event().timestamp + Duration::from_secs(1), ..event() };
        assert!(entry(later, 1) > entry(event(), 1));
        assert_ne!(entry(Event { message: "x".into(), ..event() }, 1), entry(event(), 1));
    }

    #[test]
    fn repetitions_are_dropped_unless_the_state_changed() {
        let now = event().timestamp;
        let ago = |seconds: u64| Seen { at: now - Duration::from_secs(seconds), severity: Severity::Info };
        let repeats = |same: Option<Seen>, other: Option<Seen>| {
            repeats(&event(), same.as_ref(), other.as_ref(), Duration::from_secs(300))
        };
        assert!(!repeats(None, None));
        assert!(repeats(Some(ago(299)), None));
        assert!(!repeats(Some(ago(300)), None));
        assert!(repeats(Some(ago(10)), Some(ago(20))));
        assert!(!repeats(Some(ago(20)), Some(ago(10))));
    }

    #[test]
    fn identity_is_by_words_revision_and_severity() {
        let with = |key: &str| {
            let mut event = event();
            event.metadata.insert(key.into(), "x".into());
            identity(&event)
        };
        assert_eq!(with("commit"), identity(&event()));
        for key in ["revision", "originRevision", "token"] {
            assert_ne!(with(key), identity(&event()), "{key}");
        }
        assert_ne!(identity(&Event { reason: "Other".into(), ..event() }), identity(&event()));
        assert_ne!(identity(&Event { severity: Severity::Error, ..event() }), identity(&event()));
    }
}
