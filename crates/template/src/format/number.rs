//! Numbers under `Sprintf`'s verbs.

use super::{Spec, bad_verb, pad};
use crate::{Value, print};

/// An integer: `%d %b %o %O %x %X %c %q %U %v`.
pub(super) fn whole(out: &mut String, verb: char, spec: Spec, value: i64) {
    let size = value.unsigned_abs();
    let (digits, prefix) = match verb {
        'd' | 'v' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), if spec.sharp { "0b" } else { "" }),
        'o' => (format!("{size:o}"), if spec.sharp { "0" } else { "" }),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), if spec.sharp { "0x" } else { "" }),
        'X' => (format!("{size:X}"), if spec.sharp { "0X" } else { "" }),
        'c' | 'q' | 'U' => return character(out, verb, spec, value),
        verb => return bad_verb(out, verb, spec, &Value::Int(value)),
    };
    if value == 0 && spec.precision == Some(0) {
        return pad(out, Spec { zero: false, ..spec }, "");
    }
    // An octal zero is its own prefix.
    let prefix = if prefix == digits { "" } else { prefix };
    let sign = match () {
        () if value < 0 => "-",
        () if spec.plus => "+",
        () if spec.space => " ",
        () => "",
    };
    let wanted = match (spec.precision, spec.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if spec.zero => width.saturating_sub(sign.len() + prefix.len()),
        _ => 0,
    };
    let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
    pad(out, Spec { zero: false, ..spec }, &format!("{sign}{prefix}{zeros}{digits}"));
}

fn character(out: &mut String, verb: char, spec: Spec, value: i64) {
    let c = u32::try_from(value).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    match verb {
        'c' => pad(out, spec, &c.to_string()),
        'q' => pad(out, spec, &print::quote_char(c)),
        _ if spec.sharp => pad(out, spec, &format!("U+{value:04X} '{c}'")),
        _ => pad(out, spec, &format!("U+{value:04X}")),
    }
}

/// A float: `%e %E %f %F %g %G %v`.
pub(super) fn float(out: &mut String, verb: char, spec: Spec, value: f64) {
    let size = value.abs();
    let digits = match verb {
        _ if !value.is_finite() => if value.is_nan() { "NaN" } else { "Inf" }.to_owned(),
        'f' | 'F' => format!("{size:.*}", spec.precision.unwrap_or(6)),
        'e' | 'E' => scientific(size, spec.precision.unwrap_or(6)),
        'g' | 'G' | 'v' => match spec.precision {
            None => print::float(size),
            Some(precision) => shortest(size, precision.max(1)),
        },
        verb => return bad_verb(out, verb, spec, &Value::Float(value)),
    };
    let digits = if matches!(verb, 'E' | 'G') { digits.to_uppercase() } else { digits };
    let sign = match () {
        () if value.is_sign_negative() && !value.is_nan() => "-",
        () if spec.plus || (value.is_infinite() && verb == 'v') => "+",
        () if spec.space => " ",
        () if value.is_infinite() => "+",
        () => "",
    };
    let wanted = match spec.width {
        Some(width) if spec.zero && value.is_finite() => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
    pad(out, Spec { zero: false, ..spec }, &format!("{sign}{zeros}{digits}"));
}

fn scientific(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{digits}e{}", print::signed(exponent.parse().unwrap_or(0)))
}

/// `%g` with that many significant digits: no trailing zeros, an exponent where it is shorter.
fn shortest(size: f64, precision: usize) -> String {
    let text = format!("{size:.*e}", precision - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    let trim = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if power < -4 || power >= limit {
        return format!("{}e{}", trim(digits), print::signed(power));
    }
    let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
    trim(&format!("{size:.decimals$}"))
}
