//! The choice among tags, and for every tag why it was not chosen.

use std::{borrow::Cow, collections::HashMap};

use api::image::ImagePolicySpec;

use crate::{Error, Filter, Number, Order, Version, order::Direction, version::InvalidVersion};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It fits.
    Accepted,
    /// The filter's pattern does not match.
    PatternMismatch,
    /// Another tag extracts to the same text and stands for both.
    SameValue(&'a str),
    /// It is no version.
    NotAVersion(InvalidVersion),
    /// It is a version outside of the range.
    OutOfRange,
    /// It is no number, which fails the whole policy.
    NotANumber,
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

    /// The chosen tag alone, in one pass.
    pub fn latest<'a>(&self, tags: &[&'a str]) -> Result<&'a str, Error> {
        let tags = sorted(tags);
        let Some(filter) = &self.filter else {
            return self.order.latest(tags.iter().copied()).map(|index| tags[index]);
        };
        let mut considered = Vec::with_capacity(tags.len());
        filtered(filter, &tags, |tag, value| considered.push((tag, value)), |_, _, _| {});
        let values = considered.iter().map(|(_, value)| value.as_ref());
        self.order.latest(values).map(|index| considered[index].0)
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
        let winner = self.order.latest(considered.iter().map(|(_, value)| value.as_ref()));
        let winner = winner.map(|index| considered[index].0);
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
        match candidate.verdict {
            Verdict::Accepted => None,
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
            Verdict::NotANumber => Some("not a number".to_owned()),
        }
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
            (Some(_), Order::SemVer(range)) => format!("none of the {all} tags is a version in the range {range}"),
            (Some(error), _) => error.to_string(),
            (None, Order::SemVer(range)) => format!("highest of {fit} versions in the range {range}"),
            (None, Order::Alphabetical(Direction::Ascending)) => format!("last of {fit} in byte order"),
            (None, Order::Alphabetical(Direction::Descending)) => format!("first of {fit} in byte order"),
            (None, Order::Numerical(Direction::Ascending)) => format!("greatest of {fit} numbers"),
            (None, Order::Numerical(Direction::Descending)) => format!("least of {fit} numbers"),
        }
    }

    /// Those that fit, best first, and those that do not.
    fn ranked<'a>(&self, considered: Vec<(&'a str, Cow<'a, str>)>) -> (Vec<Candidate<'a>>, Vec<Candidate<'a>>) {
        let mut verdicts = Vec::with_capacity(considered.len());
        let mut places: Vec<usize> = (0..considered.len()).collect();
        match &self.order {
            Order::SemVer(range) => {
                let versions: Vec<_> = considered.iter().map(|(_, value)| Version::tag(value)).collect();
                verdicts.extend(versions.iter().map(|version| match version {
                    Err(problem) => Verdict::NotAVersion(*problem),
                    Ok(version) if range.matches(version) => Verdict::Accepted,
                    Ok(_) => Verdict::OutOfRange,
                }));
                let key = |place: usize| versions[place].unwrap_or_default();
                places.sort_by(|&one, &other| key(other).precedence(&key(one)));
            }
            Order::Alphabetical(direction) => {
                verdicts.resize(considered.len(), Verdict::Accepted);
                places.sort_by(|&one, &other| ranked(*direction, considered[one].1.cmp(&considered[other].1)));
            }
            Order::Numerical(direction) => {
                let numbers: Vec<_> = considered.iter().map(|(_, value)| Number::parse(value)).collect();
                verdicts.extend(numbers.iter().map(|number| match number {
                    Some(_) => Verdict::Accepted,
                    None => Verdict::NotANumber,
                }));
                // Of equals the last wins, which is the least tag.
                places.sort_by(|&one, &other| {
                    let order =
                        numbers[one].as_ref().zip(numbers[other].as_ref()).map(|(one, other)| one.compare(other));
                    ranked(*direction, order.unwrap_or_else(|| numbers[one].is_some().cmp(&numbers[other].is_some())))
                        .then(other.cmp(&one))
                });
            }
        }
        let candidate = |&place: &usize| {
            let (tag, value) = &considered[place];
            Candidate { tag, value: Some(value.clone()), verdict: verdicts[place] }
        };
        places.iter().map(candidate).partition(|candidate| candidate.verdict == Verdict::Accepted)
    }
}

/// The order in which better ones come first.
fn ranked(direction: Direction, order: std::cmp::Ordering) -> std::cmp::Ordering {
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
    let mut owners = HashMap::with_capacity(values.len());
    owners.extend(values.iter().map(|(tag, value)| (value.clone(), *tag)));
    for (tag, value) in values {
        match owners.get(&value) {
            Some(&owner) if owner != tag => reject(tag, Some(value), Verdict::SameValue(owner)),
            _ => keep(tag, value),
        }
    }
}

#[cfg(test)]
mod tests;
