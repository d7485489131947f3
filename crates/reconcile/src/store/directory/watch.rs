//! Watches over the directory store: the objects now, then every change, from this process or another.

use std::{sync::atomic::Ordering, time::Duration};

use async_stream::stream;
use futures::{StreamExt as _, stream::BoxStream};
use kube::runtime::watcher;
use notify::RecursiveMode;
use serde_json::Value;

use super::{Directory, lock_path, notices::Notices, objects};
use crate::{Object, Result, clock, controller, object};

/// How often the database is asked whether another process wrote to it, if none has knocked.
const EXTERNAL_POLL: Duration = Duration::from_secs(2);

/// Lists, then follows the bus; a watcher that falls behind lists again.
pub(super) fn watch<K: Object>(directory: Directory) -> BoxStream<'static, Result<watcher::Event<K>>> {
    let kind = object::named::<K>("", "");
    stream! {
        loop {
            let mut changes = directory.0.bus.subscribe(kind.group(), &kind.kind);
            let listed = directory.0.seen.load(Ordering::SeqCst);
            let values = match directory.list(&kind, None).await {
                Ok(values) => values,
                Err(error) => {
                    yield Err(error);
                    clock::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            yield Ok(watcher::Event::Init);
            for value in values {
                if let Some(object) = decode::<K>(&directory, &value).await {
                    yield Ok(watcher::Event::InitApply(object));
                }
            }
            yield Ok(watcher::Event::InitDone);
            while let Some(change) = changes.recv().await {
                if change.version <= listed {
                    continue;
                }
                let event = match change.deleted {
                    // Of one that did not fit nobody was told.
                    true => object::from_value(&change.object).ok().map(watcher::Event::Delete),
                    false => decode::<K>(&directory, &change.object).await.map(watcher::Event::Apply),
                };
                if let Some(event) = event {
                    yield Ok(event);
                }
            }
        }
    }
    .boxed()
}

/// The object as its type; one that does not fit gets a condition that says which field is wrong.
async fn decode<K: Object>(directory: &Directory, value: &Value) -> Option<K> {
    match object::from_value(value) {
        Ok(object) => Some(object),
        Err(error) => {
            let status = controller::invalid_status(value, &error.to_string(), clock::now());
            // The status is a change too, and each watcher sees it.
            if value.get("status") == Some(&status) {
                return None;
            }
            tracing::warn!(%error, "object does not fit its kind");
            if let Ok(id) = object::require_reference(value)
                && let Err(error) = directory.write_status(&id, &status).await
            {
                tracing::warn!(%error, "condition could not be written");
            }
            None
        }
    }
}

impl Directory {
    /// Brings changes that other processes made to the state file (`slipway reconcile`, `suspend`, …) to the watchers,
    /// until dropped.
    pub async fn follow_other_processes(&self) {
        let lock = lock_path(self.0.database.path());
        let times = (Duration::ZERO, EXTERNAL_POLL);
        let mut notices = Notices::of([lock.as_path()], RecursiveMode::NonRecursive, times);
        let mut known = None;
        loop {
            let looked = self
                .0
                .database
                .call(|connection| connection.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)));
            match looked.await {
                Ok(version) if known.replace(version) != Some(version) => self.publish_unseen().await,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "state file could not be read"),
            }
            notices.next().await;
        }
    }

    async fn publish_unseen(&self) {
        let inner = self.0.clone();
        let published = self.0.database.call(move |connection| {
            inner.publish(objects::changes_after(connection, inner.seen.load(Ordering::SeqCst))?);
            Ok(())
        });
        if let Err(error) = published.await {
            tracing::warn!(%error, "changes of another process could not be read");
        }
    }
}
