//! What is known without asking: versions that watches told of, and contents that came with watches, reads and our own
//! writes. Pure bookkeeping; `watch.rs` feeds it and `cached.rs` asks it.
//!
//! An object is as it is known when no watch told of a newer version and no write of ours is under way or without an
//! answer. Versions of one kind grow, so the newest of two contents is the one of the greater version.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::meta::ObjectReference;
use serde_json::Value;

use crate::object::{self, effective_namespace};

/// Largest content that is kept, in bytes; larger objects are read each time.
const LARGEST: usize = 64 << 10;

/// Namespace and name.
type Name = (Box<str>, Box<str>);

/// What is kept of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// Contents of all objects.
    Contents,
    /// Versions; contents are kept of what is asked for.
    Versions,
}

/// Which objects a watch tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All of its namespaces: what it does not tell of is not there.
    All,
    /// Those that a label selects.
    Selected,
}

/// What is known of an object.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// Not enough; the API server must be asked.
    Unknown,
    /// It is not there.
    Absent,
    /// It is there, with this content.
    Is(Value),
}

/// What is known of the objects of one kind.
#[derive(Debug)]
pub(super) struct Known {
    feed: Feed,
    reach: Reach,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the watch has listed everything and has not broken since.
    is_current: bool,
    listed: Option<HashSet<Name>>,
    objects: HashMap<Name, One>,
}

#[derive(Debug, Default)]
struct One {
    /// Newest version that the watch told of; none while it knows of no such object.
    seen: Option<u64>,
    /// Version that our last write led to, as long as the watch has not told of it.
    written: Option<u64>,
    /// Newest content: its version, and JSON.
    kept: Option<(u64, Arc<str>)>,
    /// Writes of ours under way.
    writing: u32,
    /// A write of ours ended without an answer.
    is_doubtful: bool,
}

impl Known {
    pub(super) fn new(feed: Feed, reach: Reach) -> Self {
        Self { feed, reach, state: Mutex::default() }
    }

    /// The watch lists anew.
    pub(super) fn lists(&self) {
        let mut state = self.lock();
        state.is_current = false;
        state.listed = Some(HashSet::new());
    }

    /// The list is over: what it left out is gone, unless it is newer than the list.
    pub(super) fn has_listed(&self) {
        let mut state = self.lock();
        let listed = state.listed.take().unwrap_or_default();
        state.objects.retain(|name, one| {
            if !listed.contains(name) {
                (one.seen, one.kept) = (None, None);
            }
            one.is_needed()
        });
        state.is_current = true;
    }

    /// The watch broke: it may have missed something until it tells the next thing.
    pub(super) fn broke(&self) {
        self.lock().is_current = false;
    }

    /// The watch told of an object, with its content if that travels along.
    pub(super) fn saw(&self, namespace: &str, name: &str, version: Option<&str>, content: Option<&Value>) {
        let (name, version) = (key(namespace, name), number(version).unwrap_or(u64::MAX));
        let mut state = self.lock();
        if let Some(listed) = &mut state.listed {
            listed.insert(name.clone());
        }
        let is_listing = state.listed.is_some();
        state.is_current |= !is_listing;
        let one = state.objects.entry(name).or_default();
        one.seen = Some(version);
        one.written = one.written.filter(|written| *written > version);
        let content = content.filter(|_| self.feed == Feed::Contents || one.kept.is_some());
        // A list that is older than what is kept: the cluster was restored from a backup. The same version may be of
        // another content then.
        let is_older = |kept: u64| kept > version || kept == version && content.is_some();
        if is_listing && one.kept.as_ref().is_some_and(|(kept, _)| is_older(*kept)) {
            one.kept = None;
        }
        if let Some(content) = content {
            one.keep(content);
        }
    }

    /// The watch told that an object of this version is gone.
    pub(super) fn went(&self, namespace: &str, name: &str, version: Option<&str>) {
        let (name, version) = (key(namespace, name), number(version).unwrap_or(u64::MAX));
        let mut state = self.lock();
        state.is_current |= state.listed.is_none();
        let Some(one) = state.objects.get_mut(&name) else { return };
        one.seen = None;
        one.is_doubtful = false;
        one.written = one.written.filter(|written| *written > version);
        one.kept = one.kept.take().filter(|(kept, _)| *kept > version);
        if !one.is_needed() {
            state.objects.remove(&name);
        }
    }

    /// What is known of an object.
    pub(super) fn answer(&self, id: &ObjectReference) -> Answer {
        let state = self.lock();
        if !state.is_current {
            return Answer::Unknown;
        }
        let absent = if self.reach == Reach::All { Answer::Absent } else { Answer::Unknown };
        let Some(one) = state.objects.get(&key(&id.namespace, &id.name)) else { return absent };
        if one.writing > 0 || one.is_doubtful {
            return Answer::Unknown;
        }
        let content = match (one.seen.max(one.written), &one.kept) {
            (None, None) => return absent,
            (Some(newest), Some((version, content))) if *version >= newest => content.clone(),
            _ => return Answer::Unknown,
        };
        drop(state);
        // `parse` is serde_json's own, built for speed; `from_str` would be built anew here, for size.
        content.parse().map_or(Answer::Unknown, Answer::Is)
    }

    /// Whether the newest version of an object is known, and is this one.
    pub(super) fn is_at(&self, id: &ObjectReference, version: &str) -> bool {
        let state = self.lock();
        let one = state.objects.get(&key(&id.namespace, &id.name)).filter(|_| state.is_current);
        let newest = one.filter(|one| one.writing == 0 && !one.is_doubtful).and_then(|one| {
            let told = one.seen.max(one.written)?;
            Some(one.kept.as_ref().map_or(told, |(kept, _)| told.max(*kept)))
        });
        newest.is_some() && newest == number(Some(version))
    }

    /// The API server was asked: this is how the object is.
    pub(super) fn read(&self, id: &ObjectReference, found: Option<&Value>) {
        let mut state = self.lock();
        let name = key(&id.namespace, &id.name);
        // What a selecting watch does not tell of would never be known, and so never be forgotten.
        if self.reach == Reach::Selected && !state.objects.contains_key(&name) {
            return;
        }
        let one = state.objects.entry(name.clone()).or_default();
        if one.writing > 0 {
            return;
        }
        one.is_doubtful = false;
        match found {
            Some(content) => one.keep(content),
            None => (one.written, one.kept) = (None, None),
        }
        if !one.is_needed() {
            state.objects.remove(&name);
        }
    }

    /// A write of ours begins. Until it has ended well the object counts as unknown.
    pub(super) fn begins(&self, id: &ObjectReference) {
        self.lock().objects.entry(key(&id.namespace, &id.name)).or_default().writing += 1;
    }

    /// A write of ours ended: with the object as it is now, or without an answer.
    pub(super) fn ends(&self, id: &ObjectReference, written: Option<&Value>) {
        let mut state = self.lock();
        let one = state.objects.entry(key(&id.namespace, &id.name)).or_default();
        one.writing = one.writing.saturating_sub(1);
        let Some(content) = written else {
            one.is_doubtful = true;
            return;
        };
        one.written = number(object::version(content)).filter(|version| one.seen.is_none_or(|seen| seen < *version));
        if self.feed == Feed::Contents || one.kept.is_some() {
            one.keep(content);
        }
    }

    /// A write ended of which nobody says what it led to.
    pub(super) fn doubts(&self, id: &ObjectReference) {
        self.lock().objects.entry(key(&id.namespace, &id.name)).or_default().is_doubtful = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl One {
    /// Keeps a content, unless it or a newer one is kept.
    fn keep(&mut self, content: &Value) {
        let Some(version) = number(object::version(content)) else { return };
        if self.kept.as_ref().is_some_and(|(kept, _)| *kept >= version) {
            return;
        }
        let text = api::manifest::text(content);
        self.kept = (text.len() <= LARGEST).then(|| (version, text.into()));
    }

    /// Whether something would be forgotten with it.
    const fn is_needed(&self) -> bool {
        self.seen.is_some() || self.written.is_some() || self.kept.is_some() || self.writing > 0 || self.is_doubtful
    }
}

fn key(namespace: &str, name: &str) -> Name {
    (effective_namespace("", namespace).into(), name.into())
}

/// A version as a number. Source: Kubernetes KEP-5504, "Comparable Resource Version".
fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

#[cfg(test)]
mod tests;
