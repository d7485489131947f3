//! The order that decides: `spec.policy` with its range or direction read.

use std::{borrow::Cow, cmp::Ordering};

use api::image::{OrderPolicy, PolicyChoice};

use crate::{Error, Number, Range, Version, calver::Format};

/// The order that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The highest version in the range.
    SemVer(Range),
    /// First or last in byte order.
    Alphabetical(Direction),
    /// Least or greatest number.
    Numerical(Direction),
    /// The newest calendar version of a form.
    CalVer(Format),
}

/// Which end of an order wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The greatest.
    #[default]
    Ascending,
    /// The least.
    Descending,
}

impl Order {
    /// Reads the choice of a policy; the first of semver, alphabetical, numerical counts.
    pub fn new(choice: &PolicyChoice) -> Result<Self, Error> {
        if let Some(semver) = &choice.semver {
            return Ok(Self::SemVer(Range::parse(&semver.range)?));
        }
        if let Some(alphabetical) = &choice.alphabetical {
            return Direction::new(alphabetical).map(Self::Alphabetical);
        }
        let numerical = choice.numerical.as_ref().ok_or(Error::NoOrder)?;
        Direction::new(numerical).map(Self::Numerical)
    }

    /// The winner among tags with what is compared for them, greatest tag first. One pass that keeps nothing but the best.
    pub(crate) fn latest<'a>(&self, items: impl Iterator<Item = Item<'a>>) -> Result<&'a str, Error> {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return Err(Error::Empty);
        }
        let winner = match self {
            Self::SemVer(range) => highest(range, items),
            Self::Alphabetical(direction) => direction.text(items),
            Self::Numerical(direction) => direction.number(items)?,
            Self::CalVer(format) => newest(format, items),
        };
        winner.ok_or(Error::NoneFits)
    }
}

/// A tag, and what is compared for it.
pub(crate) type Item<'a> = (&'a str, Cow<'a, str>);

/// The highest version in the range; the first of equals.
fn highest<'a>(range: &Range, items: impl Iterator<Item = Item<'a>>) -> Option<&'a str> {
    let fields = |version: &Version<'_>| (version.major, version.minor, version.patch);
    let mut best: Option<Item<'a>> = None;
    let mut best_fields = (0, 0, 0);
    for (tag, text) in items {
        let Ok(version) = Version::tag(&text) else { continue };
        let order = match &best {
            None => Ordering::Greater,
            Some((_, best)) => fields(&version).cmp(&best_fields).then_with(|| {
                // The same text: the lesser tag stands for both, as in Flux, where it overwrites the greater.
                let equal = if text == *best { Ordering::Equal } else { Ordering::Less };
                Version::tag(best).map_or(equal, |best| version.precedence(&best).then(equal))
            }),
        };
        // The comparison is cheap and usually settles it; the range need not be asked then.
        if order.is_eq() {
            best = Some((tag, text));
        } else if order.is_gt() && range.matches(&version) {
            best_fields = fields(&version);
            best = Some((tag, text));
        }
    }
    best.map(|(tag, _)| tag)
}

/// The highest version in the range among tags in whatever order, which need not be sorted for it; the greatest of equals.
pub(crate) fn highest_tag<'a>(range: &Range, tags: &[&'a str]) -> Option<&'a str> {
    let mut best: Option<(Version<'a>, &'a str)> = None;
    for &tag in tags {
        let Ok(version) = Version::tag(tag) else { continue };
        let is_better = best.is_none_or(|(best, other)| version.precedence(&best).then_with(|| tag.cmp(other)).is_gt());
        // The comparison is cheap and usually settles it; the range need not be asked then.
        if is_better && range.matches(&version) {
            best = Some((version, tag));
        }
    }
    best.map(|(_, tag)| tag)
}

/// The newest calendar version; the first of equals.
fn newest<'a>(format: &Format, items: impl Iterator<Item = Item<'a>>) -> Option<&'a str> {
    let versions = items.filter_map(|(tag, text)| Some((tag, format.read(&text)?)));
    versions.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(tag, _)| tag)
}

impl Direction {
    /// Reads the direction of a policy.
    fn new(policy: &OrderPolicy) -> Result<Self, Error> {
        match &policy.order {
            api::image::Order::Asc => Ok(Self::Ascending),
            api::image::Order::Desc => Ok(Self::Descending),
            api::image::Order::Unknown(order) => Err(Error::Order(order.to_uppercase())),
        }
    }

    /// How a better text compares with a worse one.
    pub(crate) fn better(self) -> Ordering {
        match self {
            Self::Ascending => Ordering::Greater,
            Self::Descending => Ordering::Less,
        }
    }

    /// The best in byte order; of equal texts the lesser tag.
    fn text<'a>(self, items: impl Iterator<Item = Item<'a>>) -> Option<&'a str> {
        let worse = self.better().reverse();
        items.reduce(|best, next| if next.1.cmp(&best.1) == worse { best } else { next }).map(|(tag, _)| tag)
    }

    /// The last of the best numbers, as Flux has it. One text that is no number fails them all.
    fn number<'a>(self, items: impl Iterator<Item = Item<'a>>) -> Result<Option<&'a str>, Error> {
        let mut best: Option<(&str, Number)> = None;
        for (tag, text) in items {
            let number = Number::parse(&text).ok_or_else(|| Error::NotANumber(text.into_owned()))?;
            // Nothing is worse than, or worse compared with, "not a number": each takes the other's place.
            let worse = best.as_ref().is_some_and(|(_, best)| {
                !number.is_nan() && !best.is_nan() && number.compare(best) == self.better().reverse()
            });
            if !worse {
                best = Some((tag, number));
            }
        }
        Ok(best.map(|(tag, _)| tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_need_not_be_sorted_to_find_the_highest(
            tags in prop::collection::vec("v?[01]\\.[01]\\.[01](-[0a](\\.[01])?)?(\\+[ab])?|x", 0..12),
            range in prop::sample::select(vec!["*", ">=0-0", "1.x", "0.1.x-0 || 1.0.0"]),
        ) {
            let range = Range::parse(range).expect("a range");
            let mut sorted = tags.clone();
            sorted.sort_unstable();
            let sorted = sorted.iter().rev().map(|tag| (tag.as_str(), Cow::Borrowed(tag.as_str())));
            let tags: Vec<_> = tags.iter().map(String::as_str).collect();
            prop_assert_eq!(highest_tag(&range, &tags), highest(&range, sorted));
        }
    }
}
