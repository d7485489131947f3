//! Rewrites a pattern of Go's dialect into one of the `regex` crate with the same meaning.
//!
//! Source: Go `regexp/syntax` with the Perl flags; differences measured in reference crates.md section 2.8.

mod class;
mod unicode;

use class::perl_class;

use super::InvalidPattern;

/// Highest count in a repetition. Source: reference image-automation.md section 5.5.
const MAX_REPEAT: u32 = 1000;

/// A rewritten pattern.
#[derive(Debug)]
pub(super) struct Translated {
    pub text: String,
    /// Names by group number. Groups lose their names in the text, as Go allows names that `regex` does not.
    pub names: Vec<Option<String>>,
}

/// Rewrites the pattern.
pub(super) fn translate(pattern: &str) -> Result<Translated, InvalidPattern> {
    let mut state = Translator {
        pattern,
        at: 0,
        out: String::new(),
        names: vec![None],
        outer: Vec::new(),
        repeats: 1,
        last: 1,
        can_repeat: false,
        repetition: None,
    };
    while state.at < pattern.len() {
        state.token()?;
    }
    match state.outer.len() {
        0 => Ok(Translated { text: state.out, names: state.names }),
        _ => Err(state.error("missing closing )", 0, pattern.len())),
    }
}

/// Where the rewriting stands.
struct Translator<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    names: Vec<Option<String>>,
    /// For every open group, how often the group around it repeats something at most.
    outer: Vec<u32>,
    /// How often something in this group is repeated at most, repetitions of repetitions multiplied.
    repeats: u32,
    /// The same for what stands last.
    last: u32,
    /// Whether something stands before that a repetition could refer to.
    can_repeat: bool,
    /// Start of the repetition that was the last token, if it was one.
    repetition: Option<usize>,
}

impl Translator<'_> {
    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, problem: &'static str, start: usize, end: usize) -> InvalidPattern {
        InvalidPattern { problem, at: self.pattern.get(start..end).unwrap_or_default().to_owned() }
    }

    /// Rewrites the next token.
    fn token(&mut self) -> Result<(), InvalidPattern> {
        let start = self.at;
        let Some(char) = self.next() else { return Ok(()) };
        let was_repetition = self.repetition.take();
        match char {
            '(' => return self.open(),
            ')' if self.outer.is_empty() => return Err(self.error("unexpected )", 0, self.pattern.len())),
            ')' => {
                self.last = std::mem::replace(&mut self.repeats, self.outer.pop().unwrap_or(1));
                self.repeats = self.repeats.max(self.last);
                self.copy(1);
                self.can_repeat = true;
                return Ok(());
            }
            '|' => {
                self.copy(1);
                self.can_repeat = false;
                return Ok(());
            }
            '*' | '+' | '?' => return self.repeat(start, was_repetition, 1),
            '{' => match self.counts()? {
                Some((length, count)) => {
                    self.multiply(count, length)?;
                    return self.repeat(start, was_repetition, length);
                }
                None => self.literal_at(1, '{'),
            },
            '[' => self.class()?,
            '\\' => self.backslash()?,
            '^' | '$' | '.' => self.copy(1),
            char => self.literal_at(char.len_utf8(), char),
        }
        self.can_repeat = true;
        self.last = 1;
        Ok(())
    }

    /// Takes bytes of the pattern over as they are.
    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.pattern[self.at..self.at + length]);
        self.at += length;
    }

    /// Replaces bytes of the pattern by a character that stands for itself.
    fn literal_at(&mut self, length: usize, char: char) {
        self.at += length;
        if regex_syntax::is_meta_character(char) {
            self.out.push('\\');
        }
        self.out.push(char);
    }

    /// Takes a repetition over, with its `?`.
    fn repeat(&mut self, start: usize, previous: Option<usize>, length: usize) -> Result<(), InvalidPattern> {
        let is_lazy = self.pattern[start + length..].starts_with('?');
        let end = start + length + usize::from(is_lazy);
        if let Some(previous) = previous {
            return Err(self.error("invalid nested repetition operator", previous, end));
        }
        if !self.can_repeat {
            return Err(self.error("missing argument to repetition operator", start, start + length));
        }
        self.copy(end - start);
        self.repetition = Some(start);
        Ok(())
    }

    /// Counts the repetition of what stands last.
    fn multiply(&mut self, count: u32, length: usize) -> Result<(), InvalidPattern> {
        // Nothing is repeated zero times, whatever is in it.
        let product = if count == 0 { 1 } else { self.last.saturating_mul(count) };
        if product > MAX_REPEAT {
            return Err(self.error("invalid repeat count", self.at, self.at + length));
        }
        self.last = product;
        self.repeats = self.repeats.max(product);
        Ok(())
    }

    /// Length and highest count of the `{n}`, `{n,}` or `{n,m}` that begins here; `None` if the brace stands for itself.
    fn counts(&self) -> Result<Option<(usize, u32)>, InvalidPattern> {
        let Some(end) = self.rest().find('}') else { return Ok(None) };
        let inner = &self.rest()[1..end];
        let (min, max) = inner.split_once(',').map_or((inner, None), |(min, max)| (min, Some(max)));
        let is_count = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'))
        };
        let max = max.filter(|max| !max.is_empty());
        if !is_count(min) || max.is_some_and(|max| !is_count(max)) {
            return Ok(None);
        }
        let count = |text: &str| text.parse::<u32>().ok().filter(|&count| count <= MAX_REPEAT);
        match (count(min), max.map(count)) {
            (Some(min), None) => Ok(Some((end + 1, min))),
            (Some(min), Some(Some(max))) if min <= max => Ok(Some((end + 1, max))),
            _ => Err(self.error("invalid repeat count", self.at, self.at + end + 1)),
        }
    }

    /// Opens a group, or changes flags.
    fn open(&mut self) -> Result<(), InvalidPattern> {
        if !self.rest().starts_with("(?") {
            self.names.push(None);
            self.copy(1);
        } else if self.rest().starts_with("(?P<") || self.rest().starts_with("(?<") {
            self.named_group()?;
        } else if self.flags()? {
            return Ok(());
        }
        self.outer.push(std::mem::replace(&mut self.repeats, 1));
        self.can_repeat = false;
        Ok(())
    }

    /// Opens `(?P<name>` or `(?<name>`.
    fn named_group(&mut self) -> Result<(), InvalidPattern> {
        let start = self.at;
        let Some(end) = self.rest().find('>').map(|end| start + end) else {
            return Err(self.error("invalid named capture", start, self.pattern.len()));
        };
        let name = self.pattern[start..end].split_once('<').map_or("", |(_, name)| name);
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_word) {
            return Err(self.error("invalid named capture", start, end + 1));
        }
        self.names.push(Some(name.to_owned()));
        self.out.push('(');
        self.at = end + 1;
        Ok(())
    }

    /// Takes `(?flags)` or `(?flags:` over; true if it was the former, which opens no group.
    fn flags(&mut self) -> Result<bool, InvalidPattern> {
        let start = self.at;
        let (mut on, mut off) = (String::new(), String::new());
        let mut is_negative = false;
        for (offset, char) in self.pattern[start + 2..].char_indices() {
            let end = start + 2 + offset + char.len_utf8();
            match char {
                'i' | 'm' | 's' | 'U' => {
                    let flags = if is_negative { &mut off } else { &mut on };
                    if !flags.contains(char) {
                        flags.push(char);
                    }
                }
                '-' if !is_negative => is_negative = true,
                ':' | ')' if !is_negative || !off.is_empty() => {
                    on.retain(|flag| !off.contains(flag));
                    let sign = if off.is_empty() { "" } else { "-" };
                    // An empty change of flags is nothing, which `regex` cannot read.
                    if char == ':' || !(on.is_empty() && off.is_empty()) {
                        self.out.push_str(&format!("(?{on}{sign}{off}{char}"));
                    }
                    self.at = end;
                    return Ok(char == ')');
                }
                _ => return Err(self.error("invalid or unsupported Perl syntax", start, end)),
            }
        }
        Err(self.error("missing closing )", 0, self.pattern.len()))
    }

    /// Rewrites an escape outside of a class.
    fn backslash(&mut self) -> Result<(), InvalidPattern> {
        let kind = self.rest().chars().nth(1);
        let ascii = match kind {
            Some('Q') => return self.quoted(),
            Some(kind @ ('A' | 'z')) => &format!("\\{kind}"),
            Some('p' | 'P') => return self.unicode_class(),
            Some('b') => r"(?-u:\b)",
            Some('B') => r"(?-u:\B)",
            Some(kind) if perl_class(kind).is_some() => &format!("[{}]", perl_class(kind).unwrap_or_default()),
            _ => {
                let char = self.escape()?;
                self.literal_at(0, char);
                return Ok(());
            }
        };
        self.out.push_str(ascii);
        self.at += 2;
        Ok(())
    }

    /// Rewrites `\Q…\E`: everything between stands for itself.
    fn quoted(&mut self) -> Result<(), InvalidPattern> {
        let inner = &self.pattern[self.at + 2..];
        let (text, length) = inner.split_once(r"\E").map_or((inner, inner.len()), |(text, _)| (text, text.len() + 2));
        // A repetition after it refers to the last character only, as the characters are separate tokens.
        self.out.push_str(&regex_syntax::escape(text));
        self.at += 2 + length;
        Ok(())
    }

    /// Rewrites `\pN`, `\p{Name}` or `\p{^Name}`.
    fn unicode_class(&mut self) -> Result<(), InvalidPattern> {
        let start = self.at;
        let rest = self.rest();
        let after = rest.strip_prefix(r"\p").or_else(|| rest.strip_prefix(r"\P")).unwrap_or_default();
        let found = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map(|(name, _)| (name, name.len() + 4)),
            None => after.chars().next().map(|char| (&after[..char.len_utf8()], 2 + char.len_utf8())),
        };
        let Some((name, length)) = found else {
            return Err(self.error("invalid character class range", start, self.pattern.len()));
        };
        let Some(class) = unicode::class(name, rest.starts_with(r"\P")) else {
            return Err(self.error("invalid character class range", start, start + length));
        };
        self.out.push_str(&class);
        self.at += length;
        Ok(())
    }

    /// Takes an escape that stands for one character, and says which.
    fn escape(&mut self) -> Result<char, InvalidPattern> {
        let start = self.at;
        let invalid = |end: usize| self.error("invalid escape sequence", start, end);
        let after = &self.pattern[start + 1..];
        let Some(kind) = after.chars().next() else {
            return Err(self.error("trailing backslash at end of expression", start, start));
        };
        let digits = |text: &str, radix: u32, limit: usize| {
            text.chars().take(limit).take_while(|char| char.is_digit(radix)).count()
        };
        let end = start + 1 + kind.len_utf8();
        let (char, length) = match kind {
            'a' => ('\x07', 1),
            'f' => ('\x0c', 1),
            'n' => ('\n', 1),
            'r' => ('\r', 1),
            't' => ('\t', 1),
            'v' => ('\x0b', 1),
            'x' => return self.hexadecimal(),
            // One digit alone would be a back-reference, which RE2 does not have.
            '1'..='7' if digits(&after[1..], 8, 1) == 0 => return Err(invalid(end)),
            '0'..='7' => {
                let length = 1 + digits(&after[1..], 8, 2);
                (u32::from_str_radix(&after[..length], 8).ok().and_then(char::from_u32).unwrap_or_default(), length)
            }
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => (char, 1),
            _ => return Err(invalid(end)),
        };
        self.at += 1 + length;
        Ok(char)
    }

    /// Takes `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<char, InvalidPattern> {
        let start = self.at;
        let after = &self.pattern[start + 2..];
        let found = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map(|(digits, _)| (digits, digits.len() + 2)),
            None => after.get(..2).map(|digits| (digits, 2)),
        };
        let char = found.filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_hexdigit())).and_then(
            |(digits, length)| Some((u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?, length)),
        );
        let Some((char, length)) = char else {
            let end = start + 2 + after.chars().next().map_or(0, char::len_utf8);
            return Err(self.error("invalid escape sequence", start, end));
        };
        self.at += 2 + length;
        Ok(char)
    }
}
