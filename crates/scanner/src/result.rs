//! What a scan makes of a registry's listing. Source: reference image-automation.md section 4.5.

use std::sync::LazyLock;

use api::image::DEFAULT_EXCLUSION_LIST;
use policy::Pattern;
use sha2::{Digest as _, Sha256};

use crate::Error;

/// How many tags the status shows.
const LATEST_TAGS: usize = 10;

/// Tags as they are kept: greatest first in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    tags: Vec<String>,
}

/// The compiled exclusion list.
#[derive(Clone, Debug)]
pub struct Exclusions(Vec<(String, Pattern)>);

impl Exclusions {
    /// Compiles a list.
    pub fn new(patterns: &[String]) -> Result<Self, Error> {
        // What nearly all repositories have is compiled once, not for every scan.
        static DEFAULT: LazyLock<Option<Pattern>> = LazyLock::new(|| Pattern::new(DEFAULT_EXCLUSION_LIST[0]).ok());
        let compile = |pattern: &String| {
            let known = DEFAULT.as_ref().filter(|_| *pattern == DEFAULT_EXCLUSION_LIST[0]);
            let compiled = known.map_or_else(|| Pattern::new(pattern), |known| Ok(known.clone()));
            Ok((pattern.clone(), compiled.map_err(|source| Error::Exclusion { pattern: pattern.clone(), source })?))
        };
        patterns.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// The pattern that drops a tag, because it is found in it.
    pub fn dropping(&self, tag: &str) -> Option<&str> {
        self.0.iter().find(|(_, compiled)| compiled.is_match(tag)).map(|(pattern, _)| pattern.as_str())
    }
}

impl Listing {
    /// What is kept of a registry's tags.
    pub fn new(mut tags: Vec<String>, exclusions: &Exclusions) -> Self {
        // A tag with a line break or a tab cannot exist in a registry that follows the specification, and could not be stored.
        tags.retain(|tag| !tag.is_empty() && !tag.contains(['\n', '\t', '\r']) && exclusions.dropping(tag).is_none());
        tags.sort_unstable_by(|one, other| other.cmp(one));
        Self { tags }
    }

    /// Tags that were kept before, greatest first in byte order.
    pub fn kept<'a>(tags: impl Iterator<Item = &'a str>) -> Self {
        Self { tags: tags.map(str::to_owned).collect() }
    }

    /// The tags, greatest first in byte order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The first ten: a byte order, so not the newest.
    pub fn latest(&self) -> &[String] {
        &self.tags[..self.tags.len().min(LATEST_TAGS)]
    }

    /// Checksum of the set: the same for the same tags, whatever the order or repetition they were listed in.
    ///
    /// Source: the form is that of Flux's file store, section 4.7.
    pub fn revision(&self) -> String {
        let mut hash = Sha256::new();
        let mut previous = None;
        for tag in self.tags.iter().filter(|tag| previous.replace(tag.as_str()) != Some(tag.as_str())) {
            hash.update(tag);
            hash.update("\n");
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;

    /// The lines of a case file that are of a kind.
    pub(crate) fn rows(name: &str, kind: &str) -> Vec<Value> {
        let path = format!("{}/../../tests/cases/image/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        rows.filter(|row| row["kind"] == kind).collect()
    }

    fn texts(row: &Value, key: &str) -> Vec<String> {
        row[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn listing(tags: &[&str]) -> Listing {
        Listing::new(tags.iter().map(|&tag| tag.to_owned()).collect(), &Exclusions(Vec::new()))
    }

    #[test]
    fn listings_are_kept_as_flux_keeps_them() {
        for row in rows("filters", "scan") {
            let kept = Listing::new(texts(&row, "tags"), &Exclusions::new(&texts(&row, "patterns")).expect("patterns"));
            assert_eq!(kept.tags(), texts(&row, "stored_order"), "{row}");
            assert_eq!(kept.latest(), texts(&row, "latestTags"), "{row}");
            assert_eq!(Some(kept.tags().len()), row["tagCount"].as_u64().map(|count| count as usize), "{row}");
        }
        for row in rows("filters", "latestTags") {
            let kept = Listing::new(texts(&row, "tags"), &Exclusions(Vec::new()));
            assert_eq!(kept.latest(), texts(&row, "expected"), "{row}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        let error = Exclusions::new(&["(".to_owned()]).map(drop).map_err(|error| error.to_string());
        assert_eq!(error, Err("failed to compile regex (: error parsing regexp: missing closing ): `(`".into()));
    }

    proptest::proptest! {
        #[test]
        fn the_revision_changes_exactly_with_the_set(
            one in proptest::collection::vec("[ab]{1,2}", 0..6),
            other in proptest::collection::vec("[ab]{1,2}", 0..6),
        ) {
            let set = |tags: &[String]| tags.iter().cloned().collect::<std::collections::BTreeSet<_>>();
            let revision = |tags: &[String]| listing(&tags.iter().map(String::as_str).collect::<Vec<_>>()).revision();
            proptest::prop_assert_eq!(revision(&one) == revision(&other), set(&one) == set(&other));
        }
    }
}
