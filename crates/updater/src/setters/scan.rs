//! The YAML parser, wrapped: scalars and comments with their byte ranges, and the object that each document holds.

use std::ops::Range;

use api::manifest;
use granit_parser::{Event, Parser, Placement, ScalarStyle};

use super::lines;

/// A scalar of a file.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// Its bytes, without tag and anchor; of a block scalar, the lines after the header, from the first that is not empty.
    /// A block without such a line has no bytes: it stands where the line begins that follows it.
    pub(super) span: Range<usize>,
    /// What it means.
    pub(super) value: String,
    pub(super) style: ScalarStyle,
    /// Index of its document.
    pub(super) document: usize,
    role: Role,
    /// Whether it says that there is no value.
    is_null: bool,
}

impl Scalar {
    /// Whether it is a mapping's key, or inside one.
    pub(super) fn is_key(&self) -> bool {
        self.role == Role::Key
    }

    /// Whether it is written with `|` or `>`.
    pub(super) fn is_block(&self) -> bool {
        matches!(self.style, ScalarStyle::Literal | ScalarStyle::Folded)
    }

    /// Whether it is a block without a line, or with empty ones only.
    pub(super) fn is_empty_block(&self) -> bool {
        self.is_block() && self.span.is_empty()
    }

    /// The scalar, unless it is a block without a line whose header says how deep lines are: from where, it does not say.
    fn with_room(&self, indicators: &str) -> Result<&Self, &'static str> {
        let is_fixed = self.is_empty_block() && indicators.contains(|c: char| c.is_ascii_digit());
        if is_fixed { Err("there is no line in the block to write to") } else { Ok(self) }
    }
}

/// A comment of a file.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// Its bytes, with the `#`.
    pub(super) span: Range<usize>,
    /// Its text after the `#`.
    pub(super) text: String,
    /// Whether more than the dashes of list entries stands before it on its line.
    pub(super) beside: bool,
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
    pub(super) scalars: Vec<Scalar>,
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

/// Plain texts that mean that there is no value.
const NULLS: [&str; 5] = ["", "~", "null", "Null", "NULL"];
/// How deep the fields lie that say which object a document holds.
const IDENTITY_DEPTH: usize = 2;

/// Reads a file.
pub(super) fn scan(text: &str) -> Result<Scan, Problem> {
    let read = manifest::deepened(text, scan_strictly);
    let (mut scan, blanks) = read.map_err(|(line, message)| Problem { line, message })?;
    if !blanks.is_empty() {
        let scalars = scan.scalars.iter_mut().map(|scalar| &mut scalar.span);
        let comments = scan.comments.iter_mut().map(|comment| &mut comment.span);
        for span in scalars.chain(comments).chain(&mut scan.aliases) {
            *span = blanks.origin(span.start)..blanks.origin(span.end);
        }
    }
    Ok(scan)
}

/// Reads a file as YAML 1.2 has it.
fn scan_strictly(text: &str) -> Result<Scan, manifest::Refusal> {
    let mut scan = Scan::default();
    let mut open: Vec<Open> = Vec::new();
    let options = granit_parser::options! { max_buffered_comment_events: usize::MAX };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let message = error.to_string().lines().next().unwrap_or_default().to_owned();
            (error.marker().line().max(1), message)
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
                let before = &text[lines::start(text, span.start)..span.start];
                let beside = placement == Placement::Right && !before.chars().all(|c| matches!(c, '-' | ' ' | '\t'));
                scan.comments.push(Comment { span, text: content.into_owned(), beside });
            }
            Event::Scalar(value, style, _, tag) => {
                let role = enter(&mut open, &value);
                let is_null = style == ScalarStyle::Plain && tag.is_none() && NULLS.contains(&value.as_ref());
                let scalar = Scalar { span, value: value.into_owned(), style, document: 0, role, is_null };
                scan.scalar(&open, if scalar.is_block() { block(text, scalar) } else { scalar });
            }
            _ => {}
        }
    }
    Ok(scan)
}

/// A block scalar as the file has it, where the parser tells it otherwise.
fn block(text: &str, mut scalar: Scalar) -> Scalar {
    let Range { start, end } = scalar.span;
    let is_last = end == text.len();
    if scalar.value.chars().all(|c| c == '\n') {
        // At the end of the file the parser counts the header in.
        let at = if is_last { end } else { lines::start(text, end) };
        scalar.span = at..at;
        return scalar;
    }
    let written = &text[scalar.span.clone()];
    let behind = &written[written.trim_end_matches([' ', '\t', '\n', '\r']).len()..];
    if !is_last {
        // The indentation of the line that follows is not the block's.
        scalar.span.end = lines::start(text, end).max(start);
    } else if !behind.contains(lines::ENDS) && scalar.value.ends_with('\n') {
        // The parser ends the last line of a file, whether or not the file does.
        scalar.value.pop();
    }
    scalar
}

/// The role of the next node; the innermost collection moves on.
fn enter(open: &mut [Open], value: &str) -> Role {
    let depth = open.len();
    let Some(inner) = open.last_mut() else { return Role::Value };
    let role = match (inner.is_mapping, inner.key_next) {
        (false, _) => Role::Item,
        (true, true) => {
            // Only the keys that say which object it is are asked for later.
            if depth <= IDENTITY_DEPTH {
                value.clone_into(&mut inner.key);
            }
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
            let field = match open {
                [top] => match top.key.as_str() {
                    "apiVersion" => Some(&mut identity.api_version),
                    "kind" => Some(&mut identity.kind),
                    _ => None,
                },
                [top, inner] if top.key == "metadata" => match inner.key.as_str() {
                    "name" => Some(&mut identity.name),
                    "namespace" => Some(&mut identity.namespace),
                    _ => None,
                },
                _ => None,
            };
            if let Some(field) = field
                && !scalar.is_null
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
        let line = lines::start(text, comment.span.start);
        let before = text[line..comment.span.start].trim();
        if !comment.beside {
            return self.item_below(text, comment, before).map_err(misplaced);
        }
        if let Some(block) = self.block_of(text, comment, before) {
            return block.map_err(misplaced);
        }
        let mut on_line = self.line_before(line, comment);
        let Some(last) = on_line.next() else {
            return Err(misplaced("there is no value before it on its line"));
        };
        let alias = self.aliases.partition_point(|alias| alias.start < comment.span.start).checked_sub(1);
        if alias.is_some_and(|alias| self.aliases[alias].end > last.span.end && self.aliases[alias].end > line) {
            return Err(misplaced("the value before it is an alias; mark the anchor"));
        }
        if last.role == Role::Key {
            return Err(misplaced("it must stand on the line of the value, not of the key"));
        }
        let between = text[last.span.end..comment.span.start].trim();
        if !matches!(between, "" | ",") {
            return Err(misplaced("it must follow the value, not the end of a flow collection"));
        }
        if between == "," && on_line.any(|scalar| scalar.role != Role::Key) {
            return Err(misplaced("several values stand on its line"));
        }
        Ok(last)
    }

    /// The scalars that end on the comment's line before it, the last one first.
    fn line_before(&self, line: usize, comment: &Comment) -> impl Iterator<Item = &Scalar> {
        let (at, end) = (self.after(comment.span.start), comment.span.start);
        let before = self.scalars[..at].iter().rev().filter(|scalar| !scalar.span.is_empty());
        before.take_while(move |scalar| scalar.span.end > line).filter(move |scalar| scalar.span.end <= end)
    }

    /// Index of the first scalar that begins at or behind an offset.
    fn after(&self, offset: usize) -> usize {
        self.scalars.partition_point(|scalar| scalar.span.start < offset)
    }

    /// The block scalar whose header the comment follows, or why it cannot be set.
    fn block_of(&self, text: &str, comment: &Comment, before: &str) -> Option<Result<&Scalar, &'static str>> {
        let (_, indicators) = header(before)?;
        let scalar = self.scalars.get(self.after(comment.span.end))?;
        let follows = text[comment.span.end..scalar.span.start].trim().is_empty();
        (scalar.is_block() && scalar.role != Role::Key && follows).then(|| scalar.with_room(indicators))
    }

    /// The scalar list entry that the comment stands above, or between its dash and itself.
    fn item_below(&self, text: &str, comment: &Comment, before: &str) -> Result<&Scalar, &'static str> {
        const ONLY: &str = "on a line of its own it works only directly above a scalar entry of a list";
        let is_there = |scalar: &&Scalar| !scalar.span.is_empty() || scalar.is_block();
        let scalar = self.scalars[self.after(comment.span.end)..].iter().find(is_there);
        let scalar = scalar.filter(|scalar| scalar.role == Role::Item).ok_or(ONLY)?;
        let mut between = &text[comment.span.end..scalar.span.start];
        let mut indicators = "";
        if scalar.is_block() {
            // The header stands before its first line. With a comment behind it Flux does not look above the entry.
            (between, indicators) = header(between.trim_end()).ok_or(ONLY)?;
        }
        let dash = if before.is_empty() { "-" } else { "" };
        // The entry's anchor and tag may stand before it.
        let words = between.split_whitespace().filter(|word| !word.starts_with(['&', '!']));
        let begin = comment.span.end;
        if lines::ended(text, begin..begin + between.len()) != 1 || words.collect::<String>() != dash {
            return Err(ONLY);
        }
        let line = lines::start(text, comment.span.start);
        let above = lines::above(text, line).trim_start();
        if before.is_empty() && above.starts_with('#') {
            return Err("above an entry it must stand alone, with no other comment on the line before");
        }
        scalar.with_room(indicators)
    }
}

/// What stands before a block's header that a text ends in, and the indicators of the header.
fn header(text: &str) -> Option<(&str, &str)> {
    let indicators = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')).len();
    Some((text[..indicators].strip_suffix(['|', '>'])?, &text[indicators..]))
}
