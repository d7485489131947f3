//! Regular expressions in Go's dialect of RE2, for `filterTags` and `exclusionList`.
//!
//! `pattern/translate.rs` rewrites a pattern for the `regex` crate: both engines are linear and prefer the leftmost match,
//! but what they accept and what `\d` or `&&` mean differs.

mod translate;

use regex::{Regex, RegexBuilder};

/// How deep groups may be nested.
///
/// Differs: Go allows 1000. The engine works on nested groups by recursion, and must not run out of stack.
const MAX_DEPTH: u32 = 200;

/// Most memory of a compiled pattern, in bytes; the engine keeps it twice, to read forwards and backwards.
///
/// Differs: Go takes `\pL{1000}`, whose classes it keeps once. Here the costliest pattern under the limit, `\pL{513}`, takes
/// 61 MB while it is compiled and 41 MB afterwards, and no pattern that chooses tags comes near it.
const MAX_SIZE_BYTES: usize = 21 << 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// Names by group number; group 0 is the whole match.
    names: Vec<Option<String>>,
}

/// Why a text is not a pattern, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {problem}: `{at}`")]
pub struct InvalidPattern {
    problem: &'static str,
    at: String,
}

impl Pattern {
    /// Compiles a pattern as Go's `regexp.Compile` would.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        let translated = translate::translate(text)?;
        let mut builder = RegexBuilder::new(&translated.text);
        let regex =
            builder.nest_limit(MAX_DEPTH).size_limit(MAX_SIZE_BYTES).build().map_err(|error| InvalidPattern {
                problem: match error {
                    regex::Error::CompiledTooBig(_) => "expression too large",
                    _ => "invalid character class range",
                },
                at: text.to_owned(),
            })?;
        Ok(Self { regex, names: translated.names })
    }

    /// Whether the pattern is found anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// How many groups there are, the whole match included.
    pub(crate) fn groups(&self) -> usize {
        self.names.len()
    }

    /// Numbers of the groups with that name: Go lets several share one.
    pub(crate) fn named(&self, name: &str) -> Vec<usize> {
        (0..self.names.len()).filter(|&group| self.names[group].as_deref() == Some(name)).collect()
    }

    /// The engine beneath.
    pub(crate) fn regex(&self) -> &Regex {
        &self.regex
    }
}

#[cfg(test)]
mod tests;
