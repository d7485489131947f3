//! What taking in some events leaves in the records, stored together: all of it or nothing.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use reconcile::{Event, Record, Severity};

use super::records::{CURSOR, OUTBOX, Records, SEEN};
use crate::{
    Error,
    outbox::{Entry, Seen, identity, repeats},
};

/// Records that are not stored yet, and read as if they were.
pub(super) struct Batch {
    records: Records,
    entries: BTreeMap<String, Entry>,
    seen: BTreeMap<String, Seen>,
    cursor: Option<Timestamp>,
    moves_cursor: bool,
}

impl Batch {
    /// An empty one. Where it moves the cursor, events from before those that it takes in are not read again.
    pub(super) fn of(records: &Records, moves_cursor: bool) -> Self {
        Self { records: records.clone(), entries: BTreeMap::new(), seen: BTreeMap::new(), cursor: None, moves_cursor }
    }

    /// Whether the notification was put in before, sent or not.
    pub(super) async fn knows(&self, key: &str) -> Result<bool, Error> {
        Ok(self.entries.contains_key(key) || self.records.knows(key).await?)
    }

    /// Whether the event says again what was just said.
    pub(super) async fn is_repetition(&self, event: &Event, interval: Duration) -> Result<bool, Error> {
        let same = self.seen(&identity(event)).await?;
        let opposite = if event.severity == Severity::Error { Severity::Info } else { Severity::Error };
        let other = self.seen(&object_key(event, opposite)).await?;
        Ok(repeats(event, same.as_ref(), other.as_ref(), interval))
    }

    /// Puts a notification in.
    pub(super) fn keep(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Remembers an event that was let through.
    pub(super) fn remember(&mut self, event: &Event) {
        let seen = Seen { at: event.timestamp, severity: event.severity };
        self.seen.insert(object_key(event, event.severity), seen.clone());
        self.seen.insert(identity(event), seen);
        self.cursor = Some(event.timestamp);
    }

    /// Stores everything; the notifications that were put in.
    pub(super) async fn commit(self) -> Result<BTreeMap<String, Entry>, Error> {
        let json = |bucket, key: &String, value: serde_json::Result<Vec<u8>>| {
            Record::new(bucket, key.as_str(), value.unwrap_or_default())
        };
        let entries = self.entries.iter().map(|(key, entry)| json(OUTBOX, key, serde_json::to_vec(entry)));
        let seen = self.seen.iter().map(|(key, seen)| json(SEEN, key, serde_json::to_vec(seen)));
        let cursor = self.cursor.filter(|_| self.moves_cursor).map(|at| Record::new(CURSOR, "", at.to_string()));
        self.records.database().put_all(entries.chain(seen).chain(cursor).collect()).await?;
        Ok(self.entries)
    }

    async fn seen(&self, key: &str) -> Result<Option<Seen>, Error> {
        match self.seen.get(key) {
            Some(seen) => Ok(Some(seen.clone())),
            None => self.records.seen(key).await,
        }
    }
}

fn object_key(event: &Event, severity: Severity) -> String {
    let severity = if severity == Severity::Error { "error" } else { "info" };
    format!("{} {severity}", event.involved_object.reference)
}
