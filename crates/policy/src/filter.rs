//! `filterTags`: which tags are considered, and what part of them is compared.
//!
//! Source: reference image-automation.md section 5.5.

use std::borrow::Cow;

use api::image::TagFilter;
use regex::CaptureLocations;

use crate::{Error, Pattern};

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    written: String,
    pattern: Pattern,
    /// Empty when the tag itself is compared.
    template: Vec<Piece>,
    unknown_groups: Vec<String>,
}

/// A piece of the `extract` template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// What the first of these groups matched that took part in the match.
    Groups(Vec<usize>),
}

impl Filter {
    /// Compiles a filter.
    pub fn new(filter: &TagFilter) -> Result<Self, Error> {
        let written = filter.pattern.clone();
        let pattern = Pattern::new(&written).map_err(|source| Error::Pattern { pattern: written.clone(), source })?;
        let (template, unknown_groups) = template(&filter.extract, &pattern);
        Ok(Self { written, pattern, template, unknown_groups })
    }

    /// The pattern as the manifest has it.
    pub fn pattern(&self) -> &str {
        &self.written
    }

    /// Groups that the template names and the pattern does not have: they are always empty.
    pub fn unknown_groups(&self) -> &[String] {
        &self.unknown_groups
    }

    /// Whether something else than the tag itself is compared, so that two tags may look the same.
    pub fn extracts(&self) -> bool {
        !self.template.is_empty()
    }

    /// A function that says what is compared for a tag: `None` if the pattern does not match. It keeps buffers between tags.
    pub fn extractor<'a>(&self) -> impl FnMut(&'a str) -> Option<Cow<'a, str>> {
        let mut groups = self.pattern.regex().capture_locations();
        move |tag| match self.template.as_slice() {
            [] => self.pattern.is_match(tag).then_some(Cow::Borrowed(tag)),
            template => {
                self.pattern.regex().captures_read(&mut groups, tag)?;
                Some(expand(template, &groups, tag))
            }
        }
    }
}

/// The template filled in.
fn expand<'a>(template: &[Piece], groups: &CaptureLocations, tag: &'a str) -> Cow<'a, str> {
    let matched = |numbers: &[usize]| {
        numbers.iter().find_map(|&group| groups.get(group)).map_or("", |(start, end)| &tag[start..end])
    };
    match template {
        [Piece::Groups(numbers)] => Cow::Borrowed(matched(numbers)),
        pieces => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Groups(numbers) => matched(numbers),
            })
            .collect::<String>()
            .into(),
    }
}

/// Reads a template as Go's `Regexp.Expand` does; unknown groups, returned beside, are empty, a malformed `$` stands for
/// itself.
fn template(text: &str, pattern: &Pattern) -> (Vec<Piece>, Vec<String>) {
    let (mut pieces, mut unknown) = (Vec::new(), Vec::new());
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            literal.push('$');
            rest = after;
        } else if let Some((name, after)) = variable(rest) {
            rest = after;
            let numbers = groups(name, pattern);
            if numbers.is_empty() {
                unknown.push(name.to_owned());
            } else {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Groups(numbers));
            }
        } else {
            literal.push('$');
        }
    }
    literal.push_str(rest);
    // A template of nothing but unknown groups extracts empty texts; it is not the same as no template.
    if !literal.is_empty() || (pieces.is_empty() && !text.is_empty()) {
        pieces.push(Piece::Text(literal));
    }
    (pieces, unknown)
}

/// The name after a `$`, in braces or as far as letters, digits and `_` go, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{').unwrap_or(text);
    let end = inner.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let rest = if inner.len() < text.len() { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// The groups meant by a number or a name; none if there are no such groups.
fn groups(name: &str, pattern: &Pattern) -> Vec<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    match is_number {
        true => name.parse().ok().filter(|&group| group < pattern.groups()).into_iter().collect(),
        false => pattern.named(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(pattern: &str, extract: &str, tag: &str) -> Option<String> {
        let filter = Filter::new(&TagFilter { pattern: pattern.into(), extract: extract.into() }).expect("a filter");
        filter.extractor()(tag).map(Cow::into_owned)
    }

    #[test]
    fn templates_are_filled_as_in_go() {
        for (template, expected) in [
            ("", "a1"),
            ("$0", "a1"),
            ("$1", "a"),
            ("$1_x", ""),
            ("${1}_x", "a_x"),
            ("$n-$$1", "1-$1"),
            ("$9", ""),
            ("$01", ""),
            ("$", "$"),
            ("${", "${"),
            ("${1", "${1"),
            ("$-1", "$-1"),
            ("v$1.$n", "va.1"),
        ] {
            assert_eq!(extract("(a)(?P<n>[0-9])", template, "a1").as_deref(), Some(expected), "{template}");
        }
        assert_eq!(extract("^b", "$1", "a1"), None);
        // Go lets groups share a name; the first that took part in the match is meant.
        assert_eq!(extract("v(?P<n>[0-9])|r(?P<n>[0-9])", "$n", "r2").as_deref(), Some("2"));
    }

    proptest::proptest! {
        #[test]
        fn filling_never_panics(template in "([$_{}0-9a-z]|\\PC){0,20}", tag in "\\PC{0,10}") {
            let _ = extract("(\\w)?(?P<n>.)?", &template, &tag);
        }
    }
}
