//! The store of one machine: YAML folders that belong to the user, and one database for everything we write.

mod bus;
mod events;
mod files;
mod notices;
mod objects;
mod perform;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use api::meta::ObjectReference;
use futures::stream::BoxStream;
use kube::runtime::watcher;
use rusqlite::{Connection, Transaction};
use serde_json::Value;

use bus::{Bus, Change};
pub use files::Folders;
use objects::Row;

use crate::{
    Database, Error, Event, Object, Result,
    store::{EventFilter, Verb},
};

/// How often the lock is tried, 20 ms apart: a process that ends, or one that it just started, may hold it a moment longer.
const LOCK_TRIES: u32 = 50;
/// So many verbs are done on the caller's thread.
const SMALL: usize = 16;

#[derive(Debug)]
struct Inner {
    database: Database,
    bus: Bus,
    /// Version of the last change that went over the bus.
    seen: AtomicI64,
    folders: Mutex<Folders>,
    /// Held as long as the store lives; its lock is the leader election of one machine.
    lock: Option<File>,
}

/// The store of one machine. Clones share it.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Inner>);

impl Directory {
    /// Opens the store over a state file and folders (or single files) of manifests, and reads them.
    /// Errs if another process holds the state file.
    pub async fn open(state: &Path, manifests: Vec<PathBuf>) -> Result<Self> {
        let path = state.to_owned();
        let locked = tokio::task::spawn_blocking(move || lock(&path)).await;
        let lock = locked.unwrap_or_else(|_| Err(Error::Locked { path: state.display().to_string() }))?;
        let directory = Self::assemble(Database::open(state)?, manifests, Some(lock))?;
        directory.rescan().await?;
        Ok(directory)
    }

    /// Looks into the state file of a process that may be running: reads and small writes, no manifests, no lock.
    pub fn attach(state: &Path) -> Result<Self> {
        if !state.is_file() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such state file");
            return Err(Error::File { path: state.display().to_string(), source });
        }
        Self::assemble(Database::attach(state)?, Vec::new(), None)
    }

    fn assemble(database: Database, manifests: Vec<PathBuf>, lock: Option<File>) -> Result<Self> {
        let seen = database.call_now(|connection| objects::latest_version(connection))?;
        let folders = Mutex::new(Folders::new(manifests));
        Ok(Self(Arc::new(Inner { database, bus: Bus::default(), seen: AtomicI64::new(seen), folders, lock })))
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(crate) async fn find(&self, id: &ObjectReference) -> Result<Option<Value>> {
        let key = Row::of(id);
        self.0.database.look(move |connection| objects::read(connection, &key)).await
    }

    pub(crate) async fn is_at(&self, id: &ObjectReference, version: &str) -> Result<bool> {
        let key = Row::of(id);
        let found = self.0.database.look(move |connection| objects::version(connection, &key)).await?;
        Ok(found.is_some_and(|found| version.parse() == Ok(found)))
    }

    pub(crate) async fn find_all(&self, ids: &[ObjectReference]) -> Result<Vec<Value>> {
        let keys: Vec<Row> = ids.iter().map(Row::of).collect();
        let read = move |connection: &mut Connection| {
            // One moment for all of them, whatever another process writes meanwhile.
            let moment = connection.transaction()?;
            keys.iter().filter_map(|key| objects::read(&moment, key).transpose()).collect()
        };
        self.0.database.look(read).await
    }

    pub(crate) async fn list(&self, kind: &ObjectReference, namespace: Option<&str>) -> Result<Vec<Value>> {
        let (group, kind) = (kind.group().to_owned(), kind.kind.clone());
        let namespace = namespace.map(str::to_owned);
        let listed = move |connection: &mut _| objects::list(connection, &group, &kind, namespace.as_deref());
        self.0.database.call(listed).await
    }

    pub(crate) async fn dry_run(&self, manager: &str, id: &ObjectReference, object: &Value) -> Result<Value> {
        let (key, manager, object) = (Row::of(id), manager.to_owned(), object.clone());
        self.0.database.call(move |connection| objects::preview(connection, &key, &manager, object)).await
    }

    /// Performs writes in one transaction: all, or none. The objects as they are stored.
    pub(crate) async fn perform(&self, manager: &str, verbs: Vec<Verb>) -> Result<Vec<Arc<Value>>> {
        let is_small = verbs.len() <= SMALL && verbs.iter().all(concerns_one);
        let manager = manager.to_owned();
        let write = Arc::clone(&self.0).transaction(move |writes| {
            let mut stored = Vec::new();
            for verb in verbs {
                match perform::perform(writes, &manager, verb)? {
                    Ok(object) => stored.extend(object),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            Ok(Ok(stored))
        });
        self.written(match is_small {
            true => self.0.database.write_small(write).await,
            false => self.0.database.write(write).await,
        })
    }

    /// Performs a write that leads to an object: as it is stored.
    pub(crate) async fn changed(&self, manager: &str, verb: Verb) -> Result<Value> {
        Ok(self.perform(manager, vec![verb]).await?.pop().map(Arc::unwrap_or_clone).unwrap_or_default())
    }

    pub(crate) async fn write_status(&self, id: &ObjectReference, merge: &Value) -> Result<Value> {
        self.changed("", Verb::Status(id.clone(), merge.clone())).await
    }

    pub(crate) async fn delete(&self, id: &ObjectReference) -> Result<bool> {
        let key = Row::of(id);
        self.write(move |transaction| objects::delete(transaction, &key)).await
    }

    pub(crate) async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        let filter = filter.clone();
        self.0.database.call(move |connection| events::list(connection, &filter)).await
    }

    pub(crate) fn watch<K: Object>(&self) -> BoxStream<'static, Result<watcher::Event<K>>> {
        watch::watch(self.clone())
    }

    /// One transaction; what it changed goes over the bus in the order of the versions.
    async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut objects::Writes<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let write = Arc::clone(&self.0).transaction(move |writes| f(writes).map(Ok));
        self.written(self.0.database.write(write).await)
    }

    /// Lets the process that runs the controllers know, where that is another one.
    fn written<T>(&self, outcome: Result<Result<T>>) -> Result<T> {
        let written = outcome??;
        if self.0.lock.is_none() {
            knock(self.0.database.path());
        }
        Ok(written)
    }
}

impl Inner {
    /// What is done within the transaction and at its end; where the outcome is a refusal nothing is written.
    fn transaction<T>(
        self: Arc<Self>,
        f: impl FnOnce(&mut objects::Writes<'_>) -> rusqlite::Result<Result<T>>,
    ) -> impl FnOnce(Transaction<'_>) -> rusqlite::Result<Result<T>> {
        move |transaction| {
            // What another process wrote since the last look: it comes before ours, and would be passed over behind it.
            let seen = self.seen.load(Ordering::SeqCst);
            let latest = objects::latest_version(&transaction)?;
            let unseen = match latest > seen {
                true => objects::changes_after(&transaction, seen)?,
                false => Vec::new(),
            };
            let mut writes = objects::Writes::new(&transaction, latest);
            let outcome = f(&mut writes)?;
            let changes = writes.into_changes();
            if outcome.is_err() {
                return Ok(outcome);
            }
            transaction.commit()?;
            // Still under the connection's lock, so that no later change overtakes.
            self.publish(unseen);
            self.publish(changes);
            Ok(outcome)
        }
    }

    /// Sends changes over the bus, in the order of their versions.
    fn publish(&self, changes: Vec<Change>) {
        for change in changes {
            self.seen.fetch_max(change.version, Ordering::SeqCst);
            self.bus.send(change);
        }
    }
}

/// Whether the verb touches what it names alone. What ends an object may take others with it, which have to be looked for.
const fn concerns_one(verb: &Verb) -> bool {
    match verb {
        Verb::Apply(_) | Verb::Status(..) | Verb::Record(_) | Verb::Note(_) => true,
        Verb::Patch(..) | Verb::Delete(_) => false,
    }
}

/// The file beside the state file that whoever runs the controllers holds locked.
fn lock_path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Lets the process that holds the lock know that another one wrote; it watches for the lock file being closed by a writer.
fn knock(state: &Path) {
    // Without it the write is noticed too, only later.
    let _ = File::options().write(true).open(lock_path(state));
}

/// Takes the lock beside the state file, which the system gives back however the process ends.
fn lock(state: &Path) -> Result<File> {
    let failed = |source| Error::File { path: state.display().to_string(), source };
    if let Some(parent) = state.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    private(state).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(lock_path(state)).map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => wait_for_lock(),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(Error::Locked { path: state.display().to_string() })
}

/// A real wait, whatever the virtual time: another process is waited for.
#[allow(clippy::disallowed_methods, reason = "the lock is another process's; virtual time does not move it")]
fn wait_for_lock() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

/// The state holds the Secrets of the manifests: only its owner may read it.
fn private(state: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = File::options().create(true).append(true).mode(0o600).open(state)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}
