//! What is to be sent: a queue for each Provider, in which nothing overtakes the first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::outbox::{Entry, State};

/// Providers that are talked to at once.
const CONCURRENCY: usize = 8;

/// Namespace and name of a Provider or an Alert.
pub(super) type Name = (String, String);

/// The pending notifications of each Provider by their keys, which sort by time.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<Name, BTreeMap<String, Entry>>,
    /// Providers that are being talked to: one message at a time, in order.
    busy: BTreeSet<Name>,
}

impl Queues {
    /// Puts a notification in; one that is there already stays as it is.
    pub(super) fn add(&mut self, key: String, entry: Entry) {
        self.queues.entry(provider(&entry)).or_default().entry(key).or_insert(entry);
    }

    /// Whether the notification waits.
    pub(super) fn holds(&self, key: &str, entry: &Entry) -> bool {
        self.queues.get(&provider(entry)).is_some_and(|queue| queue.contains_key(key))
    }

    /// What is due, one of each Provider that is not talked to; from now on it is.
    pub(super) fn start(&mut self, now: Timestamp) -> Vec<(String, Entry)> {
        let room = CONCURRENCY - self.busy.len();
        let due = self.idle().filter(|(_, _, entry)| entry.due <= now).take(room);
        let started: Vec<_> =
            due.map(|(provider, key, entry)| (provider.clone(), key.clone(), entry.clone())).collect();
        let talked_to = |(provider, key, entry)| {
            self.busy.insert(provider);
            (key, entry)
        };
        started.into_iter().map(talked_to).collect()
    }

    /// Takes a notification back after a try: to wait for the next one, or to be gone.
    pub(super) fn end(&mut self, key: String, entry: Entry) {
        let provider = provider(&entry);
        self.busy.remove(&provider);
        let Some(queue) = self.queues.get_mut(&provider) else { return };
        match entry.state {
            State::Pending => queue.insert(key, entry),
            State::Sent | State::Failed => queue.remove(&key),
        };
        if queue.is_empty() {
            self.queues.remove(&provider);
        }
    }

    /// When something is due next. Where all hands are busy nothing is before one of them is free.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if self.busy.len() >= CONCURRENCY {
            return None;
        }
        self.idle().map(|(_, _, entry)| entry.due).min()
    }

    /// How many notifications of each Alert wait.
    pub(super) fn waiting(&self) -> BTreeMap<Name, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.queues.values().flat_map(BTreeMap::values) {
            *counts.entry((entry.namespace.clone(), entry.alert.clone())).or_default() += 1;
        }
        counts
    }

    /// The first notification of each Provider that is not talked to.
    fn idle(&self) -> impl Iterator<Item = (&Name, &String, &Entry)> {
        let idle = self.queues.iter().filter(|(provider, _)| !self.busy.contains(*provider));
        idle.filter_map(|(provider, queue)| queue.first_key_value().map(|(key, entry)| (provider, key, entry)))
    }
}

fn provider(entry: &Entry) -> Name {
    (entry.namespace.clone(), entry.provider.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::tests::event,
        outbox::{Failure, Patience},
    };

    fn entry(provider: &str, second: i64) -> (String, Entry) {
        let at = Timestamp::from_second(second).unwrap();
        let event = reconcile::Event { timestamp: at, ..event() };
        let entry = Entry::new("apps", "all", provider, event, at);
        (entry.key(), entry)
    }

    #[test]
    fn each_provider_is_told_in_order_and_one_thing_at_a_time() {
        let mut queues = Queues::default();
        for (key, entry) in [entry("chat", 2), entry("chat", 1), entry("pager", 3)] {
            queues.add(key, entry);
        }
        let now = Timestamp::from_second(10).unwrap();
        let started = queues.start(now);
        assert_eq!(started, [entry("chat", 1), entry("pager", 3)]);
        assert_eq!((queues.start(now), queues.next_due()), (Vec::new(), None));
        assert_eq!(queues.waiting(), BTreeMap::from([(("apps".into(), "all".into()), 3)]));

        let (key, first) = started[0].clone();
        queues.end(key.clone(), first.failed(Failure::Transient { wait: None }, Patience::default(), now));
        assert_eq!(queues.start(now), [], "the second does not overtake the first");
        let due = queues.next_due().unwrap();
        let [(again, first)] = &queues.start(due)[..] else { panic!("the first is tried again") };
        assert_eq!(again, &key);
        queues.end(key, first.clone().sent(due));
        assert_eq!(queues.start(due), [entry("chat", 2)]);
    }

    #[test]
    fn a_few_providers_are_talked_to_at_once() {
        let mut queues = Queues::default();
        for number in 0..=CONCURRENCY {
            let (key, entry) = entry(&number.to_string(), 1);
            queues.add(key, entry);
        }
        let now = Timestamp::from_second(10).unwrap();
        let started = queues.start(now);
        assert_eq!((started.len(), queues.next_due()), (CONCURRENCY, None));
        let (key, first) = started[0].clone();
        queues.end(key.clone(), first.clone().sent(now));
        assert!(!queues.holds(&key, &first));
        assert_eq!(queues.start(now).len(), 1);
    }
}
