//! Go's `fmt`: `Sprint`, `Sprintln`, `Sprintf`.

use crate::{
    Value,
    print::{self, Form},
};

mod number;

/// Widest padding and precision; Go has the same bound.
const MAX_WIDTH: i64 = 1_000_000;

/// Operands in a row, with a space between two that are no texts.
pub(crate) fn sprint(values: &[Value]) -> String {
    let mut out = String::new();
    let mut previous_is_text = true;
    for value in values {
        let is_text = matches!(value, Value::String(_));
        if !is_text && !previous_is_text {
            out.push(' ');
        }
        out.push_str(&print::text(value));
        previous_is_text = is_text;
    }
    out
}

/// Operands with spaces between, and a newline.
pub(crate) fn sprintln(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(print::text).collect();
    texts.join(" ") + "\n"
}

/// The text that `html`, `js` and `urlquery` work on.
pub(crate) fn arguments(values: &[Value]) -> String {
    let told = |value: &Value| match value {
        Value::Nil => print::action(value).into(),
        value => value.clone(),
    };
    match values {
        [Value::String(text)] => text.to_string(),
        values => sprint(&values.iter().map(told).collect::<Vec<_>>()),
    }
}

/// The flags, width and precision of a verb.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Go's `fmt.Sprintf`.
pub(crate) fn sprintf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut used = 0;
    let mut reordered = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        flags(&mut chars, &mut spec);
        reordered |= explicit(&mut chars, &mut used);
        spec.width = size(&mut chars, values, &mut used, &mut spec.minus, &mut out, "%!(BADWIDTH)");
        if spec.minus {
            spec.zero = false;
        }
        if chars.next_if_eq(&'.').is_some() {
            reordered |= explicit(&mut chars, &mut used);
            let mut negative = false;
            let read = size(&mut chars, values, &mut used, &mut negative, &mut out, "%!(BADPREC)");
            spec.precision = if negative { None } else { Some(read.unwrap_or(0)) };
        }
        reordered |= explicit(&mut chars, &mut used);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match values.get(used) {
                Some(value) => {
                    used += 1;
                    put(&mut out, verb, spec, value, 0);
                }
                None if reordered => out.push_str(&format!("%!{verb}(BADINDEX)")),
                None => out.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    if !reordered && used < values.len() {
        let extra: Vec<String> = values[used..]
            .iter()
            .map(|value| match value {
                Value::Nil => "<nil>".to_owned(),
                value => format!("{}={}", value.type_name(), print::text(value)),
            })
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

type Chars<'f> = std::iter::Peekable<std::str::Chars<'f>>;

fn flags(chars: &mut Chars<'_>, spec: &mut Spec) {
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
        match flag {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            _ => spec.zero = true,
        }
    }
}

/// `[n]`: the next operand is the n-th.
fn explicit(chars: &mut Chars<'_>, used: &mut usize) -> bool {
    if chars.next_if_eq(&'[').is_none() {
        return false;
    }
    let inside: String = std::iter::from_fn(|| chars.next_if(|&c| c != ']')).collect();
    chars.next();
    match inside.parse::<usize>() {
        Ok(wanted) if wanted > 0 => *used = wanted - 1,
        _ => *used = usize::MAX,
    }
    true
}

fn size(
    chars: &mut Chars<'_>,
    values: &[Value],
    used: &mut usize,
    minus: &mut bool,
    out: &mut String,
    bad: &str,
) -> Option<usize> {
    let number = if chars.next_if_eq(&'*').is_some() {
        let value = values.get(*used);
        *used = used.saturating_add(1);
        match value {
            Some(Value::Int(size)) if size.abs() <= MAX_WIDTH => *size,
            _ => {
                out.push_str(bad);
                return None;
            }
        }
    } else {
        let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
        if digits.is_empty() {
            return None;
        }
        digits.parse::<i64>().ok().filter(|size| *size <= MAX_WIDTH)?
    };
    *minus |= number < 0;
    usize::try_from(number.abs()).ok()
}

/// One operand under one verb; composite values apply it to their elements.
fn put(out: &mut String, verb: char, spec: Spec, value: &Value, depth: usize) {
    if depth > 50 {
        return out.push_str("...");
    }
    match (verb, value) {
        ('T', value) => string(out, 's', spec, value.type_name()),
        ('v', value) if depth == 0 => verb_v(out, spec, value),
        (_, Value::Nil) if depth > 0 => out.push_str("<nil>"),
        (verb, Value::Nil) => out.push_str(&format!("%!{verb}(<nil>)")),
        ('t' | 'v', Value::Bool(value)) => pad(out, spec, if *value { "true" } else { "false" }),
        (_, Value::Int(whole)) => number::whole(out, verb, spec, *whole),
        (_, Value::Float(float)) => number::float(out, verb, spec, *float),
        (_, Value::String(text)) => string(out, verb, spec, text),
        (_, Value::Struct(inner)) if inner.display.is_some() && matches!(verb, 's' | 'q' | 'x' | 'X' | 'v') => {
            string(out, verb, spec, inner.display.as_deref().unwrap_or_default());
        }
        (_, Value::List(list)) => {
            out.push('[');
            for (index, item) in list.items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " " });
                put(out, verb, spec, item, depth + 1);
            }
            out.push(']');
        }
        (_, Value::Map(map)) => {
            out.push_str("map[");
            for (index, (key, value)) in map.entries().iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " " });
                put(out, verb, spec, key, depth + 1);
                out.push(':');
                put(out, verb, spec, value, depth + 1);
            }
            out.push(']');
        }
        (_, Value::Struct(inner)) => {
            out.push('{');
            for (index, field) in inner.fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " " });
                if verb == 'v' && spec.plus {
                    out.push_str(field.name);
                    out.push(':');
                }
                put(out, verb, spec, &field.value, depth + 1);
            }
            out.push('}');
        }
        (verb, other) => bad_verb(out, verb, spec, other),
    }
}

fn verb_v(out: &mut String, spec: Spec, value: &Value) {
    match value {
        Value::String(text) if spec.sharp => pad(out, spec, &print::quote(text)),
        Value::Int(whole) => number::whole(out, 'd', spec, *whole),
        Value::Float(float) => number::float(out, 'v', spec, *float),
        Value::List(_) | Value::Map(_) | Value::Struct(_) if spec.width.is_some() => {
            put(out, 'v', Spec { sharp: false, ..spec }, value, 1);
        }
        value => {
            let mut text = String::new();
            let form = if spec.plus { Form::Names } else { Form::Plain };
            print::write(&mut text, value, form, 0);
            pad(out, Spec { precision: None, ..spec }, &text);
        }
    }
}

/// A verb that does not suit the operand; width and precision hold for its plain form all the same.
fn bad_verb(out: &mut String, verb: char, spec: Spec, value: &Value) {
    out.push_str(&format!("%!{verb}({}=", value.type_name()));
    put(out, 'v', spec, value, 1);
    out.push(')');
}

fn string(out: &mut String, verb: char, spec: Spec, text: &str) {
    let cut = |text: &str| match spec.precision {
        Some(limit) => text.chars().take(limit).collect(),
        None => text.to_owned(),
    };
    match verb {
        's' | 'v' => pad(out, spec, &cut(text)),
        'q' if spec.sharp && !text.contains('`') && !text.chars().any(|c| c.is_control() && c != '\t') => {
            pad(out, spec, &format!("`{}`", cut(text)));
        }
        'q' => pad(out, spec, &print::quote(&cut(text))),
        'x' | 'X' => {
            let bytes = text.as_bytes();
            let bytes = &bytes[..spec.precision.unwrap_or(bytes.len()).min(bytes.len())];
            let separator = if spec.space { " " } else { "" };
            let prefix = if spec.sharp { "0x" } else { "" };
            let each = if spec.space { prefix } else { "" };
            let mut digits: Vec<String> = bytes.iter().map(|byte| format!("{each}{byte:02x}")).collect();
            if !spec.space && !digits.is_empty() {
                digits[0] = format!("{prefix}{}", digits[0]);
            }
            let joined = digits.join(separator);
            pad(out, spec, &if verb == 'X' { joined.to_uppercase() } else { joined });
        }
        verb => bad_verb(out, verb, spec, &Value::from(text)),
    }
}

/// Pads to the width, with zeros on the left if asked.
fn pad(out: &mut String, spec: Spec, text: &str) {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else {
        out.extend(std::iter::repeat_n(if spec.zero { '0' } else { ' ' }, missing));
        out.push_str(text);
    }
}
