//! Word from the file system that something was written.

use std::{path::Path, time::Duration};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::clock;

/// Notices of writes. Many that come together are one.
pub(super) struct Notices {
    written: mpsc::Receiver<()>,
    /// A burst of writes may go on this long before it is told of.
    settle: Duration,
    /// Without notices, how long until one is given all the same: some file systems report nothing.
    at_latest: Duration,
    /// Kept, as it stops watching when dropped.
    _watcher: Option<RecommendedWatcher>,
}

impl Notices {
    /// Watches files, or folders with what is below them or not.
    pub fn of<'a>(
        paths: impl IntoIterator<Item = &'a Path>,
        mode: RecursiveMode,
        (settle, at_latest): (Duration, Duration),
    ) -> Self {
        let (sender, written) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_write(event.kind)) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            paths.into_iter().try_for_each(|path| watcher.watch(path, mode))?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, every = ?at_latest, "changes of files are not told of; they are looked at again and again");
        }
        Self { written, settle, at_latest, _watcher: watcher.ok() }
    }

    /// Waits for the next notice, or until it is time to look without one.
    pub async fn next(&mut self) {
        tokio::select! {
            Some(()) = self.written.recv() => clock::sleep(self.settle).await,
            () = clock::sleep(self.at_latest) => {}
        }
        while self.written.try_recv().is_ok() {}
    }
}

/// Whether something was written. Our own reading opens the folders, which is told of too and must not lead to reading.
fn is_write(kind: EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    !kind.is_access() || matches!(kind, EventKind::Access(AccessKind::Close(AccessMode::Write)))
}
