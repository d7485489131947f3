//! The records that outlive the process: the outbox, what was seen, and up to when.

use jiff::Timestamp;
use reconcile::{Database, Event, Severity};

use crate::{
    Error,
    outbox::{Entry, KEPT, Seen, State},
};

/// Records of notifications, by [`Entry::key`].
pub const OUTBOX: &str = "notification.outbox";
/// [`Seen`] by identity of the event, and by object and severity.
pub(super) const SEEN: &str = "notification.seen";
/// The last error that a Provider was told of, by Provider, Alert and object.
const FIRING: &str = "notification.firing";
/// The time up to which events were looked at.
pub(super) const CURSOR: &str = "notification.cursor";

/// The records in the embedded database.
#[derive(Clone, Debug)]
pub(super) struct Records(pub(super) Database);

impl Records {
    pub(super) fn database(&self) -> &Database {
        &self.0
    }

    /// The notifications that are still to be sent.
    pub(super) async fn pending(&self) -> Result<Vec<(String, Entry)>, Error> {
        let all = self.0.scan(OUTBOX, "").await?.into_iter();
        let read = all.filter_map(|(key, value)| Some((key, serde_json::from_slice::<Entry>(&value).ok()?)));
        Ok(read.filter(|(_, entry)| entry.state == State::Pending).collect())
    }

    /// Whether the notification was put in before, sent or not.
    pub(super) async fn knows(&self, key: &str) -> Result<bool, Error> {
        Ok(self.0.read(OUTBOX, key).await?.is_some())
    }

    /// Keeps what came of a try. If the power goes this may be lost, and the notification is sent once more.
    pub(super) async fn tried(&self, key: &str, entry: &Entry) -> Result<(), Error> {
        let value = serde_json::to_vec(entry).unwrap_or_default();
        Ok(self.0.note(OUTBOX, key, &value).await?)
    }

    /// The last error of the entry's object that its Provider was told of, if it was told of no recovery since.
    pub(super) async fn firing(&self, entry: &Entry) -> Result<Option<Event>, Error> {
        let read = self.0.read(FIRING, &incident(entry)).await?;
        Ok(read.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// Remembers an error that a Provider was told of, and forgets it with the recovery.
    pub(super) async fn told(&self, entry: &Entry) -> Result<(), Error> {
        let key = incident(entry);
        match entry.event.severity {
            Severity::Error => {
                let value = serde_json::to_vec(&entry.event).unwrap_or_default();
                Ok(self.0.note(FIRING, &key, &value).await?)
            }
            _ if self.0.read(FIRING, &key).await?.is_some() => Ok(self.0.remove(FIRING, &key).await?),
            _ => Ok(()),
        }
    }

    /// When an event of this identity, or of this object and severity, was let through last.
    pub(super) async fn seen(&self, key: &str) -> Result<Option<Seen>, Error> {
        let read = self.0.read(SEEN, key).await?;
        Ok(read.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// The time up to which events were looked at; none before the first start.
    pub(super) async fn cursor(&self) -> Result<Option<Timestamp>, Error> {
        let read = self.0.read(CURSOR, "").await?;
        Ok(read.and_then(|at| String::from_utf8(at).ok()?.parse().ok()))
    }

    /// Sets the time up to which events were looked at.
    pub(super) async fn move_cursor(&self, to: Timestamp) -> Result<(), Error> {
        Ok(self.0.put(CURSOR, "", to.to_string().as_bytes()).await?)
    }

    /// Drops what is old, or of another version of ours.
    pub(super) async fn tidy(&self, now: Timestamp) -> Result<(), Error> {
        let is_recent = |at: Timestamp| now.duration_since(at) < KEPT;
        for (key, value) in self.0.scan(OUTBOX, "").await? {
            let entry = serde_json::from_slice::<Entry>(&value);
            if !entry.is_ok_and(|entry| entry.state == State::Pending || is_recent(entry.created)) {
                self.0.remove(OUTBOX, &key).await?;
            }
        }
        for (key, value) in self.0.scan(SEEN, "").await? {
            let seen = serde_json::from_slice::<Seen>(&value);
            if !seen.is_ok_and(|seen| is_recent(seen.at)) {
                self.0.remove(SEEN, &key).await?;
            }
        }
        Ok(())
    }
}

fn incident(entry: &Entry) -> String {
    format!("{}/{}/{} {}", entry.namespace, entry.provider, entry.alert, entry.event.involved_object.reference)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::batch::Batch, *};
    use crate::alert::tests::event;

    #[tokio::test]
    async fn old_records_are_dropped_and_what_is_pending_stays() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let folder = tempfile::tempdir().unwrap();
        let records = Records(Database::open(&folder.path().join("state.db")).unwrap());
        let now = event().timestamp;
        let pending = Entry::new("apps", "pending", "chat", event(), now);
        let mut batch = Batch::of(&records, true);
        for entry in [pending.clone(), Entry::new("apps", "sent", "chat", event(), now).sent(now)] {
            batch.keep(entry.key(), entry);
        }
        batch.remember(&event());
        assert!(batch.is_repetition(&event(), minutes(5)).await.unwrap(), "what is not stored yet counts");
        batch.commit().await.unwrap();
        records.tidy(now).await.unwrap();
        assert!(Batch::of(&records, true).is_repetition(&event(), minutes(5)).await.unwrap());
        assert_eq!(records.0.scan(OUTBOX, "").await.unwrap().len(), 2);
        records.tidy(now + KEPT).await.unwrap();
        assert_eq!(records.pending().await.unwrap(), [(pending.key(), pending)]);
        assert_eq!(records.0.scan(OUTBOX, "").await.unwrap().len(), 1);
        assert!(!Batch::of(&records, true).is_repetition(&event(), minutes(5)).await.unwrap());
    }
}
