//! Waits until the disk holds what was written, apart from the thread that writes.
//!
//! SQLite appends each transaction to its write-ahead log, and its checkpoints wait for the disk by themselves. So a
//! transaction survives a power cut once the log was synchronized after it, by whomever.
//! Source: <https://sqlite.org/wal.html>, "Performance Considerations".

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::queue::Queue;

/// The write-ahead log of a database file, and how much of it the disk holds.
pub(super) struct Disk {
    log: PathBuf,
    /// Transactions that are in the log.
    written: AtomicU64,
    /// Transactions that the disk holds for certain.
    held: AtomicU64,
    queue: Arc<Queue>,
}

impl Disk {
    pub fn of(database: &Path) -> Self {
        let log = PathBuf::from(format!("{}-wal", database.display()));
        Self { log, written: AtomicU64::new(0), held: AtomicU64::new(0), queue: Arc::default() }
    }

    /// Counts a transaction that was committed just now; its number, from 1.
    pub fn written(&self) -> u64 {
        self.written.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Waits until the disk holds the transaction of this number. Who waits at the same time shares one round. `None` if
    /// the runtime ends before.
    pub async fn holds(self: &Arc<Self>, number: u64) -> Option<io::Result<()>> {
        let this = Arc::clone(self);
        match self.queue.run(move || this.synchronize(number)).await? {
            Ok(outcome) => Some(outcome),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn synchronize(&self, number: u64) -> io::Result<()> {
        let (held, written) = (self.held.load(Ordering::SeqCst), self.written.load(Ordering::SeqCst));
        if held >= number {
            return Ok(());
        }
        match File::open(&self.log) {
            Ok(log) => log.sync_data()?,
            // Where a file system allows no such log, SQLite itself waits for the disk with each transaction.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if let (0, Some(folder)) = (held, self.log.parent()) {
            // The log's own name is not yet on the disk either.
            File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
        }
        self.held.store(written, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_round_serves_everybody_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state.db-wal"), "log").unwrap();
        let disk = Arc::new(Disk::of(&folder.path().join("state.db")));
        let numbers = [disk.written(), disk.written()];
        disk.holds(numbers[0]).await.unwrap().unwrap();
        assert_eq!(disk.held.load(Ordering::SeqCst), numbers[1]);
        disk.holds(numbers[1]).await.unwrap().unwrap();
        let next = disk.written();
        disk.holds(next).await.unwrap().unwrap();
        assert_eq!(disk.held.load(Ordering::SeqCst), next);
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::of(&folder.path().join("no folder/state.db")));
        assert!(disk.holds(disk.written()).await.unwrap().is_err());
    }
}
