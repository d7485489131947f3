//! Asking objects for a reconcile: many calls for one object at a time are one write.

use std::collections::HashMap;

use api::meta::{ObjectReference, REQUESTED_AT};
use futures::{StreamExt as _, stream};
use reconcile::{Store, clock};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::CONTROLLER;

/// Calls taken together at most.
const BATCH: usize = 4096;
/// Objects written at once.
const CONCURRENCY: usize = 8;

/// Somebody waits for an object to be asked.
pub(super) struct Poke {
    object: ObjectReference,
    asked: oneshot::Sender<Result<(), String>>,
}

/// Where calls hand their objects in.
#[derive(Clone, Debug)]
pub(super) struct Poker(mpsc::Sender<Poke>);

impl Poker {
    pub(super) fn new() -> (Self, mpsc::Receiver<Poke>) {
        let (send, receive) = mpsc::channel(BATCH);
        (Self(send), receive)
    }

    /// Asks the object for a reconcile; the request is kept when this returns.
    pub(super) async fn poke(&self, object: ObjectReference) -> Result<(), String> {
        let (asked, answer) = oneshot::channel();
        let ends = |_| "slipway ends".to_owned();
        self.0.send(Poke { object, asked }).await.map_err(|_| ends(()))?;
        answer.await.unwrap_or_else(|_| Err(ends(())))
    }
}

/// Writes what is handed in until nobody can hand in more.
pub(super) async fn run(store: Store, mut pokes: mpsc::Receiver<Poke>) {
    let mut batch = Vec::new();
    while pokes.recv_many(&mut batch, BATCH).await > 0 {
        let mut waiting: HashMap<ObjectReference, Vec<oneshot::Sender<Result<(), String>>>> = HashMap::new();
        for Poke { object, asked } in batch.drain(..) {
            waiting.entry(object).or_default().push(asked);
        }
        let now = clock::now().to_string();
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: now}}});
        stream::iter(waiting)
            .for_each_concurrent(CONCURRENCY, async |(object, waiting)| {
                let written = store.patch(&object, CONTROLLER, &patch).await;
                let outcome = written.map(drop).map_err(|error| format!("unable to annotate {object}: {error}"));
                for asked in waiting {
                    // Whoever went away does not need to know.
                    let _ = asked.send(outcome.clone());
                }
            })
            .await;
    }
}
