//! Batching: one commit for a release of many images. Pure.
//!
//! Differs: Flux commits for every policy as it changes. With the annotations here an automation waits until its policies
//! have kept still for a while, but not longer than it is allowed to.

use std::collections::BTreeMap;

use api::{Duration, image::ImageRef};
use jiff::Timestamp;

/// How long no policy must have changed.
pub const QUIET_PERIOD: &str = "slipway.dev/quiet-period";
/// How long the first change may wait at most.
pub const MAX_WAIT: &str = "slipway.dev/max-wait";

/// What the annotations ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    quiet_period: std::time::Duration,
    max_wait: Option<std::time::Duration>,
}

/// What waits, since when, and when it changed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    chosen: BTreeMap<String, ImageRef>,
    first: Timestamp,
    last: Timestamp,
}

impl Batching {
    /// Reads the annotations; none without a quiet period. Errs on a duration that cannot be read.
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let duration = |name: &str| {
            let text = annotations.get(name);
            let parsed = text.map(|text| text.parse::<Duration>().map_err(|error| format!("{name}: {error}")));
            parsed.transpose().map(|duration| duration.map(Duration::get))
        };
        let (quiet_period, max_wait) = (duration(QUIET_PERIOD)?, duration(MAX_WAIT)?);
        Ok(quiet_period.map(|quiet_period| Self { quiet_period, max_wait }))
    }

    /// When the commit is due.
    pub fn due(&self, waiting: &Waiting) -> Timestamp {
        let quiet = waiting.last.saturating_add(self.quiet_period).unwrap_or(Timestamp::MAX);
        let latest = self.max_wait.and_then(|wait| waiting.first.saturating_add(wait).ok());
        latest.map_or(quiet, |latest| latest.min(quiet))
    }
}

impl Waiting {
    /// What waits now, given what waited before. A policy that changed begins the quiet period anew.
    pub fn with(before: Option<&Self>, chosen: &BTreeMap<String, ImageRef>, now: Timestamp) -> Self {
        match before {
            Some(before) if before.chosen == *chosen => before.clone(),
            Some(before) => Self { chosen: chosen.clone(), first: before.first, last: now },
            None => Self { chosen: chosen.clone(), first: now, last: now },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn chosen(tag: &str) -> BTreeMap<String, ImageRef> {
        BTreeMap::from([("app".to_owned(), ImageRef { tag: tag.into(), ..ImageRef::default() })])
    }

    #[test]
    fn every_change_begins_the_quiet_period_anew_up_to_the_longest_wait() {
        let annotations = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Batching::read(&pairs.collect())
        };
        let batching = annotations(&[(QUIET_PERIOD, "30s"), (MAX_WAIT, "1m")]).unwrap().unwrap();
        let first = Waiting::with(None, &chosen("1"), at(100));
        assert_eq!(batching.due(&first), at(130));
        let same = Waiting::with(Some(&first), &chosen("1"), at(120));
        assert_eq!(batching.due(&same), at(130));
        let second = Waiting::with(Some(&same), &chosen("2"), at(125));
        assert_eq!(batching.due(&second), at(155));
        let third = Waiting::with(Some(&second), &chosen("3"), at(150));
        assert_eq!(batching.due(&third), at(160), "the first change has waited for a minute");
        assert_eq!(annotations(&[(MAX_WAIT, "1m")]), Ok(None));
        assert!(annotations(&[(QUIET_PERIOD, "soon")]).unwrap_err().starts_with("slipway.dev/quiet-period: "));
    }
}
