//! The tags of every repository, kept in the embedded database from one scan to the next.
//!
//! Differs: Flux's default store is shared by all objects of the same image, so that two exclusion lists overwrite each
//! other; here each ImageRepository has its own.

use std::time::Duration;

use reconcile::{Database, clock};
use tokio::sync::broadcast;

use crate::Listing;

/// One record for each repository: number of tags and revision in the first line, then one tag a line, greatest first in
/// byte order. One record, so that no cut can part them.
const BUCKET: &str = "tags";
/// Keys kept for those who wait; who misses one looks again.
const BUS_CAPACITY: usize = 1024;

/// The kept tags. Clones share them.
#[derive(Clone, Debug)]
pub struct Tags {
    database: Database,
    stored: broadcast::Sender<String>,
}

/// The tags of one repository, as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored(String);

impl Stored {
    /// The tags, greatest first in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines().skip(1)
    }

    /// Number of tags and revision.
    fn head(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
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
        let head = format!("{} {revision}", listing.tags().len());
        if self.record(&key).await?.head() != head {
            let record = format!("{head}\n{}", listing.tags().join("\n"));
            self.database.put(BUCKET, &key, record.as_bytes()).await?;
        }
        // Nobody waiting is fine.
        let _ = self.stored.send(key);
        Ok(revision)
    }

    /// How many tags are kept.
    pub async fn count(&self, namespace: &str, name: &str) -> reconcile::Result<usize> {
        let stored = self.record(&key(namespace, name)).await?;
        Ok(stored.head().split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// The tags that are kept; none if the repository was never scanned.
    pub async fn read(&self, namespace: &str, name: &str) -> reconcile::Result<Stored> {
        self.record(&key(namespace, name)).await
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
        self.database.remove(BUCKET, &key(namespace, name)).await
    }

    /// The record under a key.
    async fn record(&self, key: &str) -> reconcile::Result<Stored> {
        let bytes = self.database.read(BUCKET, key).await?.unwrap_or_default();
        Ok(Stored(String::from_utf8(bytes).unwrap_or_default()))
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
