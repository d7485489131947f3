//! How Go's `fmt` prints values with `%v`.

use std::fmt::Write as _;

use crate::Value;

/// Deepest nesting that is printed; a map may contain itself.
const MAX_DEPTH: usize = 50;

/// The power of ten from which floats are printed with an exponent.
const EXPONENT_FROM: i32 = 6;

/// The value as `%v` prints it.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

/// The value as an action prints it: no value at all is told.
pub(crate) fn action(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        value => text(value),
    }
}

fn write(out: &mut String, value: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return out.push_str("...");
    }
    match value {
        Value::Nil => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&float(*value)),
        Value::String(value) => out.push_str(value),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " " });
                write(out, item, depth + 1);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (index, (key, value)) in map.entries().iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " " });
                write(out, key, depth + 1);
                out.push(':');
                write(out, value, depth + 1);
            }
            out.push(']');
        }
        Value::Struct(value) => {
            if let Some(display) = &value.display {
                return out.push_str(display);
            }
            out.push('{');
            for (index, field) in value.fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " " });
                write(out, &field.value, depth + 1);
            }
            out.push('}');
        }
    }
}

/// `%v` of a float: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..EXPONENT_FROM).contains(&power) {
        format!("{value}")
    } else {
        format!("{digits}e{}", signed(power))
    }
}

/// An exponent with its sign and at least two digits.
pub(crate) fn signed(power: i32) -> String {
    format!("{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

/// `strconv.Quote`.
pub(crate) fn quote(text: &str) -> String {
    quoted(text.chars(), '"', escape)
}

/// `strconv.QuoteToASCII`.
pub(crate) fn quote_ascii(text: &str) -> String {
    quoted(text.chars(), '"', escape_to_ascii)
}

/// `strconv.QuoteRune`.
pub(crate) fn quote_char(c: char) -> String {
    quoted([c], '\'', escape)
}

/// `strconv.QuoteRuneToASCII`.
pub(crate) fn quote_char_ascii(c: char) -> String {
    quoted([c], '\'', escape_to_ascii)
}

fn quoted(chars: impl IntoIterator<Item = char>, quote: char, escape: fn(&mut String, char)) -> String {
    let mut out = String::from(quote);
    for c in chars {
        if c == quote {
            out.push('\\');
            out.push(c);
        } else {
            escape(&mut out, c);
        }
    }
    out.push(quote);
    out
}

fn escape_to_ascii(out: &mut String, c: char) {
    if c.is_ascii() { escape(out, c) } else { code(out, c) }
}

/// A character by its number.
fn code(out: &mut String, c: char) {
    let _ = match u32::from(c) {
        code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
}

fn escape(out: &mut String, c: char) {
    let _ = match c {
        '\\' => write!(out, "\\\\"),
        '\u{7}' => write!(out, "\\a"),
        '\u{8}' => write!(out, "\\b"),
        '\u{c}' => write!(out, "\\f"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\u{b}' => write!(out, "\\v"),
        ' ' => write!(out, " "),
        c if u32::from(c) < 0x20 || c == '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)),
        c if c.is_control() || (c.is_whitespace() && c != ' ') || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}') => {
            return code(out, c);
        }
        c => write!(out, "{c}"),
    };
}
