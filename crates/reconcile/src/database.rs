//! The embedded transactional database (SQLite): objects of the directory store, events, and the stages' own records.
//!
//! Every call is one transaction; a process killed at any instant leaves the last whole one.

mod disk;
mod queue;
mod schema;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, params};

use self::{disk::Disk, queue::Queue};
use crate::{Error, Fault, Result, Site, effect};

/// One SQLite file. Clones share the connection.
#[derive(Clone)]
pub struct Database {
    connection: Arc<Mutex<Connection>>,
    queue: Arc<Queue>,
    disk: Arc<Disk>,
    path: PathBuf,
}

/// A record of a stage that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    bucket: &'static str,
    key: String,
    value: Vec<u8>,
}

impl Record {
    /// A record in a stage's bucket; it takes the place of one with the same key.
    pub fn new(bucket: &'static str, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { bucket, key: key.into(), value: value.into() }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it holds.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Stores it, within a transaction.
    pub(crate) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT INTO records (bucket, key, value) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET value = excluded.value";
        connection.prepare_cached(sql)?.execute(params![self.bucket, self.key, self.value]).map(drop)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.path.display())
    }
}

impl Database {
    /// Opens the file, creating it if it is not there. A file that is damaged is put aside as `<name>.damaged` and a new
    /// one begun: what matters can be read again from Git, the registry and the manifests.
    pub fn open(path: &Path) -> Result<Self> {
        let own = || {
            let mut connection = connect(path)?;
            schema::prepare(&mut connection).map(|()| connection)
        };
        let connection = match own() {
            Err(error) if is_damage(&error) => {
                tracing::warn!(path = %path.display(), %error, "state file is damaged; it is put aside and rebuilt");
                set_aside(path)?;
                own()
            }
            outcome => outcome,
        };
        Self::over(connection.map_err(|source| failure(path, source))?, path)
    }

    /// Looks into a file that another process may work with: it is neither put aside nor brought up to date.
    pub fn attach(path: &Path) -> Result<Self> {
        Self::over(connect(path).map_err(|source| failure(path, source))?, path)
    }

    fn over(connection: Connection, path: &Path) -> Result<Self> {
        if let Some(problem) = schema::mismatch(&connection).map_err(|source| failure(path, source))? {
            return Err(Error::Schema { path: path.display().to_string(), problem });
        }
        let (connection, disk) = (Arc::new(Mutex::new(connection)), Arc::new(Disk::of(path)));
        Ok(Self { connection, queue: Arc::default(), disk, path: path.to_owned() })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores a record of a stage, durable when it returns even if the power goes.
    pub async fn put(&self, bucket: &'static str, key: &str, value: &[u8]) -> Result<()> {
        self.put_all(vec![Record::new(bucket, key, value)]).await
    }

    /// Stores all of the records or, on an error, none; durable when it returns even if the power goes.
    ///
    /// The disk is waited for outside the queue: what others read and write meanwhile does not wait with it.
    pub async fn put_all(&self, records: Vec<Record>) -> Result<()> {
        self.store(records, async |records| {
            let disk = Arc::clone(&self.disk);
            let ticket = self.call(move |connection| insert(connection, &records).map(|()| disk.written())).await?;
            match self.disk.holds(ticket).await {
                Some(outcome) => {
                    outcome.map_err(|source| Error::File { path: self.path.display().to_string(), source })
                }
                None => Err(ended()),
            }
        })
        .await
    }

    /// Stores a record of a stage that may be lost if the power goes, not if the process ends.
    pub async fn note(&self, bucket: &'static str, key: &str, value: &[u8]) -> Result<()> {
        self.note_all(vec![Record::new(bucket, key, value)]).await
    }

    /// Stores all of the records or none; they may be lost if the power goes, not if the process ends.
    pub async fn note_all(&self, records: Vec<Record>) -> Result<()> {
        self.store(records, async |records| self.call(move |connection| insert(connection, &records)).await).await
    }

    async fn store(&self, records: Vec<Record>, how: impl AsyncFnOnce(Vec<Record>) -> Result<()>) -> Result<()> {
        let Some(first) = records.first() else { return Ok(()) };
        let key = first.key.clone();
        effect(Site::Put, &key, how(records)).await
    }

    /// The record, if it is there.
    pub async fn read(&self, bucket: &'static str, key: &str) -> Result<Option<Vec<u8>>> {
        let key = key.to_owned();
        self.look(move |connection| {
            let mut select = connection.prepare_cached("SELECT value FROM records WHERE bucket = ?1 AND key = ?2")?;
            select.query_row(params![bucket, key], |row| row.get(0)).optional()
        })
        .await
    }

    /// Takes the record away; one that is not there is no error.
    pub async fn remove(&self, bucket: &'static str, key: &str) -> Result<()> {
        self.delete("DELETE FROM records WHERE bucket = ?1 AND key = ?2", bucket, key).await
    }

    /// Takes away the records of a bucket whose keys begin with the prefix.
    pub async fn remove_all(&self, bucket: &'static str, prefix: &str) -> Result<()> {
        let sql = "DELETE FROM records WHERE bucket = ?1 AND key >= ?2 AND key < ?2 || char(1114111)";
        self.delete(sql, bucket, prefix).await
    }

    async fn delete(&self, sql: &'static str, bucket: &'static str, key: &str) -> Result<()> {
        let rows = key.to_owned();
        effect(Site::Put, key, async {
            self.call(move |connection| connection.prepare_cached(sql)?.execute(params![bucket, rows]).map(drop)).await
        })
        .await
    }

    /// The records of a bucket whose keys begin with the prefix, in byte order of the keys.
    pub async fn scan(&self, bucket: &'static str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = prefix.to_owned();
        self.call(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT key, value FROM records WHERE bucket = ?1 AND key >= ?2 AND key < ?2 || char(1114111) ORDER BY key",
            )?;
            let rows = select.query_map(params![bucket, prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
        .await
    }

    /// The last of the records whose keys begin with the prefix, in byte order of the keys.
    pub async fn last(&self, bucket: &'static str, prefix: &str) -> Result<Option<(String, Vec<u8>)>> {
        let prefix = prefix.to_owned();
        self.look(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT key, value FROM records WHERE bucket = ?1 AND key >= ?2 AND key < ?2 || char(1114111) \
                 ORDER BY key DESC LIMIT 1",
            )?;
            select.query_row(params![bucket, prefix], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .await
    }

    /// The keys of a bucket, in byte order.
    pub async fn keys(&self, bucket: &'static str) -> Result<Vec<String>> {
        self.call(move |connection| {
            let mut select = connection.prepare_cached("SELECT key FROM records WHERE bucket = ?1 ORDER BY key")?;
            let rows = select.query_map(params![bucket], |row| row.get(0))?;
            rows.collect()
        })
        .await
    }

    /// Runs statements off the async threads, in the order of the calls.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        match self.queue.run(move || this.call_now(f)).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(ended()),
        }
    }

    /// Runs statements that only take microseconds: at once on this thread where nobody is in the way, else in their turn.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.queue.is_idle()
            && let Ok(mut connection) = self.connection.try_lock()
        {
            return f(&mut connection).map_err(|source| failure(&self.path, source));
        }
        self.call(f).await
    }

    /// Runs statements on this thread.
    pub(crate) fn call_now<T>(&self, f: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        // A panic while the lock was held cannot have left a transaction open: dropping it rolls back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut connection).map_err(|source| failure(&self.path, source))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A killed process loses nothing at NORMAL; for records that must survive a power cut the disk is waited for.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    // Without it SQLite parses a query for a range anew whenever its bounds change.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let healthy: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if healthy != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(healthy)));
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

/// One transaction that stores all of the records.
fn insert(connection: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    records.iter().try_for_each(|record| record.store(&transaction))?;
    transaction.commit()
}

/// Renames the file and its companions so that a new one can be begun and the old one looked at.
fn set_aside(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{suffix}", path.display()));
        let to = PathBuf::from(format!("{}.damaged{suffix}", path.display()));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::File { path: from.display().to_string(), source: error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The runtime is shutting down: nobody waits for the answer.
fn ended() -> Error {
    Error::Fault(Fault { site: Site::Put, key: "shutdown".into() })
}

fn failure(path: &Path, source: rusqlite::Error) -> Error {
    Error::Database { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_come_back_in_order_and_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let database = Database::open(&path).unwrap();
        for key in ["a/2", "a/1", "b/1"] {
            database.put("tags", key, key.as_bytes()).await.unwrap();
        }
        database.put("tags", "a/1", b"new").await.unwrap();
        drop(database);
        let database = Database::open(&path).unwrap();
        let found = database.scan("tags", "a/").await.unwrap();
        assert_eq!(found, [("a/1".into(), b"new".to_vec()), ("a/2".into(), b"a/2".to_vec())]);
        assert_eq!(database.keys("tags").await.unwrap(), ["a/1", "a/2", "b/1"]);
        database.remove("tags", "a/1").await.unwrap();
        assert_eq!(database.read("tags", "a/1").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_damaged_file_is_put_aside_and_rebuilt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::fs::write(&path, b"this is no database, whatever its name says").unwrap();
        let database = Database::open(&path).unwrap();
        database.put("tags", "k", b"v").await.unwrap();
        assert!(folder.path().join("state.db.damaged").exists());
        assert!(Database::attach(&path).is_ok());
    }

    #[test]
    fn who_only_looks_leaves_the_file_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        for content in [&b""[..], b"this is no database, whatever its name says"] {
            std::fs::write(&path, content).unwrap();
            assert!(Database::attach(&path).is_err());
            assert!(path.exists() && !folder.path().join("state.db.damaged").exists());
        }
    }
}
