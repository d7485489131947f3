//! Asking objects for a reconcile: many calls for one object at a time are one write.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api::meta::{self, ANNOUNCED, ObjectReference, REQUESTED_AT};
use futures::{StreamExt as _, stream};
use reconcile::{Store, clock};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::CONTROLLER;

/// Calls taken together at most.
const BATCH: usize = 4096;
/// Objects written at once.
const CONCURRENCY: usize = 8;
/// Tags and digests that are confirmed for one object; with more the request counts as it is, so that a flood of false
/// calls cannot hide a true one.
const MAX_ANNOUNCED: usize = 32;

/// Tags and digests that the registry is to confirm; none if the request counts as it is.
type Announced = Option<BTreeSet<String>>;

/// Somebody waits for an object to be asked.
pub(super) struct Poke {
    object: ObjectReference,
    announced: Announced,
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

    /// Asks the object for a reconcile, which it does if the registry has what is announced; the request is kept when this
    /// returns.
    pub(super) async fn poke(&self, object: ObjectReference, announced: Option<&[String]>) -> Result<(), String> {
        let (asked, answer) = oneshot::channel();
        let ends = |_| "slipway ends".to_owned();
        let announced = announced.map(|names| names.iter().cloned().collect());
        self.0.send(Poke { object, announced, asked }).await.map_err(|_| ends(()))?;
        answer.await.unwrap_or_else(|_| Err(ends(())))
    }
}

/// Calls for one object.
#[derive(Default)]
struct Calls {
    announced: Vec<Announced>,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// Writes what is handed in until nobody can hand in more.
pub(super) async fn run(store: Store, mut pokes: mpsc::Receiver<Poke>) {
    let mut batch = Vec::new();
    while pokes.recv_many(&mut batch, BATCH).await > 0 {
        let mut calls: HashMap<ObjectReference, Calls> = HashMap::new();
        for Poke { object, announced, asked } in batch.drain(..) {
            let calls = calls.entry(object).or_default();
            calls.announced.push(announced);
            calls.waiting.push(asked);
        }
        let now = clock::now().to_string();
        stream::iter(calls)
            .for_each_concurrent(CONCURRENCY, async |(object, calls)| {
                let outcome = ask(&store, &object, calls.announced, &now).await;
                for asked in calls.waiting {
                    // Whoever went away does not need to know.
                    let _ = asked.send(outcome.clone());
                }
            })
            .await;
    }
}

async fn ask(store: &Store, object: &ObjectReference, mut announced: Vec<Announced>, now: &str) -> Result<(), String> {
    let failed = |error: reconcile::Error| format!("unable to annotate {object}: {error}");
    if announced.iter().all(Option::is_some) {
        // What earlier calls announced, and nobody has looked at yet, must not be lost.
        let found = store.find(object).await.map_err(failed)?;
        announced.extend(found.as_ref().and_then(pending));
    }
    // One call that counts as it is makes up for all others.
    let names: Announced = announced.into_iter().try_fold(BTreeSet::new(), |all, some| Some(&all | &some?));
    let names = names.filter(|names| names.len() <= MAX_ANNOUNCED);
    let announced = names.map(|names| format!("{now} {}", names.into_iter().collect::<Vec<_>>().join(" ")));
    let patch = json!({"metadata": {"annotations": {REQUESTED_AT: now, ANNOUNCED: announced}}});
    store.patch(object, CONTROLLER, &patch).await.map(drop).map_err(failed)
}

/// The request that an object has not acted on yet, if there is one.
fn pending(object: &Value) -> Option<Announced> {
    let annotations: BTreeMap<String, String> =
        serde_json::from_value(object["metadata"]["annotations"].clone()).unwrap_or_default();
    let requested = annotations.get(REQUESTED_AT)?;
    if object["status"]["lastHandledReconcileAt"] == requested.as_str() {
        return None;
    }
    Some(meta::announced(&annotations).map(|names| names.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_that_nobody_acted_on_are_pending() {
        let object = |announced: Value, handled: &str| {
            json!({"metadata": {"annotations": {REQUESTED_AT: "t2", ANNOUNCED: announced}},
                "status": {"lastHandledReconcileAt": handled}})
        };
        assert_eq!(pending(&object(json!("t2 a b"), "t1")), Some(Some(BTreeSet::from(["a".into(), "b".into()]))));
        assert_eq!(pending(&object(json!("t2 a b"), "t2")), None);
        assert_eq!(pending(&object(json!("t1 a"), "t1")), Some(None), "the newer request needs no proof");
        assert_eq!(pending(&json!({"metadata": {"name": "x"}})), None);
    }
}
