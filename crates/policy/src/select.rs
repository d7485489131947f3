//! The choice among tags, and for every tag why it was not chosen.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use api::image::ImagePolicySpec;

use crate::{
    Bar, Error, Filter, Number, Order, Version,
    calver::Format,
    order::{self, Direction, Item},
    rules::CALVER,
    version::InvalidVersion,
};

/// A policy with everything in it read: what cannot be read is refused here, once.
#[derive(Clone, Debug)]
pub struct Policy {
    order: Order,
    filter: Option<Filter>,
}

/// What was chosen among the tags, and what became of the others.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// Every tag once: accepted ones first, best first; then the others, greatest first in byte order.
    pub candidates: Vec<Candidate<'a>>,
    /// Why nothing was chosen; absent if something was.
    pub error: Option<Error>,
}

/// A tag and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The tag.
    pub tag: &'a str,
    /// What is compared: the tag itself, or what the filter extracts. Absent when the pattern does not match.
    pub value: Option<Cow<'a, str>>,
    /// What became of it.
    pub verdict: Verdict<'a>,
}

/// What became of a tag. [`Policy::reason`] puts it into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It fits.
    Accepted,
    /// The repository's exclusion list drops it, with this pattern; it never reaches the policy.
    Excluded(&'a str),
    /// The filter's pattern does not match.
    PatternMismatch,
    /// Another tag extracts to the same text and stands for both.
    SameValue(&'a str),
    /// It is no version.
    NotAVersion(InvalidVersion),
    /// It is a version outside of the range.
    OutOfRange,
    /// It is no calendar version of the form that is asked for.
    NotACalendarVersion,
    /// It is no number, which fails the whole policy.
    NotANumber,
    /// It fits, and one of the policy's own rules bars it.
    Barred(Bar),
}

/// Chooses among the tags of a repository; their order does not matter, and a tag that is listed twice counts once.
pub fn select<'a>(spec: &ImagePolicySpec, tags: &[&'a str]) -> Result<Selection<'a>, Error> {
    Ok(Policy::new(spec)?.select(tags))
}

impl Selection<'_> {
    /// What was chosen.
    pub fn latest(&self) -> Option<&Candidate<'_>> {
        self.candidates.first().filter(|_| self.error.is_none())
    }

    /// How many tags were accepted.
    pub fn accepted(&self) -> usize {
        self.candidates.iter().filter(|candidate| candidate.verdict == Verdict::Accepted).count()
    }
}

impl Policy {
    /// Reads a policy.
    pub fn new(spec: &ImagePolicySpec) -> Result<Self, Error> {
        let order = Order::new(&spec.policy)?;
        let filter = spec.filter_tags.as_ref().map(Filter::new).transpose()?;
        Ok(Self { order, filter })
    }

    /// Reads a policy whose annotations may name an order in the place of the spec's.
    pub fn annotated(spec: &ImagePolicySpec, annotations: &BTreeMap<String, String>) -> Result<Self, Error> {
        let policy = Self::new(spec)?;
        match annotations.get(CALVER) {
            Some(text) => {
                let format = Format::parse(text).ok_or_else(|| Error::CalVer(text.clone()))?;
                Ok(Self { order: Order::CalVer(format), ..policy })
            }
            None => Ok(policy),
        }
    }

    /// The chosen tag alone, in one pass.
    pub fn latest<'a>(&self, tags: &[&'a str]) -> Result<&'a str, Error> {
        if let (Order::SemVer(range), None, false) = (&self.order, &self.filter, tags.is_empty()) {
            return order::highest_tag(range, tags).ok_or(Error::NoneFits);
        }
        let tags = sorted(tags);
        let tags = tags.iter().copied();
        match &self.filter {
            None => self.order.latest(tags.map(|tag| (tag, Cow::Borrowed(tag)))),
            Some(filter) => {
                let mut extract = filter.extractor();
                self.order.latest(tags.filter_map(|tag| Some((tag, extract(tag)?))))
            }
        }
    }

    /// The chosen tag, and what became of the others.
    pub fn select<'a>(&self, tags: &[&'a str]) -> Selection<'a> {
        let tags = sorted(tags);
        let mut considered = Vec::with_capacity(tags.len());
        let mut rejected = Vec::new();
        match &self.filter {
            None => considered.extend(tags.iter().map(|&tag| (tag, Cow::Borrowed(tag)))),
            Some(filter) => filtered(
                filter,
                &tags,
                |tag, value| considered.push((tag, value)),
                |tag, value, verdict| rejected.push(Candidate { tag, value, verdict }),
            ),
        }
        let winner = self.latest(&tags);
        let (mut candidates, unfit) = self.ranked(considered);
        rejected.extend(unfit);
        rejected.sort_by(|one, other| other.tag.cmp(one.tag));
        if let Ok(winner) = winner {
            // Only "not a number", which has no place in an order, can be elsewhere than in front.
            let place = candidates.iter().position(|candidate| candidate.tag == winner).unwrap_or(0);
            candidates[..=place].rotate_right(1);
        }
        candidates.append(&mut rejected);
        Selection { candidates, error: winner.err() }
    }

    /// Why a tag was not accepted, in words.
    pub fn reason(&self, candidate: &Candidate<'_>) -> Option<String> {
        let value = candidate.value.as_deref().unwrap_or_default();
        match &candidate.verdict {
            Verdict::Accepted => None,
            Verdict::Excluded(pattern) => Some(format!("matches {pattern} of the exclusion list")),
            Verdict::PatternMismatch => {
                let pattern = self.filter.as_ref().map_or("", Filter::pattern);
                Some(format!("does not match the pattern {pattern}"))
            }
            Verdict::SameValue(other) => Some(format!("extracts to the same text as {other}, which stands for both")),
            Verdict::NotAVersion(problem) => Some(problem.to_string()),
            Verdict::OutOfRange => match (&self.order, Version::tag(value)) {
                (Order::SemVer(range), Ok(version)) => Some(range.reasons(&version).join("; ")),
                _ => None,
            },
            Verdict::NotACalendarVersion => match &self.order {
                Order::CalVer(format) => Some(format!("not a version of the form {}", format.as_str())),
                _ => None,
            },
            Verdict::NotANumber => Some("not a number".to_owned()),
            Verdict::Barred(bar) => Some(bar.to_string()),
        }
    }

    /// Why an accepted candidate is not the chosen one, in words.
    pub fn defeat(&self, candidate: &Candidate<'_>, chosen: &Candidate<'_>) -> String {
        let (own, best) = (candidate.value.as_deref().unwrap_or_default(), chosen.value.as_deref().unwrap_or_default());
        let tag = chosen.tag;
        match &self.order {
            Order::SemVer(_) => {
                let versions = Version::tag(own).ok().zip(Version::tag(best).ok());
                match versions.map(|(own, best)| own.precedence(&best)) {
                    Some(Ordering::Equal) => format!("equal to {tag}, whose tag is greater in byte order"),
                    _ => format!("lower than {tag}"),
                }
            }
            Order::CalVer(format) if format.read(own) == format.read(best) => {
                format!("equal to {tag}, whose tag is greater in byte order")
            }
            Order::CalVer(_) => format!("older than {tag}"),
            Order::Alphabetical(Direction::Ascending) => format!("before {tag} in byte order"),
            Order::Alphabetical(Direction::Descending) => format!("after {tag} in byte order"),
            Order::Numerical(direction) => {
                let numbers = Number::parse(own).zip(Number::parse(best));
                match numbers.map(|(own, best)| own.compare(&best)) {
                    Some(Ordering::Equal) => format!("equal to {tag}, whose tag is less in byte order"),
                    _ if direction.better().is_gt() => format!("less than {tag}"),
                    _ => format!("greater than {tag}"),
                }
            }
        }
    }

    /// Whether what is compared for a tag ranks below another tag; never if one of them has no place in the order.
    pub fn is_worse(&self, value: &str, than: &str) -> bool {
        let other = match &self.filter {
            None => Some(Cow::Borrowed(than)),
            Some(filter) => filter.extractor()(than),
        };
        let Some(other) = other else { return false };
        let order = match &self.order {
            Order::SemVer(_) => Version::tag(value).ok().zip(Version::tag(&other).ok()).map(|(a, b)| a.precedence(&b)),
            Order::CalVer(format) => format.read(value).zip(format.read(&other)).map(|(a, b)| a.cmp(&b)),
            Order::Alphabetical(direction) => Some(ranked(*direction, value.cmp(&other)).reverse()),
            Order::Numerical(direction) => {
                let numbers = Number::parse(value).zip(Number::parse(&other));
                numbers.map(|(a, b)| ranked(*direction, a.compare(&b)).reverse())
            }
        };
        order == Some(Ordering::Less)
    }

    /// The outcome in one sentence.
    pub fn summary(&self, selection: &Selection<'_>) -> String {
        let (fit, all) = (selection.accepted(), selection.candidates.len());
        match (&selection.error, &self.order) {
            (Some(Error::Empty), _) if all > 0 => {
                let pattern = self.filter.as_ref().map_or("", Filter::pattern);
                format!("none of the {all} tags matches the pattern {pattern}")
            }
            (Some(Error::Empty), _) => "there are no tags".to_owned(),
            (Some(Error::NotANumber(value)), _) => format!("'{value}' is not a number, so that none is the greatest"),
            (Some(Error::NoneFits), Order::SemVer(range)) => {
                format!("none of the {all} tags is a version in the range {range}")
            }
            (Some(Error::NoneFits), Order::CalVer(format)) => {
                format!("none of the {all} tags is a version of the form {}", format.as_str())
            }
            (Some(error), _) => error.to_string(),
            (None, Order::SemVer(range)) if fit == 1 => format!("the only version in the range {range}"),
            (None, Order::SemVer(range)) => format!("highest of {fit} versions in the range {range}"),
            (None, Order::CalVer(format)) => format!("newest of {fit} versions of the form {}", format.as_str()),
            (None, Order::Alphabetical(Direction::Ascending)) => format!("last of {fit} in byte order"),
            (None, Order::Alphabetical(Direction::Descending)) => format!("first of {fit} in byte order"),
            (None, Order::Numerical(Direction::Ascending)) => format!("greatest of {fit} numbers"),
            (None, Order::Numerical(Direction::Descending)) => format!("least of {fit} numbers"),
        }
    }

    /// Those that fit, best first, and those that do not.
    fn ranked<'a>(&self, considered: Vec<Item<'a>>) -> (Vec<Candidate<'a>>, Vec<Candidate<'a>>) {
        let mut verdicts = vec![Verdict::Accepted; considered.len()];
        let places: Vec<usize> = match &self.order {
            Order::SemVer(range) => {
                let mut versions = Vec::with_capacity(considered.len());
                for (place, (_, value)) in considered.iter().enumerate() {
                    match Version::tag(value) {
                        Err(problem) => verdicts[place] = Verdict::NotAVersion(problem),
                        Ok(version) if range.matches(&version) => versions.push((version, place)),
                        Ok(_) => verdicts[place] = Verdict::OutOfRange,
                    }
                }
                versions.sort_unstable_by(|(one, at), (other, place)| other.precedence(one).then(at.cmp(place)));
                versions.into_iter().map(|(_, place)| place).collect()
            }
            Order::CalVer(format) => {
                let mut versions = Vec::with_capacity(considered.len());
                for (place, (_, value)) in considered.iter().enumerate() {
                    match format.read(value) {
                        Some(version) => versions.push((version, place)),
                        None => verdicts[place] = Verdict::NotACalendarVersion,
                    }
                }
                versions.sort_unstable_by(|(one, at), (other, place)| other.cmp(one).then(at.cmp(place)));
                versions.into_iter().map(|(_, place)| place).collect()
            }
            Order::Alphabetical(direction) => {
                let mut places: Vec<usize> = (0..considered.len()).collect();
                places.sort_by(|&one, &other| ranked(*direction, considered[one].1.cmp(&considered[other].1)));
                places
            }
            Order::Numerical(direction) => {
                let mut numbers = Vec::with_capacity(considered.len());
                for (place, (_, value)) in considered.iter().enumerate() {
                    match Number::parse(value) {
                        Some(number) => numbers.push((number, place)),
                        None => verdicts[place] = Verdict::NotANumber,
                    }
                }
                // Of equals the last wins, which is the least tag.
                numbers.sort_unstable_by(|(one, at), (other, place)| {
                    ranked(*direction, one.compare(other)).then(place.cmp(at))
                });
                numbers.into_iter().map(|(_, place)| place).collect()
            }
        };
        let mut candidates: Vec<_> = considered
            .into_iter()
            .zip(verdicts)
            .map(|((tag, value), verdict)| Some(Candidate { tag, value: Some(value), verdict }))
            .collect();
        let accepted = places.into_iter().filter_map(|place| candidates[place].take()).collect();
        (accepted, candidates.into_iter().flatten().collect())
    }
}

/// The order in which better ones come first.
fn ranked(direction: Direction, order: Ordering) -> Ordering {
    if direction.better().is_gt() { order.reverse() } else { order }
}

/// Tags as the scanner stores them, greatest first in byte order, each once.
fn sorted<'t, 'a>(tags: &'t [&'a str]) -> Cow<'t, [&'a str]> {
    if tags.is_sorted_by(|one, other| one > other) {
        return Cow::Borrowed(tags);
    }
    let mut sorted = tags.to_vec();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    sorted.dedup();
    Cow::Owned(sorted)
}

/// Hands over each tag that the filter lets through, in the order given, and each that it drops.
///
/// Of tags that extract to the same text the least one stands for all, as in Flux, where a later one takes the place of an
/// earlier one. Differs: the order in which the texts are compared is that of their tags, not a random one.
fn filtered<'a>(
    filter: &Filter,
    tags: &[&'a str],
    mut keep: impl FnMut(&'a str, Cow<'a, str>),
    mut reject: impl FnMut(&'a str, Option<Cow<'a, str>>, Verdict<'a>),
) {
    let mut extract = filter.extractor();
    let mut values = Vec::with_capacity(tags.len());
    for &tag in tags {
        match extract(tag) {
            Some(value) => values.push((tag, value)),
            None => reject(tag, None, Verdict::PatternMismatch),
        }
    }
    if !filter.extracts() {
        return values.into_iter().for_each(|(tag, value)| keep(tag, value));
    }
    let owners: HashMap<&str, &'a str> = values.iter().map(|(tag, value)| (value.as_ref(), *tag)).collect();
    let owners: Vec<_> = values.iter().map(|(_, value)| owners.get(value.as_ref()).copied()).collect();
    for ((tag, value), owner) in values.into_iter().zip(owners) {
        match owner {
            Some(owner) if owner != tag => reject(tag, Some(value), Verdict::SameValue(owner)),
            _ => keep(tag, value),
        }
    }
}

#[cfg(test)]
mod tests;
