//! Who is told of a change: the watches of its kind, and nobody else. To wake all watches with every write cost more than
//! the write.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::sync::mpsc;

/// Changes kept for a slow watch; who falls behind lists again.
const CAPACITY: usize = 1024;

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) group: String,
    pub(super) version: i64,
    pub(super) deleted: bool,
    pub(super) object: Arc<Value>,
}

/// API group and kind.
type Kind = (String, String);

/// The watches, by what they watch.
#[derive(Debug, Default)]
pub(super) struct Bus(Mutex<HashMap<Kind, Vec<mpsc::Sender<Arc<Change>>>>>);

impl Bus {
    /// The changes of a kind from now on, in the order in which they are sent. It ends where somebody fell behind.
    pub(super) fn subscribe(&self, group: &str, kind: &str) -> mpsc::Receiver<Arc<Change>> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watches = watches.entry((group.to_owned(), kind.to_owned())).or_default();
        // Those that went while nothing of the kind changed.
        watches.retain(|watch| !watch.is_closed());
        watches.push(sender);
        receiver
    }

    /// Tells of a change.
    pub(super) fn send(&self, change: Change) {
        let kind = change.object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watches) = watches.get_mut(&(change.group.clone(), kind)) {
            let change = Arc::new(change);
            // One that is gone or full is let go; it notices once it has taken what it was sent.
            watches.retain(|watch| watch.try_send(Arc::clone(&change)).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(kind: &str, version: i64) -> Change {
        Change { group: "apps".into(), version, deleted: false, object: Arc::new(json!({ "kind": kind })) }
    }

    #[test]
    fn a_watch_is_told_of_its_kind_in_order() {
        let bus = Bus::default();
        let [mut one, mut two] = ["One", "Two"].map(|kind| bus.subscribe("apps", kind));
        let mut other = bus.subscribe("", "One");
        for (kind, version) in [("One", 1), ("Two", 2), ("One", 3)] {
            bus.send(change(kind, version));
        }
        assert_eq!([one.try_recv(), one.try_recv()].map(|change| change.unwrap().version), [1, 3]);
        assert_eq!(two.try_recv().unwrap().version, 2);
        assert!(other.try_recv().is_err(), "the same name in another group is another kind");
    }

    #[test]
    fn watches_that_went_are_not_kept_where_nothing_changes() {
        let bus = Bus::default();
        for _ in 0..100 {
            drop(bus.subscribe("apps", "One"));
        }
        let _open = bus.subscribe("apps", "One");
        assert_eq!(bus.0.lock().unwrap().values().map(Vec::len).sum::<usize>(), 1);
    }

    #[test]
    fn who_falls_behind_is_told_so_after_what_was_kept() {
        let bus = Bus::default();
        let mut slow = bus.subscribe("apps", "One");
        for version in 0..=CAPACITY {
            bus.send(change("One", version as i64));
        }
        let mut kept = 0;
        while slow.blocking_recv().is_some() {
            kept += 1;
        }
        assert_eq!(kept, CAPACITY);
    }
}
