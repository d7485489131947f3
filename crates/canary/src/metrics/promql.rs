//! Whether Prometheus would take a query: its grammar and its types, without the server. Pure.
//!
//! Source: Prometheus 3, `promql/parser/generated_parser.y`, `parse.go` (`checkAST`) and `functions.go`.

mod functions;
mod scan;
mod selector;

use functions::{Signature, aggregation, function};
use scan::Scan;

/// What a query, or a part of it, gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    Vector,
    Range,
    Text,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Scalar => "a number",
            Self::Vector => "an instant vector",
            Self::Range => "a range vector",
            Self::Text => "a text",
        }
    }
}

/// Why Prometheus would refuse a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Problem {
    /// Line of the query, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// Whether the text is no query at all. Otherwise it is one whose functions or types Prometheus does not know, which
    /// servers that speak a dialect may.
    pub is_syntax: bool,
}

/// Most parts within each other.
const MAX_DEPTH: usize = 100;

/// Reads a query. Errs at the first place where Prometheus would.
pub fn check(query: &str) -> Result<(), Problem> {
    let mut parser = Parser { scan: Scan::new(query), depth: 0 };
    parser.expression(0)?;
    if parser.scan.is_at_end() { Ok(()) } else { Err(parser.scan.unexpected("an operator or the end")) }
}

/// A part that was read.
#[derive(Clone, Copy)]
struct Part {
    kind: Kind,
    /// Where it begins.
    start: usize,
    /// Whether it is a selector by itself, which can take a range.
    is_selector: bool,
    /// Whether it can be looked at elsewhere in time.
    is_timed: bool,
}

impl Part {
    fn plain(kind: Kind, start: usize) -> Self {
        Self { kind, start, is_selector: false, is_timed: false }
    }
}

/// What an operator does with its sides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Arithmetic,
    Comparison,
    Set,
}

/// Operators with how strongly they bind; longer ones before those that they begin with.
const OPERATORS: [(&str, u8, Operator); 16] = [
    ("or", 1, Operator::Set),
    ("and", 2, Operator::Set),
    ("unless", 2, Operator::Set),
    ("==", 3, Operator::Comparison),
    ("!=", 3, Operator::Comparison),
    ("<=", 3, Operator::Comparison),
    (">=", 3, Operator::Comparison),
    ("<", 3, Operator::Comparison),
    (">", 3, Operator::Comparison),
    ("+", 4, Operator::Arithmetic),
    ("-", 4, Operator::Arithmetic),
    ("*", 5, Operator::Arithmetic),
    ("/", 5, Operator::Arithmetic),
    ("%", 5, Operator::Arithmetic),
    ("atan2", 5, Operator::Arithmetic),
    ("^", POWER, Operator::Arithmetic),
];
/// A sign binds less than a power and more than anything else.
const POWER: u8 = 6;

/// Words of the language that cannot name a metric; the others can.
const RESERVED: [&str; 5] = ["bool", "on", "ignoring", "group_left", "group_right"];

struct Parser<'a> {
    scan: Scan<'a>,
    depth: usize,
}

impl Parser<'_> {
    /// An expression whose operators bind at least that strongly.
    fn expression(&mut self, least: u8) -> Result<Part, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.scan.refused(self.scan.start(), "the query is nested too deeply"));
        }
        let mut left = self.signed()?;
        while let Some((name, strength, operator)) = self.operator(least) {
            left = self.binary(left, name, strength, operator)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// Takes the next operator if it binds at least that strongly.
    fn operator(&mut self, least: u8) -> Option<(&'static str, u8, Operator)> {
        let is_next = |name: &str| match name.starts_with(char::is_alphabetic) {
            true => self.scan.sees_word(name),
            false => self.scan.sees(name),
        };
        let found =
            OPERATORS.into_iter().find(|(name, ..)| is_next(name)).filter(|(_, strength, _)| *strength >= least)?;
        self.scan.skip(found.0.len());
        Some(found)
    }

    fn signed(&mut self) -> Result<Part, Problem> {
        let start = self.scan.start();
        if self.scan.take("-") || self.scan.take("+") {
            let part = self.expression(POWER)?;
            if !matches!(part.kind, Kind::Scalar | Kind::Vector) {
                return Err(self.scan.mistyped(
                    start,
                    format!("a sign needs a number or an instant vector, not {}", part.kind.words()),
                ));
            }
            return Ok(Part::plain(part.kind, start));
        }
        let part = self.primary()?;
        self.suffixes(part)
    }

    fn binary(&mut self, left: Part, name: &str, strength: u8, operator: Operator) -> Result<Part, Problem> {
        let at = self.scan.start();
        let is_bool = self.scan.take_word("bool");
        if is_bool && operator != Operator::Comparison {
            return Err(self.scan.refused(at, "bool can only follow a comparison"));
        }
        let matching = self.matching(operator)?;
        let right = self.expression(if strength == POWER { strength } else { strength + 1 })?;
        let mistyped = |message: String| Err(self.scan.mistyped(left.start, message));
        for side in [left, right] {
            if !matches!(side.kind, Kind::Scalar | Kind::Vector) {
                return mistyped(format!("{name} needs numbers and instant vectors, not {}", side.kind.words()));
            }
        }
        match (left.kind, right.kind) {
            (Kind::Vector, Kind::Vector) => {}
            _ if operator == Operator::Set => return mistyped(format!("{name} needs instant vectors on both sides")),
            _ if matching => return mistyped("labels can only be matched between instant vectors".into()),
            (Kind::Scalar, Kind::Scalar) if operator == Operator::Comparison && !is_bool => {
                return mistyped(format!("a comparison of numbers needs bool: {name} bool"));
            }
            _ => {}
        }
        let kind = if left.kind == right.kind { left.kind } else { Kind::Vector };
        Ok(Part::plain(kind, left.start))
    }

    /// `on`, `ignoring`, `group_left`, `group_right`; whether one of them stands there.
    fn matching(&mut self, operator: Operator) -> Result<bool, Problem> {
        let on = self.scan.take_word("on");
        if !on && !self.scan.take_word("ignoring") {
            return Ok(false);
        }
        let matched = self.labels()?;
        let at = self.scan.start();
        if self.scan.take_word("group_left") || self.scan.take_word("group_right") {
            if operator == Operator::Set {
                return Err(self.scan.refused(at, "and, or and unless take no group_left or group_right"));
            }
            let included = if self.scan.sees("(") { self.labels()? } else { Vec::new() };
            if let Some(twice) = included.iter().find(|label| on && matched.contains(label)) {
                return Err(self.scan.mistyped(at, format!("label {twice:?} cannot be both in on and in a group")));
            }
        }
        Ok(true)
    }

    /// `(label, …)`.
    fn labels(&mut self) -> Result<Vec<String>, Problem> {
        self.scan.expect("(")?;
        let mut labels = Vec::new();
        while !self.scan.take(")") {
            labels.push(self.scan.label()?);
            if !self.scan.take(",") && !self.scan.sees(")") {
                return Err(self.scan.unexpected("\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    fn primary(&mut self) -> Result<Part, Problem> {
        let start = self.scan.start();
        if self.scan.take("(") {
            let inner = self.expression(0)?;
            self.scan.expect(")")?;
            return Ok(Part { start, is_selector: false, is_timed: false, ..inner });
        }
        if self.scan.sees_any(&['"', '\'', '`']) {
            self.scan.text()?;
            return Ok(Part::plain(Kind::Text, start));
        }
        if self.scan.number()? {
            return Ok(Part::plain(Kind::Scalar, start));
        }
        if self.scan.sees("{") {
            return self.selector(None, start);
        }
        let name = if RESERVED.iter().any(|word| self.scan.sees_word(word)) { None } else { self.scan.metric() };
        let Some(name) = name else { return Err(self.scan.unexpected("an expression")) };
        let is_grouped = self.scan.sees_word("by") || self.scan.sees_word("without");
        match aggregation(&name) {
            Some(parameter) if self.scan.sees("(") || is_grouped => self.aggregation(&name, parameter, start),
            _ if self.scan.sees("(") => self.call(&name, start),
            _ => self.selector(Some(name), start),
        }
    }

    fn aggregation(&mut self, name: &str, parameter: Option<Kind>, start: usize) -> Result<Part, Problem> {
        let is_grouped = self.grouping()?;
        let arguments = self.arguments()?;
        if !is_grouped {
            self.grouping()?;
        }
        let wanted: Vec<Kind> = parameter.into_iter().chain([Kind::Vector]).collect();
        self.fits(name, &wanted, wanted.len()..=wanted.len(), &arguments, start)?;
        Ok(Part::plain(Kind::Vector, start))
    }

    fn grouping(&mut self) -> Result<bool, Problem> {
        let is_there = self.scan.take_word("by") || self.scan.take_word("without");
        if is_there {
            self.labels()?;
        }
        Ok(is_there)
    }

    fn call(&mut self, name: &str, start: usize) -> Result<Part, Problem> {
        let arguments = self.arguments()?;
        let Some(Signature { takes, least, most, gives }) = function(name) else {
            return Err(self.scan.mistyped(start, format!("Prometheus has no function {name:?}")));
        };
        self.fits(name, &takes, least..=most, &arguments, start)?;
        Ok(Part::plain(gives, start))
    }

    fn arguments(&mut self) -> Result<Vec<Part>, Problem> {
        self.scan.expect("(")?;
        let mut arguments = Vec::new();
        if self.scan.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.scan.take(")") {
                return Ok(arguments);
            }
            if !self.scan.take(",") {
                return Err(self.scan.unexpected("\",\" or \")\""));
            }
        }
    }

    /// Whether number and kinds of the arguments are what the function takes; the last kind stands for all further ones.
    fn fits(
        &self,
        name: &str,
        takes: &[Kind],
        count: std::ops::RangeInclusive<usize>,
        arguments: &[Part],
        start: usize,
    ) -> Result<(), Problem> {
        if !count.contains(&arguments.len()) {
            let (least, most) = (*count.start(), *count.end());
            let wanted = match most {
                _ if least == most => format!("{least} arguments"),
                usize::MAX => format!("{least} arguments or more"),
                _ => format!("{least} to {most} arguments"),
            };
            return Err(self.scan.mistyped(start, format!("{name} takes {wanted}, not {}", arguments.len())));
        }
        let kinds = takes.iter().chain(std::iter::repeat(takes.last().unwrap_or(&Kind::Scalar)));
        match arguments.iter().zip(kinds).find(|(argument, kind)| argument.kind != **kind) {
            Some((argument, kind)) => {
                let message = format!("{name} takes {} here, not {}", kind.words(), argument.kind.words());
                Err(self.scan.mistyped(argument.start, message))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
