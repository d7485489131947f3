//! The embedded transactional database (SQLite): objects of the directory store, events, and the stages' own records.
//!
//! Every call is one transaction; a process killed at any instant leaves the last whole one.

mod disk;
mod queue;
mod schema;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use self::{disk::Disk, queue::Queue};
use crate::{Error, Fault, Result, Site, effect};

/// How long another process that writes is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// So many bytes of records are written on the caller's thread.
const SMALL: usize = 16 * 1024;
/// Small writes between two checkpoints. SQLite makes one by itself once its log has 1,000 pages, but within the commit that
/// finds it so, which waits for the disk.
const CHECKPOINT: u64 = 64;

/// One SQLite file. Clones share the connection.
#[derive(Clone)]
pub struct Database {
    connection: Arc<Mutex<Connection>>,
    queue: Arc<Queue>,
    disk: Arc<Disk>,
    /// Small writes so far.
    small: Arc<AtomicU64>,
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
        Ok(Self { connection, queue: Arc::default(), disk, small: Arc::default(), path: path.to_owned() })
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
            let ticket = self.write(move |transaction| insert(transaction, &records).map(|()| disk.written())).await?;
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
        let bytes: usize = records.iter().map(|record| record.value.len()).sum();
        self.store(records, async |records| match bytes <= SMALL {
            true => self.write_small(move |transaction| insert(transaction, &records)).await,
            false => self.write(move |transaction| insert(transaction, &records)).await,
        })
        .await
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
        if let Some(mut connection) = self.unhindered() {
            return f(&mut connection).map_err(|source| failure(&self.path, source));
        }
        self.call(f).await
    }

    /// Runs a transaction that writes, in its turn.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(move |connection| f(begin(connection)?)).await
    }

    /// Runs a transaction that writes a few rows: at once on this thread where nobody is in the way, here or in another
    /// process, else in its turn. So no other thread has to be woken, and this one afterwards. The disk is waited for only where
    /// large writes have just filled the log.
    pub(crate) async fn write_small<T: Send + 'static>(
        &self,
        f: impl FnOnce(Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let failed = |source| failure(&self.path, source);
        if let Some(connection) = self.unhindered()
            && let Some(transaction) = begin_unless_busy(&connection).map_err(failed)?
        {
            let outcome = f(transaction).map_err(failed);
            if self.small.fetch_add(1, Ordering::Relaxed) % CHECKPOINT == CHECKPOINT - 1 {
                self.checkpoint();
            }
            return outcome;
        }
        self.write(f).await
    }

    /// Works the log into the file, off the async threads; what is read and written meanwhile waits in the queue.
    fn checkpoint(&self) {
        let this = self.clone();
        self.queue.start(move || {
            let done = this.call_now(|connection| connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)"));
            if let Err(error) = done {
                tracing::warn!(%error, "the state file's log was not worked in; the next one tries again");
            }
        });
    }

    /// The connection, if nobody uses it and nobody waits for it.
    fn unhindered(&self) -> Option<MutexGuard<'_, Connection>> {
        if !self.queue.is_idle() {
            return None;
        }
        self.connection.try_lock().ok()
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
    connection.busy_timeout(BUSY)?;
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

/// Begins to write; waits for another process that does.
fn begin(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

/// Begins to write, unless another process does.
fn begin_unless_busy(connection: &Connection) -> rusqlite::Result<Option<Transaction<'_>>> {
    connection.busy_timeout(Duration::ZERO)?;
    let begun = begin(connection);
    connection.busy_timeout(BUSY)?;
    match begun {
        Ok(transaction) => Ok(Some(transaction)),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends a transaction by storing all of the records.
fn insert(transaction: Transaction<'_>, records: &[Record]) -> rusqlite::Result<()> {
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

    #[tokio::test]
    async fn a_small_write_does_not_hold_its_thread_up_while_another_process_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let database = Database::open(&path).unwrap();
        let other = connect(&path).unwrap();
        let writing = begin(&other).unwrap();
        // One thread runs both: the write gives it back.
        let mut write = Box::pin(database.note("tags", "a/1", b"ours"));
        assert!(futures::poll!(&mut write).is_pending());
        let theirs = "INSERT INTO records (bucket, key, value) VALUES ('tags', 'a/2', x'00')";
        writing.execute_batch(theirs).unwrap();
        writing.commit().unwrap();
        write.await.unwrap();
        assert_eq!(database.scan("tags", "a/").await.unwrap().len(), 2);
        // Where nobody is in the way it is done at once: not even a thread that has just found nothing left to do.
        while !database.queue.is_idle() {
            tokio::task::yield_now().await;
        }
        assert!(futures::poll!(Box::pin(database.note("tags", "a/3", b""))).is_ready());
    }

    #[tokio::test]
    async fn small_writes_leave_a_small_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let database = Database::open(&path).unwrap();
        // What SQLite does by itself is not looked at here.
        database.call_now(|connection| connection.pragma_update(None, "wal_autocheckpoint", 0)).unwrap();
        for number in 0..CHECKPOINT * 8 {
            database.note("tags", "a", &[0; 3000]).await.unwrap();
            if number % CHECKPOINT == 0 {
                database.call(|_| Ok(())).await.unwrap();
            }
        }
        let log = std::fs::metadata(folder.path().join("state.db-wal")).unwrap().len();
        assert!(log < CHECKPOINT * 3 * 4096, "{log} bytes");
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
