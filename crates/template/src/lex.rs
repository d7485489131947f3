//! Cuts a template into tokens. Source of the rules: Go 1.26 `text/template/parse`.

use crate::Error;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Open,
    Close,
    Assign,
    Declare,
    Comma,
    Pipe,
    LeftParen,
    RightParen,
    Space,
    Dot,
    Field,
    Variable,
    Identifier,
    Keyword,
    Bool,
    Number,
    Char,
    String,
    RawString,
    /// Another printable ASCII character, which has no place in a template.
    Mark,
    End,
}

/// A piece of the template's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'t> {
    pub kind: Kind,
    /// Offset in bytes.
    pub at: usize,
    pub text: &'t str,
    /// From 1.
    pub line: usize,
}

const KEYWORDS: [&str; 11] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"];

struct Lexer<'t> {
    name: &'t str,
    text: &'t str,
    at: usize,
    /// Where the last counted line ends, and its number.
    counted: (usize, usize),
    parens: usize,
    tokens: Vec<Token<'t>>,
}

/// The tokens up to the first thing that is none, and what is wrong there: the parser may find an earlier mistake.
pub(crate) fn tokens<'t>(name: &'t str, text: &'t str) -> (Vec<Token<'t>>, Option<Error>) {
    let mut lexer = Lexer { name, text, at: 0, counted: (0, 1), parens: 0, tokens: Vec::new() };
    let error = lexer.run().err();
    lexer.push(Kind::End, lexer.text.len(), lexer.text.len());
    (lexer.tokens, error)
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn line_at(&mut self, at: usize) -> usize {
        if at > self.counted.0 {
            let more = self.text.as_bytes()[self.counted.0..at].iter().filter(|&&byte| byte == b'\n').count();
            self.counted = (at, self.counted.1 + more);
        }
        self.counted.1
    }

    fn fail<T>(&mut self, what: &str) -> Result<T, Error> {
        let line = self.line_at(self.at);
        Err(Error::parse(self.name, line, what))
    }

    fn push(&mut self, kind: Kind, from: usize, to: usize) {
        let line = self.line_at(from);
        self.tokens.push(Token { kind, at: from, text: &self.text[from..to], line });
    }

    /// Pushes a token of the next `length` bytes and goes past it.
    fn take(&mut self, kind: Kind, length: usize) {
        self.push(kind, self.at, self.at + length);
        self.at += length;
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut trim_front = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let mut piece = &rest[..open.unwrap_or(rest.len())];
            let (from, length) = (self.at, piece.len());
            let front = if trim_front { piece.len() - piece.trim_start_matches(is_space).len() } else { 0 };
            let trims_back = open.is_some_and(|open| trims_left(&rest[open + 2..]));
            piece = &piece[front..];
            if trims_back {
                piece = piece.trim_end_matches(is_space);
            }
            if !piece.is_empty() {
                self.push(Kind::Text, from + front, from + front + piece.len());
            }
            self.at += length;
            if open.is_none() {
                return Ok(());
            }
            trim_front = self.action(trims_back)?;
        }
    }

    /// Reads from `{{` to past `}}`; says whether the text behind is to be trimmed.
    fn action(&mut self, trimmed: bool) -> Result<bool, Error> {
        let delimiter = if trimmed { 4 } else { 2 };
        if self.text[self.at + if trimmed { 4 } else { 2 }..].starts_with("/*") {
            return self.comment(delimiter);
        }
        self.push(Kind::Open, self.at, self.at + 2);
        self.at += if trimmed { 3 } else { 2 };
        self.parens = 0;
        loop {
            if let Some((length, trims)) = close(self.rest()) {
                if self.parens > 0 {
                    return self.fail("unclosed left paren");
                }
                self.take(Kind::Close, length);
                return Ok(trims);
            }
            self.inside()?;
        }
    }

    fn comment(&mut self, delimiter: usize) -> Result<bool, Error> {
        let body = self.at + delimiter + 2;
        let Some(end) = self.text[body..].find("*/") else {
            return self.fail("unclosed comment");
        };
        let behind = body + end + 2;
        let Some((length, trims)) = close(&self.text[behind..]) else {
            return self.fail("comment ends before closing delimiter");
        };
        self.at = behind + length;
        Ok(trims)
    }

    /// Reads one token inside an action.
    fn inside(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { return self.fail("unclosed action") };
        match first {
            ' ' | '\t' | '\r' | '\n' => self.spaces(),
            '=' => self.take(Kind::Assign, 1),
            ':' if rest.starts_with(":=") => self.take(Kind::Declare, 2),
            ':' => return self.fail("expected :="),
            '|' => self.take(Kind::Pipe, 1),
            ',' => self.take(Kind::Comma, 1),
            '"' => return self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => return self.quoted('\'', Kind::Char, "unterminated character constant"),
            '`' => match rest[1..].find('`') {
                Some(end) => self.take(Kind::RawString, end + 2),
                None => return self.fail("unterminated raw quoted string"),
            },
            '$' => return self.name(Kind::Variable, 1),
            '.' if !chars.next().is_some_and(|next| next.is_ascii_digit()) => return self.name(Kind::Field, 1),
            '.' | '+' | '-' | '0'..='9' => return self.number(),
            '(' => {
                self.take(Kind::LeftParen, 1);
                self.parens += 1;
            }
            ')' if self.parens == 0 => return self.fail("unexpected right paren"),
            ')' => {
                self.take(Kind::RightParen, 1);
                self.parens -= 1;
            }
            first if is_word(first) => return self.name(Kind::Identifier, 0),
            mark if mark.is_ascii_graphic() => self.take(Kind::Mark, 1),
            other => {
                let what = format!("unrecognized character in action: {}", unicode(other));
                return self.fail(&what);
            }
        }
        Ok(())
    }

    /// A run of spaces; the last one may belong to the closing delimiter.
    fn spaces(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(is_space).len();
        if rest[length..].starts_with("-}}") {
            length -= 1;
        }
        if length > 0 {
            self.take(Kind::Space, length);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, error: &str) -> Result<(), Error> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.take(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.fail(error)
    }

    /// `$name`, `.Name` or `name`, which must be followed by something that ends it.
    fn name(&mut self, kind: Kind, prefix: usize) -> Result<(), Error> {
        let rest = self.rest();
        let length = prefix + rest[prefix..].find(|c| !is_word(c)).unwrap_or(rest.len() - prefix);
        let word = &rest[..length];
        let behind = &rest[length..];
        let ends = behind.starts_with("}}")
            || behind.chars().next().is_none_or(|c| is_space(c) || matches!(c, '.' | ',' | '|' | ':' | '(' | ')'));
        if !ends && word != "$" && word != "." {
            self.at += length;
            let bad = behind.chars().next().unwrap_or_default();
            return self.fail(&format!("bad character {}", unicode(bad)));
        }
        let kind = match word {
            "." => Kind::Dot,
            "true" | "false" => Kind::Bool,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => kind,
        };
        self.take(kind, length);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let length = crate::number::scan(rest);
        if rest[length..].chars().next().is_some_and(is_word) || !rest[..length].contains(|c: char| c.is_ascii_digit())
        {
            let end = length + rest[length..].chars().next().map_or(0, char::len_utf8);
            return self.fail(&format!("bad number syntax: {}", crate::print::quote(&rest[..end])));
        }
        self.take(Kind::Number, length);
        Ok(())
    }
}

/// Length of the closing delimiter at the start of the text, and whether it trims.
fn close(text: &str) -> Option<(usize, bool)> {
    if text.starts_with("}}") {
        return Some((2, false));
    }
    let trimmed = text.strip_prefix(is_space).is_some_and(|text| text.starts_with("-}}"));
    trimmed.then_some((4, true))
}

fn trims_left(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|text| text.starts_with(is_space))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// As Go's `%#U`.
fn unicode(c: char) -> String {
    match c {
        c if c.is_control() => format!("U+{:04X}", u32::from(c)),
        c => format!("U+{:04X} '{c}'", u32::from(c)),
    }
}
