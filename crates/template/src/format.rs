//! Go's `fmt`: `Sprint`, `Sprintln`, `Sprintf`.

use crate::{Value, print};

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
    /// Of `%+v`: structs with the names of their fields.
    names: bool,
    /// Of `%#v`: values as Go's source writes them.
    syntax: bool,
}

/// The operands of a format, and which of them is next.
struct Operands<'v> {
    values: &'v [Value],
    next: usize,
    /// Whether an index in brackets was given anywhere.
    reordered: bool,
    /// Whether the indexes of the verb at hand lead to operands.
    good: bool,
}

/// Go's `fmt.Sprintf`. Source: Go `fmt/print.go`, `doPrintf`.
pub(crate) fn sprintf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut operands = Operands { values, next: 0, reordered: false, good: true };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        operands.good = true;
        let spec = operands.spec(&mut chars, &mut out);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) if !operands.good => out.push_str(&format!("%!{verb}(BADINDEX)")),
            Some(verb) => match values.get(operands.next) {
                Some(value) => {
                    operands.next += 1;
                    put(&mut out, verb, spec.of(verb), value, 0);
                }
                None => out.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    if !operands.reordered && operands.next < values.len() {
        let extra: Vec<String> = values[operands.next..]
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

impl Operands<'_> {
    /// What stands between the percent sign and the verb.
    fn spec(&mut self, chars: &mut Chars<'_>, out: &mut String) -> Spec {
        let mut spec = flags(chars);
        let mut indexed = self.index(chars);
        if chars.next_if_eq(&'*').is_some() {
            let width = self.size();
            if width.is_none() {
                out.push_str("%!(BADWIDTH)");
            }
            spec.minus |= width.is_some_and(|width| width < 0);
            spec.width = width.and_then(|width| usize::try_from(width.abs()).ok());
            indexed = false;
        } else {
            spec.width = digits(chars);
            self.good &= !(indexed && spec.width.is_some());
        }
        if spec.minus {
            spec.zero = false;
        }
        // A point that ends the format is taken for the verb.
        if chars.clone().nth(1).is_some() && chars.next_if_eq(&'.').is_some() {
            self.good &= !indexed;
            indexed = self.index(chars);
            if chars.next_if_eq(&'*').is_some() {
                spec.precision = self.size().and_then(|precision| usize::try_from(precision).ok());
                if spec.precision.is_none() {
                    out.push_str("%!(BADPREC)");
                }
                indexed = false;
            } else {
                spec.precision = Some(digits(chars).unwrap_or(0));
            }
        }
        if !indexed {
            self.index(chars);
        }
        spec
    }

    /// `[n]`: the next operand is the n-th. Whether that was written.
    fn index(&mut self, chars: &mut Chars<'_>) -> bool {
        if chars.next_if_eq(&'[').is_none() {
            return false;
        }
        self.reordered = true;
        let closes = chars.clone().any(|c| c == ']');
        let inside: String = if closes { chars.by_ref().take_while(|&c| c != ']').collect() } else { String::new() };
        match inside.parse::<usize>() {
            Ok(wanted) if (1..=self.values.len()).contains(&wanted) => self.next = wanted - 1,
            _ => self.good = false,
        }
        closes
    }

    /// The operand that `*` stands for; none if it is no size.
    fn size(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(size) if size.abs() <= MAX_WIDTH => Some(*size),
            _ => None,
        }
    }
}

fn flags(chars: &mut Chars<'_>) -> Spec {
    let mut spec = Spec::default();
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
        match flag {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            _ => spec.zero = true,
        }
    }
    spec
}

fn digits(chars: &mut Chars<'_>) -> Option<usize> {
    let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
    digits.parse().ok().filter(|size| i64::try_from(*size).is_ok_and(|size| size <= MAX_WIDTH))
}

impl Spec {
    /// Under `%v` two flags mean something else.
    fn of(self, verb: char) -> Self {
        match verb {
            'v' => Self { names: self.plus, syntax: self.sharp, plus: false, sharp: false, ..self },
            _ => self,
        }
    }
}

/// One operand under one verb; composite values apply it to their elements.
fn put(out: &mut String, verb: char, spec: Spec, value: &Value, depth: usize) {
    if depth > 50 {
        return out.push_str("...");
    }
    match (verb, value) {
        ('T', value) if depth == 0 => string(out, 's', spec, value.type_name()),
        ('v', Value::Nil) if depth == 0 => pad(out, spec, "<nil>"),
        (_, Value::Nil) if depth > 0 => out.push_str(if spec.syntax { "interface {}(nil)" } else { "<nil>" }),
        (verb, Value::Nil) => out.push_str(&format!("%!{verb}(<nil>)")),
        ('t' | 'v', Value::Bool(value)) => pad(out, spec, if *value { "true" } else { "false" }),
        (_, Value::Int(whole)) => number::whole(out, verb, spec, *whole),
        (_, Value::Float(float)) => number::float(out, verb, spec, *float),
        (_, Value::String(text)) => string(out, verb, spec, text),
        (_, Value::Struct(inner)) if displays(verb, spec) && inner.display.is_some() => {
            string(out, verb, spec, inner.display.as_deref().unwrap_or_default());
        }
        (_, Value::List(list)) => {
            let put = |out: &mut String, item: &Value| put(out, verb, spec, item, depth + 1);
            enclosed(out, spec, ["[", "]"], list.type_name, list.items.iter(), put);
        }
        (_, Value::Map(map)) => {
            let entries = map.entries();
            enclosed(out, spec, ["map[", "]"], map.type_name, entries.iter(), |out, (key, value)| {
                put(out, verb, spec, key, depth + 1);
                out.push(':');
                put(out, verb, spec, value, depth + 1);
            });
        }
        (_, Value::Struct(inner)) => {
            enclosed(out, spec, ["{", "}"], inner.type_name, inner.fields.iter(), |out, field| {
                if spec.names || spec.syntax {
                    out.push_str(field.name);
                    out.push(':');
                }
                put(out, verb, spec, &field.value, depth + 1);
            });
        }
        (verb, other) => bad_verb(out, verb, spec, other),
    }
}

/// Whether a struct that can tell itself does so under the verb.
fn displays(verb: char, spec: Spec) -> bool {
    matches!(verb, 's' | 'q' | 'x' | 'X' | 'v') && !spec.syntax
}

/// The elements of a composite value in its brackets; in Go's syntax behind the name of its type.
fn enclosed<T>(
    out: &mut String,
    spec: Spec,
    brackets: [&str; 2],
    type_name: &str,
    elements: impl Iterator<Item = T>,
    put: impl Fn(&mut String, T),
) {
    let ([open, close], separator) = if spec.syntax { (["{", "}"], ", ") } else { (brackets, " ") };
    out.push_str(if spec.syntax { type_name } else { "" });
    out.push_str(open);
    for (index, element) in elements.enumerate() {
        out.push_str(if index == 0 { "" } else { separator });
        put(out, element);
    }
    out.push_str(close);
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
        'v' if spec.syntax => pad(out, spec, &print::quote(&cut(text))),
        's' | 'v' => pad(out, spec, &cut(text)),
        'q' if spec.sharp && !text.contains('`') && !text.chars().any(|c| c.is_control() && c != '\t') => {
            pad(out, spec, &format!("`{}`", cut(text)));
        }
        'q' if spec.plus => pad(out, spec, &print::quote_ascii(&cut(text))),
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
