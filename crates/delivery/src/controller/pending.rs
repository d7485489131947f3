//! What a run is about to change, noted before it does: a process that ends before it could tell of a change tells of it
//! in the next run over the same revision.
//!
//! Differs: Flux tells only of what the run itself found to change.

use std::collections::{BTreeMap, BTreeSet};

use api::meta::ObjectReference;
use reconcile::Database;

use crate::apply::{Action, Change};

/// Bucket of the notes, by the Kustomization.
const BUCKET: &str = "changes";

/// The changes that nobody has been told of yet, by object.
pub(super) struct Pending {
    database: Database,
    key: String,
    revision: String,
    changes: BTreeMap<String, Action>,
}

impl Pending {
    /// What an earlier run over the revision has left untold.
    pub(super) async fn read(database: &Database, kustomization: &ObjectReference, revision: &str) -> Self {
        let key = format!("{}/{}", kustomization.namespace, kustomization.name);
        let noted = database.read(BUCKET, &key).await.ok().flatten().unwrap_or_default();
        let changes = changes(&String::from_utf8_lossy(&noted), revision);
        Self { database: database.clone(), key, revision: revision.to_owned(), changes }
    }

    /// Notes what is about to happen to objects.
    pub(super) async fn note(
        &mut self,
        planned: impl Iterator<Item = (&ObjectReference, Action)>,
    ) -> reconcile::Result<()> {
        let before = self.changes.len();
        for (object, action) in planned {
            self.changes.entry(object.to_string()).or_insert(action);
        }
        if self.changes.len() == before { Ok(()) } else { self.keep().await }
    }

    /// The objects that an earlier run was about to delete.
    pub(super) fn deletions(&self) -> BTreeSet<String> {
        let deleted = self.changes.iter().filter(|(_, action)| **action == Action::Deleted);
        deleted.map(|(object, _)| object.clone()).collect()
    }

    /// Puts what an earlier run did among what this one did.
    pub(super) fn complete(&self, changes: &mut [Change]) {
        for change in changes.iter_mut().filter(|change| change.action == Action::Unchanged) {
            let noted = self.changes.get(&change.object.to_string());
            change.action = noted.copied().filter(|action| *action != Action::Deleted).unwrap_or(change.action);
        }
    }

    /// What was created and configured has been told.
    pub(super) async fn applied_is_told(&mut self) {
        self.forget(|action| action != Action::Deleted).await;
    }

    /// Everything has been told.
    pub(super) async fn all_is_told(mut self) {
        self.forget(|_| true).await;
    }

    async fn forget(&mut self, is_told: impl Fn(Action) -> bool) {
        let before = self.changes.len();
        self.changes.retain(|_, action| !is_told(*action));
        if self.changes.len() == before {
            return;
        }
        let outcome = match self.changes.is_empty() {
            true => self.database.remove(BUCKET, &self.key).await,
            false => self.keep().await,
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "changes that were told are told once more");
        }
    }

    async fn keep(&self) -> reconcile::Result<()> {
        self.database.note(BUCKET, &self.key, text(&self.revision, &self.changes).as_bytes()).await
    }
}

/// The revision, then a line for each object, as events have them.
fn text(revision: &str, changes: &BTreeMap<String, Action>) -> String {
    let lines = changes.iter().map(|(object, action)| format!("\n{object} {}", action.as_str()));
    lines.fold(revision.to_owned(), |text, line| text + &line)
}

fn changes(text: &str, revision: &str) -> BTreeMap<String, Action> {
    let mut lines = text.lines();
    if lines.next() != Some(revision) {
        return BTreeMap::new();
    }
    let change = |line: &str| {
        let (object, word) = line.rsplit_once(' ')?;
        let action =
            [Action::Created, Action::Configured, Action::Deleted].into_iter().find(|one| one.as_str() == word);
        Some((object.to_owned(), action?))
    };
    lines.filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_written_and_only_for_its_revision() {
        let noted = [("ConfigMap/apps/a", Action::Created), ("Service/apps/b c", Action::Deleted)];
        let noted: BTreeMap<String, Action> =
            noted.into_iter().map(|(object, action)| (object.into(), action)).collect();
        let written = text("main@sha1:1", &noted);
        assert_eq!(changes(&written, "main@sha1:1"), noted);
        assert_eq!(changes(&written, "main@sha1:2"), BTreeMap::new());
        assert_eq!(changes("", ""), BTreeMap::new());
        assert_eq!(changes("r\nnonsense\nConfigMap/a/b unchanged", "r"), BTreeMap::new());
    }

    #[tokio::test]
    async fn what_was_told_is_noted_no_more_and_the_rest_is() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let object = |kind: &str, name: &str| ObjectReference {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: "apps".into(),
            name: name.into(),
        };
        let [owner, kept, gone] = [object("Kustomization", "k"), object("ConfigMap", "kept"), object("Secret", "gone")];
        let mut pending = Pending::read(&database, &owner, "1").await;
        pending.note([(&kept, Action::Configured), (&gone, Action::Deleted)].into_iter()).await.unwrap();
        let mut changes = [Change { object: kept, action: Action::Unchanged }];
        Pending::read(&database, &owner, "1").await.complete(&mut changes);
        assert_eq!(changes[0].action, Action::Configured);

        // A prune that fails is tried again, without telling of the rest each time.
        pending.applied_is_told().await;
        let next = Pending::read(&database, &owner, "1").await;
        changes[0].action = Action::Unchanged;
        next.complete(&mut changes);
        assert_eq!((changes[0].action, next.deletions()), (Action::Unchanged, BTreeSet::from([gone.to_string()])));
        next.all_is_told().await;
        assert_eq!(database.read(BUCKET, "apps/k").await.unwrap(), None);
    }
}
