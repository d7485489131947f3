//! Texts as identifiers: `snakecase`, `kebabcase`, `camelcase`.
//!
//! Source of behaviour: huandu/xstrings 1.5, on which Sprig 3.3 calls.

use super::text;
use crate::{case, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("snakecase", "s", |args| Ok(separated(&text(&args[0]), '_').into())),
    ("kebabcase", "s", |args| Ok(separated(&text(&args[0]), '-').into())),
    ("camelcase", "s", |args| Ok(pascal(&text(&args[0])).into())),
];

/// What a run of characters is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Number,
    /// Upper case, perhaps with the lower case behind it.
    Upper,
    Lower,
    Connector,
    Punctuation,
    Other,
}

impl Class {
    fn of(c: char) -> Self {
        match c {
            c if is_connector(c) => Self::Connector,
            c if is_punctuation(c) => Self::Punctuation,
            c if c.is_uppercase() => Self::Upper,
            c if is_letter(c) => Self::Lower,
            c if c.is_numeric() => Self::Number,
            _ => Self::Other,
        }
    }

    /// Whether nothing is put before such a run: it divides already.
    fn divides(self) -> bool {
        matches!(self, Self::Connector | Self::Punctuation)
    }
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn is_punctuation(c: char) -> bool {
    match c {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' => true,
        c => c.is_ascii_punctuation(),
    }
}

/// A letter of a script with words; ideographs are none.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// The runs of a text: `HTTPServer 2x` has `HTTP`, `Server`, the space, `2`, `x`.
fn runs(text: &str) -> Vec<(Class, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let class = Class::of(first);
        let same = |text: &str| text.find(|c| Class::of(c) != class).unwrap_or(text.len());
        let lower = |text: &str| text.find(|c| Class::of(c) != Class::Lower).unwrap_or(text.len());
        let mut length = same(rest);
        if class == Class::Upper && lower(&rest[length..]) > 0 {
            let last = rest[..length].chars().next_back().map_or(0, char::len_utf8);
            // The last of several capitals begins the next word.
            length = if length > last { length - last } else { length + lower(&rest[length..]) };
        }
        let (run, behind) = rest.split_at(length);
        found.push((class, run));
        rest = behind;
    }
    found
}

/// The words of an identifier in lower case with the connector between. A number stays with the word before it, unless
/// lower case follows. Other characters than letters, digits and connectors stay.
fn separated(text: &str, connector: char) -> String {
    let runs = runs(text);
    let class = |at: usize| runs.get(at).map(|(class, _)| *class);
    let joins = |at: usize| matches!(class(at), Some(Class::Lower | Class::Number));
    let mut out = String::with_capacity(text.len() + 8);
    let put = |out: &mut String, at: usize| match runs[at] {
        (Class::Connector, run) => out.extend(run.chars().map(|_| connector)),
        (_, run) => out.extend(run.chars().map(case::lower)),
    };
    let mut at = 0;
    while at < runs.len() {
        let this = runs[at].0;
        put(&mut out, at);
        at += 1;
        let mut after_number = this == Class::Number;
        match this {
            Class::Connector | Class::Punctuation => continue,
            Class::Upper | Class::Lower | Class::Other if class(at) == Some(Class::Number) => {
                if at + 1 == runs.len() {
                    put(&mut out, at);
                    break;
                }
                after_number = class(at + 1) == Some(Class::Lower);
                if after_number {
                    out.push(connector);
                }
                put(&mut out, at);
                at += 1;
            }
            _ => {}
        }
        while after_number && joins(at) {
            put(&mut out, at);
            at += 1;
        }
        if class(at).is_some_and(|class| !class.divides()) {
            out.push(connector);
        }
    }
    out
}

/// Words with a capital each and nothing between; of several connectors in a row all but one stay, as do those at the start.
fn pascal(text: &str) -> String {
    let begin = text.find(|c| !is_connector(c)).unwrap_or(text.len());
    let mut out = text[..begin].to_owned();
    let mut chars = text[begin..].chars();
    let Some(first) = chars.next() else {
        out.extend(text.chars().next_back());
        return out;
    };
    let mut within_capitals = first.is_uppercase();
    let mut pending = case::upper(first).to_string();
    let mut pending_connects = false;
    for c in chars {
        let connects = is_connector(c);
        let mut next = c.to_string();
        match (pending_connects, connects) {
            (true, true) => out.push_str(&pending),
            (true, false) => {
                within_capitals = c.is_uppercase();
                next = case::upper(c).to_string();
            }
            (false, _) => {
                within_capitals &= c.is_uppercase();
                if within_capitals {
                    next = case::lower(c).to_string();
                }
                out.push_str(&pending);
            }
        }
        (pending, pending_connects) = (next, connects);
    }
    out + &pending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_cut_as_sprig_cuts_them() {
        for (text, snake, kebab, camel) in [
            ("FirstName", "first_name", "first-name", "FirstName"),
            ("HTTPServerName", "http_server_name", "http-server-name", "HttpserverName"),
            ("http2xx", "http_2xx", "http-2xx", "Http2xx"),
            ("Bld4Floor3rd", "bld4_floor_3rd", "bld4-floor-3rd", "Bld4Floor3rd"),
            ("HTTP20xOK", "http_20x_ok", "http-20x-ok", "Http20xOK"),
            ("/a/b/../file.tar.gz", "/a/b/../file.tar.gz", "/a/b/../file.tar.gz", "/a/b/../file.tar.gz"),
            ("v1.2.3-rc.1+build", "v1.2.3_rc.1_+_build", "v1.2.3-rc.1-+-build", "V1.2.3Rc.1+build"),
            ("aGVsbG8=", "a_g_vsb_g8_=", "a-g-vsb-g8-=", "AGVsbG8="),
            ("  padded text ", "__padded_text_", "--padded-text-", "  PaddedText "),
            ("_complex__case_", "_complex__case_", "-complex--case-", "_Complex_Case_"),
            ("ver10", "ver10", "ver10", "Ver10"),
            ("_", "_", "-", "__"),
            ("", "", "", ""),
        ] {
            assert_eq!((separated(text, '_'), separated(text, '-')), (snake.to_owned(), kebab.to_owned()), "{text}");
            assert_eq!(pascal(text), camel, "{text}");
        }
    }
}
