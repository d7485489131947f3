//! What the blobs of the repositories hold, so that a file is read once and then only when one of its values is behind.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use git::Id;

use crate::setters::{Places, Policies, Warning};

/// Blobs remembered; beyond it the memory begins anew.
const BLOBS: usize = 200_000;
/// Markers remembered, at about 250 bytes each; beyond it the memory begins anew.
const MARKERS: usize = 40_000;

/// The memory. What a blob holds never changes, whatever its name is and whichever repository it is in.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    blobs: HashMap<Id, Option<Box<Places>>>,
    markers: usize,
}

impl Memory {
    /// What there is to say of each blob, under the name that goes with it; none for those that have to be read.
    pub(super) fn settled<'a>(
        &self,
        blobs: impl IntoIterator<Item = (Id, &'a str)>,
        policies: &Policies,
    ) -> Vec<Option<Vec<Warning>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = |(id, name)| match known.blobs.get(&id)? {
            None => Some(Vec::new()),
            Some(places) => places.settled(name, policies),
        };
        blobs.into_iter().map(settled).collect()
    }

    /// Remembers what a blob holds.
    pub(super) fn keep(&self, blob: Id, places: Places) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // So many of one file are not worth it.
        if known.blobs.contains_key(&blob) || places.len() > MARKERS {
            return;
        }
        if known.blobs.len() >= BLOBS || known.markers + places.len() > MARKERS {
            *known = Known::default();
        }
        known.markers += places.len();
        known.blobs.insert(blob, (!places.is_empty()).then(|| Box::new(places)));
    }
}

#[cfg(test)]
mod tests {
    use api::image::ImageRef;

    use super::*;
    use crate::setters::edit;

    fn id(number: u8) -> Id {
        format!("{number:040x}").parse().unwrap()
    }

    fn policies(tag: &str) -> Policies {
        Policies::new([("ns:p".to_owned(), ImageRef { name: "a.io/i".into(), tag: tag.into(), ..Default::default() })])
    }

    fn places(text: &str) -> Places {
        edit("f.yaml", text.as_bytes(), &policies("1")).places
    }

    #[test]
    fn a_blob_is_read_again_only_when_it_is_behind() {
        let memory = Memory::default();
        memory.keep(id(1), places("a: 1 # {\"$imagepolicy\": \"ns:p:tag\"}\n"));
        memory.keep(id(2), Places::default());
        memory.keep(id(3), places("b: 1\na: 1 # {\"$imagepolicy\": \"ns:q:tag\"}\n"));
        let told = |tag| {
            let settled = memory.settled([(id(1), "x"), (id(2), "x"), (id(3), "y.yaml"), (id(4), "x")], &policies(tag));
            settled.into_iter().map(|one| one.map(|warnings| warnings.iter().map(ToString::to_string).collect()))
        };
        let unknown = "y.yaml:2: marker is ignored: no policy \"ns:q\" with an image is known".to_owned();
        let expected: [Option<Vec<String>>; 4] = [Some(vec![]), Some(vec![]), Some(vec![unknown]), None];
        assert!(told("1").eq(expected.clone()));
        let [_, unmarked, ignored, new] = expected;
        assert!(told("2").eq([None, unmarked, ignored, new]));
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = Memory::default();
        let text: String =
            (0..MARKERS / 2).map(|n| format!("a{n}: 1 # {{\"$imagepolicy\": \"ns:p:tag\"}}\n")).collect();
        let half = places(&text);
        for (number, kept) in [(1, vec![1]), (2, vec![1, 2]), (2, vec![1, 2]), (3, vec![3])] {
            memory.keep(id(number), half.clone());
            let held = (1..4).filter(|one| memory.settled([(id(*one), "x")], &policies("1"))[0].is_some());
            assert_eq!(held.collect::<Vec<_>>(), kept);
        }
    }
}
