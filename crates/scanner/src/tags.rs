//! The tags of every repository, kept in the embedded database from one scan to the next.
//!
//! Differs: Flux's default store is shared by all objects of the same image, so that two exclusion lists overwrite each
//! other; here each ImageRepository has its own.

use std::time::Duration;

use reconcile::{Database, clock};
use tokio::sync::broadcast;

use crate::Listing;

/// One tag a line, greatest first in byte order.
const TAGS: &str = "tags";
/// Number of tags and revision: the small record that tells whether the large one need be read or written.
const REVISIONS: &str = "tag-revisions";
/// Keys kept for those who wait; who misses one looks again.
const BUS_CAPACITY: usize = 1024;

/// The kept tags. Clones share them.
#[derive(Clone, Debug)]
pub struct Tags {
    database: Database,
    stored: broadcast::Sender<String>,
}

/// The tags of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored(String);

impl Stored {
    /// The tags, greatest first in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }
}

impl Tags {
    /// The tags kept in this database.
    pub fn new(database: Database) -> Self {
        Self { database, stored: broadcast::channel(BUS_CAPACITY).0 }
    }

    /// Keeps a listing in place of the one before; its revision. Nothing is written if it is the same.
    pub async fn put(&self, namespace: &str, name: &str, listing: &Listing) -> reconcile::Result<String> {
        let key = key(namespace, name);
        let revision = listing.revision();
        let record = format!("{} {revision}", listing.tags().len());
        if self.database.read(REVISIONS, &key).await?.as_deref() != Some(record.as_bytes()) {
            // Tags first: cut between the two writes, the next scan finds the old revision and writes both again.
            self.database.put(TAGS, &key, listing.tags().join("\n").as_bytes()).await?;
            self.database.put(REVISIONS, &key, record.as_bytes()).await?;
        }
        // Nobody waiting is fine.
        let _ = self.stored.send(key);
        Ok(revision)
    }

    /// How many tags are kept.
    pub async fn count(&self, namespace: &str, name: &str) -> reconcile::Result<usize> {
        let record = self.database.read(REVISIONS, &key(namespace, name)).await?.unwrap_or_default();
        let count = String::from_utf8_lossy(&record).split(' ').next().and_then(|count| count.parse().ok());
        Ok(count.unwrap_or(0))
    }

    /// The tags that are kept; none if the repository was never scanned.
    pub async fn read(&self, namespace: &str, name: &str) -> reconcile::Result<Stored> {
        let bytes = self.database.read(TAGS, &key(namespace, name)).await?.unwrap_or_default();
        Ok(Stored(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Waits until a scan of the repository ends, at most this long.
    pub async fn wait(&self, namespace: &str, name: &str, limit: Duration) -> reconcile::Result<()> {
        let mut stored = self.stored.subscribe();
        if self.count(namespace, name).await? > 0 {
            return Ok(());
        }
        let key = key(namespace, name);
        let arrival = async {
            loop {
                match stored.recv().await {
                    Ok(stored) if stored != key => {}
                    // Having missed some, this one may be among them.
                    _ => return,
                }
            }
        };
        tokio::select! {
            () = arrival => {}
            () = clock::sleep(limit) => {}
        }
        Ok(())
    }

    /// Forgets the tags of a repository.
    pub async fn remove(&self, namespace: &str, name: &str) -> reconcile::Result<()> {
        let key = key(namespace, name);
        self.database.remove(REVISIONS, &key).await?;
        self.database.remove(TAGS, &key).await
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

    #[tokio::test]
    async fn tags_survive_a_restart_and_go_with_their_object() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let tags = Tags::new(Database::open(&path).expect("a database"));
        let revision = tags.put("ns", "a", &listing(&["1", "2"])).await.expect("stored");
        assert_eq!(tags.put("ns", "a", &listing(&["2", "1"])).await.expect("stored"), revision);
        drop(tags);
        let tags = Tags::new(Database::open(&path).expect("a database"));
        assert_eq!(tags.read("ns", "a").await.expect("read").iter().collect::<Vec<_>>(), ["2", "1"]);
        assert_eq!((tags.count("ns", "a").await.expect("read"), tags.count("ns", "b").await.expect("read")), (2, 0));
        tags.remove("ns", "a").await.expect("removed");
        assert_eq!(tags.read("ns", "a").await.expect("read"), Stored::default());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_scan() {
        let folder = tempfile::tempdir().expect("a folder");
        let tags = Tags::new(Database::open(&folder.path().join("state.db")).expect("a database"));
        let waiting = tags.wait("ns", "a", Duration::from_secs(600));
        let one = listing(&["1"]);
        let (waited, _) = tokio::join!(waiting, tags.put("ns", "a", &one));
        waited.expect("waited");
        assert_eq!(tags.count("ns", "a").await.expect("read"), 1);
    }
}
