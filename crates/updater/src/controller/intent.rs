//! What is about to be pushed, noted before it is. A process that ends in the midst of a push, or that gets no answer to
//! one, knows its own commit again afterwards, and tells of it.
//!
//! Differs: Flux tells of such a commit never.

use git::{Commit, Id};
use reconcile::Database;

use super::Run;

/// Bucket of the notes: the last one of each automation.
const BUCKET: &str = "pushes";

/// A commit that is yet to be made: on that one, then, with these words. No two of one author are alike in it.
pub(super) fn of(parent: Id, time: jiff::Timestamp, message: &str) -> String {
    format!("{parent} {} {}", time.as_second(), message.trim())
}

/// Notes what is about to be pushed.
pub(super) async fn note(database: &Database, run: &Run<'_>, intent: &str) -> reconcile::Result<()> {
    // A branch of a group is looked after in every run, and told of by that run alone.
    match run.group {
        Some(_) => Ok(()),
        None => database.note(BUCKET, &key(run), intent.as_bytes()).await,
    }
}

/// Whether a head is the commit that was noted last.
pub(super) async fn is_noted(database: &Database, run: &Run<'_>, head: &Commit) -> bool {
    let [parent] = head.parents[..] else { return false };
    let noted = database.read(BUCKET, &key(run)).await.ok().flatten();
    noted.is_some_and(|noted| noted == of(parent, head.time, &head.message).into_bytes())
}

fn key(run: &Run<'_>) -> String {
    format!("{}/{}", run.namespace, run.automation.metadata.name.as_deref().unwrap_or_default())
}
