//! The order that decides: `spec.policy` with its range or direction read.

use std::cmp::Ordering;

use api::image::{OrderPolicy, PolicyChoice};

use crate::{Error, Number, Range, Version};

/// The order that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The highest version in the range.
    SemVer(Range),
    /// First or last in byte order.
    Alphabetical(Direction),
    /// Least or greatest number.
    Numerical(Direction),
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

    /// The position of the winner among texts in input order.
    pub(crate) fn latest<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Result<usize, Error> {
        let texts = texts.enumerate();
        let winner = match self {
            Self::SemVer(range) => highest(range, texts)?,
            Self::Alphabetical(direction) => texts
                .reduce(|best, next| match direction.is_better(next.1.cmp(best.1)) {
                    true => next,
                    false => best,
                })
                .map(|(index, _)| index),
            Self::Numerical(direction) => direction.number(texts)?,
        };
        winner.ok_or(Error::Empty)
    }
}

/// The highest version in the range; the first of equals.
fn highest<'a>(range: &Range, texts: impl Iterator<Item = (usize, &'a str)>) -> Result<Option<usize>, Error> {
    let mut is_empty = true;
    let mut best: Option<(usize, Version<'a>)> = None;
    for (index, text) in texts {
        is_empty = false;
        let Ok(version) = Version::tag(text) else { continue };
        // The comparison is cheap and usually settles it; the range need not be asked then.
        let higher = best.is_none_or(|(_, best)| version.precedence(&best).is_gt());
        if higher && range.matches(&version) {
            best = Some((index, version));
        }
    }
    match best {
        None if !is_empty => Err(Error::NoneFits),
        best => Ok(best.map(|(index, _)| index)),
    }
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

    /// Whether something that compares so with the best so far is better.
    fn is_better(self, order: Ordering) -> bool {
        order == self.better()
    }

    /// How a better text compares with a worse one.
    pub(crate) fn better(self) -> Ordering {
        match self {
            Self::Ascending => Ordering::Greater,
            Self::Descending => Ordering::Less,
        }
    }

    /// The last of the best numbers, as Flux has it. One text that is no number fails them all.
    fn number<'a>(self, texts: impl Iterator<Item = (usize, &'a str)>) -> Result<Option<usize>, Error> {
        let mut best: Option<(usize, Number)> = None;
        for (index, text) in texts {
            let number = Number::parse(text).ok_or_else(|| Error::NotANumber(text.to_owned()))?;
            // Nothing is worse than, or worse compared with, "not a number": each takes the other's place.
            let worse = best.as_ref().is_some_and(|(_, best)| {
                !number.is_nan() && !best.is_nan() && number.compare(best) == self.better().reverse()
            });
            if !worse {
                best = Some((index, number));
            }
        }
        Ok(best.map(|(index, _)| index))
    }
}
