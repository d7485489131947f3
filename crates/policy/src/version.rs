//! Semantic versions as Masterminds/semver reads them, and which tags Flux takes for one.

use std::{cmp::Ordering, fmt};

/// A semantic version that borrows its text. Two versions may differ in metadata and still be equal in precedence, so
/// there is no `Ord`: see [`Version::precedence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version<'a> {
    /// First field.
    pub major: u64,
    /// Second field, 0 if missing.
    pub minor: u64,
    /// Third field, 0 if missing.
    pub patch: u64,
    /// What follows `-`, empty for a release.
    pub pre: &'a str,
    /// What follows `+`; says nothing about the order.
    pub metadata: &'a str,
}

/// Why a text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// It has another form.
    #[error("not a semantic version")]
    Form,
    /// A tag without two dots is never read as a version.
    #[error("not a semantic version: a tag needs all three fields, as in 1.2.3")]
    Fields,
    /// A numeric identifier of the pre-release, or a field of a strict version, begins with 0.
    #[error("not a semantic version: a number begins with 0")]
    LeadingZero,
    /// A field exceeds 64 bits.
    #[error("not a semantic version: a number is too large")]
    TooLarge,
}

impl<'a> Version<'a> {
    /// The grammar of Masterminds' `NewVersion`: an optional `v`, one to three fields, leading zeros allowed in them.
    pub fn loose(text: &'a str) -> Result<Self, InvalidVersion> {
        let parts = scan(text, |byte| byte.is_ascii_digit()).ok_or(InvalidVersion::Form)?;
        if parts.length != text.len() {
            return Err(InvalidVersion::Form);
        }
        let [major, minor, patch] = parts.fields;
        Self {
            major: field(major)?,
            minor: field(minor)?,
            patch: field(patch)?,
            pre: parts.pre,
            metadata: parts.metadata,
        }
        .checked()
    }

    /// The grammar of semver.org: three fields, no `v`, no leading zeros.
    pub fn strict(text: &'a str) -> Result<Self, InvalidVersion> {
        let parts = scan(text, |byte| byte.is_ascii_digit()).ok_or(InvalidVersion::Form)?;
        if parts.fields[2].is_empty() || text.starts_with('v') {
            return Err(InvalidVersion::Form);
        }
        if parts.fields.iter().any(|field| field.len() > 1 && field.starts_with('0')) {
            return Err(InvalidVersion::LeadingZero);
        }
        Self::loose(text)
    }

    /// What Flux takes a tag for: the loose grammar, but only for texts with two dots, wherever they are.
    ///
    /// Source: reference image-automation.md section 5.1.
    pub fn tag(text: &'a str) -> Result<Self, InvalidVersion> {
        if text.bytes().filter(|&byte| byte == b'.').count() < 2 {
            return Err(InvalidVersion::Fields);
        }
        Self::loose(text)
    }

    /// Order of precedence: fields, then a pre-release before its release, then identifiers from left to right.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let fields = |version: &Self| (version.major, version.minor, version.patch);
        fields(self).cmp(&fields(other)).then_with(|| match (self.pre, other.pre) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (own, other) => identifiers(own, other),
        })
    }

    /// Refuses numeric identifiers with a leading zero in the pre-release.
    fn checked(self) -> Result<Self, InvalidVersion> {
        let zero =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit());
        match self.pre.split('.').any(zero) {
            true => Err(InvalidVersion::LeadingZero),
            false => Ok(self),
        }
    }
}

impl fmt::Display for Version<'_> {
    /// The full form `X.Y.Z[-pre][+meta]`, without `v`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

/// A field's number; a missing one is 0.
fn field(text: &str) -> Result<u64, InvalidVersion> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| InvalidVersion::TooLarge),
    }
}

/// Order of two lists of pre-release identifiers.
fn identifiers(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        let order = match (ones.next(), others.next()) {
            (Some(one), Some(other)) => identifier(one, other),
            (Some(_), None) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (None, None) => return Ordering::Equal,
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Numbers compare as numbers and precede words; a number beyond 64 bits counts as a word.
fn identifier(one: &str, other: &str) -> Ordering {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.cmp(other),
    }
}

/// The parts at the start of a text that looks like a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// Fields without their dots; missing ones are empty.
    pub fields: [&'a str; 3],
    /// Without the `-`.
    pub pre: &'a str,
    /// Without the `+`.
    pub metadata: &'a str,
    /// Bytes taken.
    pub length: usize,
}

/// Takes the longest version-like text at the start: optional `v`, one to three fields, pre-release, metadata.
pub(crate) fn scan(text: &str, is_field: impl Fn(u8) -> bool) -> Option<Parts<'_>> {
    let bytes = text.as_bytes();
    let run = |from: usize| from + bytes[from..].iter().take_while(|&&byte| is_field(byte)).count();
    let mut at = usize::from(text.starts_with('v'));
    let mut fields = [""; 3];
    let end = run(at);
    if end == at {
        return None;
    }
    fields[0] = &text[at..end];
    at = end;
    for field in &mut fields[1..] {
        if bytes.get(at) != Some(&b'.') || run(at + 1) == at + 1 {
            break;
        }
        let end = run(at + 1);
        *field = &text[at + 1..end];
        at = end;
    }
    let (pre, at) = suffix(text, at, b'-');
    let (metadata, at) = suffix(text, at, b'+');
    Some(Parts { fields, pre, metadata, length: at })
}

/// Dot-separated identifiers after the sign, and where they end; nothing and the start if there are none.
fn suffix(text: &str, start: usize, sign: u8) -> (&str, usize) {
    let bytes = text.as_bytes();
    let run = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count()
    };
    if bytes.get(start) != Some(&sign) || run(start + 1) == 0 {
        return ("", start);
    }
    let mut end = start + 1 + run(start + 1);
    while bytes.get(end) == Some(&b'.') && run(end + 1) > 0 {
        end += 1 + run(end + 1);
    }
    (&text[start + 1..end], end)
}

#[cfg(test)]
mod tests;
