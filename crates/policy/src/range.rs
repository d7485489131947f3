//! Version ranges in the language of Masterminds/semver, as `spec.policy.semver.range` has them.
//!
//! Groups of terms are joined by `||`; all terms of a group must hold. Source: reference image-automation.md sections 5.2
//! to 5.4. The grammar is in `range/parse.rs`, the meaning of each operator here.

mod parse;

use std::{cmp::Ordering, fmt};

pub use parse::InvalidRange;

use crate::Version;

/// A range of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    groups: Vec<Group>,
}

/// Terms that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    terms: Vec<Term>,
    /// Whether one of the terms names a pre-release; if none does, pre-releases are refused.
    prereleases: bool,
}

/// One operator and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    operator: Operator,
    /// The version as it is written, for messages.
    text: String,
    major: u64,
    minor: u64,
    patch: u64,
    pre: String,
    open: Open,
}

/// What a term demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// Written as given: `=` or nothing.
    Equal(&'static str),
    NotEqual,
    Greater,
    Less,
    /// `>=` or `=>`.
    GreaterOrEqual(&'static str),
    /// `<=` or `=<`.
    LessOrEqual(&'static str),
    /// `~` or `~>`.
    Tilde(&'static str),
    Caret,
}

/// From which field on the version is left open, by a wildcard or by leaving it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nowhere,
    Patch,
    Minor,
    /// Everything, as in `*`. The fields count as a full 0.0.0 in most operators.
    Major,
}

/// Why a version fails a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Prerelease,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    OtherMajor,
    OtherMajorAndMinor,
    OtherMinor,
    OtherMinorOfZero,
    OtherPatchOfZero,
}

impl Range {
    /// Reads a range.
    pub fn parse(text: &str) -> Result<Self, InvalidRange> {
        parse::range(text)
    }

    /// The same range with every group looking at pre-releases: the switch `IncludePrerelease` of Masterminds, which Flux
    /// never sets.
    #[must_use]
    pub fn including_prereleases(mut self) -> Self {
        self.groups.iter_mut().for_each(|group| group.prereleases = true);
        self
    }

    /// Whether the version is within the range.
    pub fn matches(&self, version: &Version<'_>) -> bool {
        self.groups
            .iter()
            .any(|group| group.admits(version) && group.terms.iter().all(|term| term.check(version).is_ok()))
    }

    /// Whether any version at all is within the range.
    pub fn is_satisfiable(&self) -> bool {
        let is_within = |(major, minor, patch, pre): &(u64, u64, u64, String)| {
            self.matches(&Version { major: *major, minor: *minor, patch: *patch, pre, metadata: "" })
        };
        self.groups.iter().flat_map(|group| &group.terms).flat_map(Term::neighbours).any(|version| is_within(&version))
    }

    /// Why the version is not within the range, one sentence for each term that it fails, in Masterminds' words; empty when it is.
    pub fn reasons(&self, version: &Version<'_>) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut prerelease_told = false;
        for group in &self.groups {
            if !group.admits(version) {
                if !prerelease_told {
                    reasons.push(Failure::Prerelease.sentence(version, ""));
                }
                prerelease_told = true;
                continue;
            }
            let before = reasons.len();
            for term in &group.terms {
                if let Err(failure) = term.check(version) {
                    reasons.push(failure.sentence(version, &term.text));
                }
            }
            if reasons.len() == before {
                return Vec::new();
            }
        }
        reasons
    }
}

impl fmt::Display for Range {
    /// The canonical form: no commas, one space between terms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            if index > 0 {
                f.write_str(" || ")?;
            }
            for (index, term) in group.terms.iter().enumerate() {
                let space = if index > 0 { " " } else { "" };
                write!(f, "{space}{}{}", term.operator.as_str(), term.text)?;
            }
        }
        Ok(())
    }
}

impl Group {
    /// Whether the group looks at such a version at all: pre-releases only if one of its terms names one.
    fn admits(&self, version: &Version<'_>) -> bool {
        self.prereleases || version.pre.is_empty()
    }
}

impl Operator {
    /// As it is written.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Equal(text) | Self::GreaterOrEqual(text) | Self::LessOrEqual(text) | Self::Tilde(text) => text,
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::Caret => "^",
        }
    }
}

impl Term {
    /// Whether the version holds the term. Pre-releases are the group's business.
    fn check(&self, version: &Version<'_>) -> Result<(), Failure> {
        match self.operator {
            Operator::Equal(_) if self.open != Open::Nowhere => self.tilde(version),
            Operator::Equal(_) => ensure(self.compare(version).is_eq(), Failure::NotEqual),
            Operator::NotEqual => self.not_equal(version),
            Operator::Greater => self.greater(version),
            Operator::Less => ensure(self.compare(version).is_lt(), Failure::GreaterOrEqual),
            Operator::GreaterOrEqual(_) => ensure(self.compare(version).is_ge(), Failure::Less),
            Operator::LessOrEqual(_) => self.less_or_equal(version),
            Operator::Tilde(_) => self.tilde(version),
            Operator::Caret => self.caret(version),
        }
    }

    /// The term's version, open fields being 0.
    fn version(&self) -> Version<'_> {
        Version { major: self.major, minor: self.minor, patch: self.patch, pre: &self.pre, metadata: "" }
    }

    /// The term's version and the next ones after it, releases and pre-releases. Terms bound intervals, so that of the
    /// neighbours of all terms, and 0.0.0, one is within a group if anything is.
    fn neighbours(&self) -> Vec<(u64, u64, u64, String)> {
        let (major, minor, patch) = (self.major, self.minor, self.patch);
        let releases = [
            (0, 0, 0),
            (major, minor, patch),
            (major, minor, patch.saturating_add(1)),
            (major, minor.saturating_add(1), 0),
            (major.saturating_add(1), 0, 0),
        ];
        let pres = [String::new(), "0".to_owned(), self.pre.clone(), format!("{}.0", self.pre)];
        let pres = || pres.iter().filter(|pre| !pre.starts_with('.'));
        releases.iter().flat_map(|&(x, y, z)| pres().map(move |pre| (x, y, z, pre.clone()))).collect()
    }

    /// Where the version stands, seen from the term's.
    fn compare(&self, version: &Version<'_>) -> Ordering {
        version.precedence(&self.version())
    }

    /// `!=1.2` excludes all of 1.2.x; with a pre-release only versions of the same one.
    fn not_equal(&self, version: &Version<'_>) -> Result<(), Failure> {
        let same = match self.open {
            // `!=*` is `!=0.0.0`: reference section 5.3.
            Open::Nowhere | Open::Major => self.compare(version).is_eq(),
            Open::Minor => version.major == self.major,
            Open::Patch => version.major == self.major && version.minor == self.minor && version.pre == self.pre,
        };
        ensure(!same, Failure::Equal)
    }

    /// `>11` begins at 12.0.0, `>11.1` at 11.2.0.
    fn greater(&self, version: &Version<'_>) -> Result<(), Failure> {
        let greater = match self.open {
            // `>*` is `>0.0.0`.
            Open::Nowhere | Open::Major => self.compare(version).is_gt(),
            Open::Minor => version.major > self.major,
            Open::Patch => (version.major, version.minor) > (self.major, self.minor),
        };
        ensure(greater, Failure::LessOrEqual)
    }

    /// `<=11` ends with the last 11.x.y, `<=11.1` with the last 11.1.x.
    fn less_or_equal(&self, version: &Version<'_>) -> Result<(), Failure> {
        let within = match self.open {
            Open::Nowhere => self.compare(version).is_le(),
            Open::Minor => version.major <= self.major,
            // `<=*` is `<=0.0.x`.
            Open::Patch | Open::Major => (version.major, version.minor) <= (self.major, self.minor),
        };
        ensure(within, Failure::Greater)
    }

    /// `~1.2.3` stays within 1.2, `~1` within 1. `~*` and `~0.0.0` take everything.
    fn tilde(&self, version: &Version<'_>) -> Result<(), Failure> {
        ensure(self.compare(version).is_ge(), Failure::Less)?;
        let zero = (self.major, self.minor, self.patch) == (0, 0, 0);
        if zero && matches!(self.open, Open::Nowhere | Open::Major) {
            return Ok(());
        }
        ensure(version.major == self.major, Failure::OtherMajor)?;
        ensure(version.minor == self.minor || self.open == Open::Minor, Failure::OtherMajorAndMinor)
    }

    /// `^` keeps the first field that is not 0. `^*` is `^0.0.0`: that version alone.
    fn caret(&self, version: &Version<'_>) -> Result<(), Failure> {
        ensure(self.compare(version).is_ge(), Failure::Less)?;
        ensure(version.major == self.major, Failure::OtherMajor)?;
        if self.major > 0 || self.open == Open::Minor {
            return Ok(());
        }
        if self.minor > 0 || self.open == Open::Patch {
            return ensure(version.minor == self.minor, Failure::OtherMinorOfZero);
        }
        ensure(version.minor == 0, Failure::OtherMinor)?;
        ensure(version.patch == self.patch, Failure::OtherPatchOfZero)
    }
}

impl Failure {
    /// The sentence for people; `term` is the term's version as written.
    fn sentence(self, version: &Version<'_>, term: &str) -> String {
        let relation = match self {
            Self::Prerelease => {
                return format!(
                    "\"{version}\" is a prerelease version and the constraint is only looking for release versions"
                );
            }
            Self::OtherMinorOfZero => {
                return format!(
                    "\"{version}\" does not have same minor version as \"{term}\". Expected minor versions to match when constraint major version is 0"
                );
            }
            Self::OtherPatchOfZero => {
                return format!(
                    "\"{version}\" does not equal \"{term}\". Expect version and constraint to equal when major and minor versions are 0"
                );
            }
            Self::Equal => "is equal to",
            Self::NotEqual => "is not equal to",
            Self::Less => "is less than",
            Self::LessOrEqual => "is less than or equal to",
            Self::Greater => "is greater than",
            Self::GreaterOrEqual => "is greater than or equal to",
            Self::OtherMajor => "does not have same major version as",
            Self::OtherMajorAndMinor => "does not have same major and minor version as",
            Self::OtherMinor => "does not have same minor version as",
        };
        format!("\"{version}\" {relation} \"{term}\"")
    }
}

/// The failure unless the condition holds.
fn ensure(holds: bool, failure: Failure) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(failure) }
}

#[cfg(test)]
mod tests;
