//! The YAML parser, wrapped: scalars and comments with their byte ranges, and the object that each document holds.

use std::ops::Range;

use granit_parser::{Event, Parser, Placement, ScalarStyle};

/// A scalar of a file.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// Its bytes, without tag and anchor; of a block scalar, the lines after the header.
    pub(super) span: Range<usize>,
    /// What it means.
    pub(super) value: String,
    pub(super) style: ScalarStyle,
    /// Index of its document.
    pub(super) document: usize,
    role: Role,
}

impl Scalar {
    /// Whether it is written with `|` or `>`.
    pub(super) fn is_block(&self) -> bool {
        matches!(self.style, ScalarStyle::Literal | ScalarStyle::Folded)
    }
}

/// A comment of a file.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// Its bytes, with the `#`.
    pub(super) span: Range<usize>,
    /// Its text after the `#`.
    pub(super) text: String,
    beside: bool,
}

/// Which object a document holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A file as far as markers need it.
#[derive(Debug, Default)]
pub(super) struct Scan {
    scalars: Vec<Scalar>,
    aliases: Vec<Range<usize>>,
    pub(super) comments: Vec<Comment>,
    /// By index of document.
    pub(super) identities: Vec<Identity>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A mapping's key, or something inside one.
    Key,
    /// A mapping's value, or the whole document.
    Value,
    /// An entry of a sequence.
    Item,
}

/// A collection that is open, and where in it we are.
struct Open {
    is_mapping: bool,
    /// The next node of a mapping is a key.
    key_next: bool,
    /// Everything inside belongs to a key.
    inside_key: bool,
    /// The key whose value comes next.
    key: String,
}

/// Reads a file.
pub(super) fn scan(text: &str) -> Result<Scan, Problem> {
    let mut scan = Scan::default();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Problem {
            line: error.marker().line().max(1),
            message: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })?;
        let span = span.byte_range().unwrap_or(0..0);
        match event {
            Event::DocumentStart(..) => {
                open.clear();
                scan.identities.push(Identity::default());
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let inside_key = enter(&mut open, "") == Role::Key;
                let is_mapping = matches!(event, Event::MappingStart(..));
                open.push(Open { is_mapping, key_next: is_mapping, inside_key, key: String::new() });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            Event::Alias(..) => {
                enter(&mut open, "");
                scan.aliases.push(span);
            }
            Event::Comment(content, placement) => {
                let beside = placement == Placement::Right;
                scan.comments.push(Comment { span, text: content.into_owned(), beside });
            }
            Event::Scalar(value, style, ..) => {
                let role = enter(&mut open, &value);
                scan.scalar(&open, Scalar { span, value: value.into_owned(), style, document: 0, role });
            }
            _ => {}
        }
    }
    Ok(scan)
}

/// The role of the next node; the innermost collection moves on.
fn enter(open: &mut [Open], value: &str) -> Role {
    let Some(inner) = open.last_mut() else { return Role::Value };
    let role = match (inner.is_mapping, inner.key_next) {
        (false, _) => Role::Item,
        (true, true) => {
            inner.key = value.to_owned();
            Role::Key
        }
        (true, false) => Role::Value,
    };
    if inner.is_mapping {
        inner.key_next = !inner.key_next;
    }
    if inner.inside_key { Role::Key } else { role }
}

impl Scan {
    fn scalar(&mut self, open: &[Open], mut scalar: Scalar) {
        scalar.document = self.identities.len().saturating_sub(1);
        if scalar.role == Role::Value
            && let Some(identity) = self.identities.last_mut()
        {
            let path: Vec<&str> = open.iter().map(|open| open.key.as_str()).collect();
            let field = match path.as_slice() {
                ["apiVersion"] => Some(&mut identity.api_version),
                ["kind"] => Some(&mut identity.kind),
                ["metadata", "name"] => Some(&mut identity.name),
                ["metadata", "namespace"] => Some(&mut identity.namespace),
                _ => None,
            };
            if let Some(field) = field
                && !scalar.span.is_empty()
            {
                field.clone_from(&scalar.value);
            }
        }
        self.scalars.push(scalar);
    }

    /// The scalar that a comment's marker names. Errs with a warning where there is none.
    /// Source: reference image-automation.md section 8.2, "Position".
    pub(super) fn marked(&self, text: &str, comment: &Comment) -> Result<&Scalar, String> {
        let misplaced = |why: &str| format!("marker is ignored: {why}");
        if !comment.beside {
            let below = self.item_below(text, comment);
            return below.ok_or_else(|| {
                misplaced("on a line of its own it works only directly above a scalar entry of a list")
            });
        }
        if let Some(block) = self.block_of(text, comment) {
            return Ok(block);
        }
        let line = text[..comment.span.start].rfind('\n').map_or(0, |at| at + 1);
        let on_line = |span: &Range<usize>| span.end > line && span.end <= comment.span.start && !span.is_empty();
        let alias = self.aliases.iter().filter(|span| on_line(span)).max_by_key(|span| span.end);
        let Some(last) =
            self.scalars.iter().filter(|scalar| on_line(&scalar.span)).max_by_key(|scalar| scalar.span.end)
        else {
            return Err(misplaced("there is no value before it on its line"));
        };
        if alias.is_some_and(|alias| alias.end > last.span.end) {
            return Err(misplaced("the value before it is an alias; mark the anchor"));
        }
        if last.role == Role::Key {
            return Err(misplaced("it must stand on the line of the value, not of the key"));
        }
        let between = text[last.span.end..comment.span.start].trim();
        if !matches!(between, "" | ",") {
            return Err(misplaced("it must follow the value, not the end of a flow collection"));
        }
        let values = self.scalars.iter().filter(|scalar| on_line(&scalar.span) && scalar.role != Role::Key);
        if between == "," && values.count() > 1 {
            return Err(misplaced("several values stand on its line"));
        }
        Ok(last)
    }

    /// The block scalar whose header the comment follows.
    fn block_of(&self, text: &str, comment: &Comment) -> Option<&Scalar> {
        let line = text[..comment.span.start].rfind('\n').map_or(0, |at| at + 1);
        let header = text[line..comment.span.start].trim_end();
        let header = header.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
        if !header.ends_with(['|', '>']) {
            return None;
        }
        self.scalars.iter().find(|scalar| {
            scalar.is_block()
                && scalar.role != Role::Key
                && scalar.span.start >= comment.span.end
                && text[comment.span.end..scalar.span.start].trim().is_empty()
        })
    }

    /// The scalar list entry on the line below the comment.
    fn item_below(&self, text: &str, comment: &Comment) -> Option<&Scalar> {
        self.scalars.iter().find(|scalar| {
            scalar.role == Role::Item && !scalar.span.is_empty() && scalar.span.start > comment.span.end && {
                let between = &text[comment.span.end..scalar.span.start];
                between.matches('\n').count() == 1 && between.trim() == "-"
            }
        })
    }
}
