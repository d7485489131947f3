//! The tags of every repository, kept in the embedded database from one scan to the next.
//!
//! Differs: Flux's default store is shared by all objects of the same image, so that two exclusion lists overwrite each
//! other; here each ImageRepository has its own.

use std::collections::HashMap;

use jiff::Timestamp;
use reconcile::{Database, clock};
use tokio::{sync::watch, time::Instant};

use crate::Listing;

/// One record for each repository: in the first line number of tags, revision, image and perhaps the registry's `ETag`; then
/// one tag a line, greatest first in byte order, and behind a tab when it was first seen. One record, so that no cut can
/// part them.
const BUCKET: &str = "tags";

/// The kept tags. Clones share them.
#[derive(Clone, Debug)]
pub struct Tags {
    database: Database,
    scanned: watch::Sender<Option<Instant>>,
}

/// The tags of one repository, as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored(String);

/// Where a listing comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Canonical name of the image.
    pub image: &'a str,
    /// By which the registry tells whether the tags changed, if it does.
    pub etag: Option<&'a str>,
}

impl Stored {
    /// The tags, greatest first in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.seen().map(|(tag, _)| tag)
    }

    /// The tags and when each was first seen; those of the first listing have no time, as they may be of any age.
    pub fn seen(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        self.0.lines().skip(1).map(|line| match line.split_once('\t') {
            Some((tag, seconds)) => (tag, seconds.parse().ok().and_then(|second| Timestamp::from_second(second).ok())),
            None => (line, None),
        })
    }

    /// How many tags there are.
    pub fn count(&self) -> usize {
        self.head().split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// By which the registry tells whether the tags changed, if these are the tags of that image.
    pub fn etag(&self, image: &str) -> Option<&str> {
        let mut words = self.head().splitn(4, ' ').skip(2);
        words.next().filter(|kept| *kept == image).and_then(|_| words.next())
    }

    /// Canonical name of the image that the tags are of.
    fn image(&self) -> &str {
        self.head().split(' ').nth(2).unwrap_or_default()
    }

    fn head(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The record of a listing that takes the place of this one. Tags that are new have been seen now for the first time.
    fn replaced(&self, head: &str, listing: &Listing, image: &str, now: Timestamp) -> String {
        let known: Option<HashMap<&str, Option<Timestamp>>> = (self.image() == image).then(|| self.seen().collect());
        let mut record = head.to_owned();
        for tag in listing.tags() {
            record.push('\n');
            record.push_str(tag);
            let seen = known.as_ref().and_then(|known| known.get(tag.as_str()).copied().unwrap_or(Some(now)));
            if let Some(seen) = seen {
                record.push_str(&format!("\t{}", seen.as_second()));
            }
        }
        record
    }
}

impl Tags {
    /// The tags kept in this database.
    pub fn new(database: Database) -> Self {
        Self { database, scanned: watch::Sender::new(None) }
    }

    /// Keeps a listing in place of the one before; its revision. Nothing is written if it is the same.
    pub async fn put(
        &self,
        namespace: &str,
        name: &str,
        before: &Stored,
        listing: &Listing,
        origin: Origin<'_>,
    ) -> reconcile::Result<String> {
        let revision = listing.revision();
        let etag = origin.etag.map(|etag| format!(" {etag}")).unwrap_or_default();
        let head = format!("{} {revision} {}{etag}", listing.tags().len(), origin.image);
        if before.head() != head {
            let record = before.replaced(&head, listing, origin.image, clock::now());
            // A power cut takes the status along that was written after it, and the registry still has the tags: a push need
            // not wait for the disk.
            self.database.note(BUCKET, &key(namespace, name), record.as_bytes()).await?;
        }
        self.scanned.send_replace(Some(clock::instant()));
        Ok(revision)
    }

    /// The tags that are kept; none if the repository was never scanned.
    pub async fn read(&self, namespace: &str, name: &str) -> reconcile::Result<Stored> {
        let bytes = self.database.read(BUCKET, &key(namespace, name)).await?.unwrap_or_default();
        Ok(Stored(String::from_utf8(bytes).unwrap_or_default()))
    }

    /// When a scan ended last, of whichever repository; none since the start.
    pub fn last_scan(&self) -> Option<Instant> {
        *self.scanned.borrow()
    }

    /// Forgets the tags of a repository.
    pub async fn remove(&self, namespace: &str, name: &str) -> reconcile::Result<()> {
        self.database.remove(BUCKET, &key(namespace, name)).await
    }

    /// The repositories, as namespace and name, that tags are kept of.
    pub async fn repositories(&self) -> reconcile::Result<Vec<(String, String)>> {
        let keys = self.database.keys(BUCKET).await?;
        let parts = |key: String| key.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        Ok(keys.into_iter().filter_map(parts).collect())
    }
}

/// The key of a repository; neither part can hold a slash.
fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Exclusions;

    fn listing(tags: &[&str]) -> Listing {
        let none = Exclusions::new(&[]).expect("no patterns");
        Listing::new(tags.iter().map(|&tag| tag.to_owned()).collect(), &none)
    }

    fn origin() -> Origin<'static> {
        Origin { image: "example.com/a", etag: None }
    }

    #[tokio::test]
    async fn new_tags_are_dated_and_those_of_the_first_listing_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let tags = Tags::new(Database::open(&folder.path().join("state.db")).expect("a database"));
        let etag = Origin { etag: Some("W/\"1 2\""), ..origin() };
        tags.put("ns", "a", &Stored::default(), &listing(&["1"]), etag).await.expect("stored");
        let first = tags.read("ns", "a").await.expect("read");
        assert_eq!((first.etag("example.com/a"), first.etag("example.com/b")), (etag.etag, None));
        let before = clock::now().as_second();
        tags.put("ns", "a", &first, &listing(&["1", "2"]), origin()).await.expect("stored");
        let stored = tags.read("ns", "a").await.expect("read");
        let seen: Vec<_> =
            stored.seen().map(|(tag, seen)| (tag, seen.is_some_and(|seen| seen.as_second() >= before))).collect();
        assert_eq!((seen, stored.etag("example.com/a")), (vec![("2", true), ("1", false)], None));
        // Another image starts anew.
        let other = Origin { image: "example.com/b", etag: None };
        tags.put("ns", "a", &stored, &listing(&["3"]), other).await.expect("stored");
        let stored = tags.read("ns", "a").await.expect("read");
        assert!(stored.seen().all(|(_, seen)| seen.is_none()));
        assert_eq!(tags.repositories().await.expect("keys"), [("ns".to_owned(), "a".to_owned())]);
    }

    #[tokio::test]
    async fn tags_survive_a_restart_and_go_with_their_object() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let tags = Tags::new(Database::open(&path).expect("a database"));
        let none = Stored::default();
        let revision = tags.put("ns", "a", &none, &listing(&["1", "2"]), origin()).await.expect("stored");
        let kept = tags.read("ns", "a").await.expect("read");
        assert_eq!(tags.put("ns", "a", &kept, &listing(&["2", "1"]), origin()).await.expect("stored"), revision);
        drop(tags);
        let tags = Tags::new(Database::open(&path).expect("a database"));
        let kept = tags.read("ns", "a").await.expect("read");
        assert_eq!((kept.iter().collect::<Vec<_>>(), kept.count()), (vec!["2", "1"], 2));
        assert_eq!(tags.read("ns", "b").await.expect("read").count(), 0);
        tags.remove("ns", "a").await.expect("removed");
        assert_eq!(tags.read("ns", "a").await.expect("read"), Stored::default());
    }
}
