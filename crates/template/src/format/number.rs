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
        'q' if spec.plus => pad(out, spec, &print::quote_char_ascii(c)),
        'q' => pad(out, spec, &print::quote_char(c)),
        _ if spec.sharp => pad(out, spec, &format!("U+{value:04X} '{c}'")),
        _ => pad(out, spec, &format!("U+{value:04X}")),
    }
}

/// A float: `%b %e %E %f %F %g %G %x %X %v`.
pub(super) fn float(out: &mut String, verb: char, spec: Spec, value: f64) {
    let size = value.abs();
    let digits = match verb {
        _ if !value.is_finite() => if value.is_nan() { "NaN" } else { "Inf" }.to_owned(),
        'f' | 'F' => format!("{size:.*}", spec.precision.unwrap_or(6)),
        'b' => binary(size),
        'x' | 'X' => hexadecimal(size, spec.precision),
        'e' | 'E' => scientific(size, spec.precision.unwrap_or(6)),
        'g' | 'G' | 'v' => match spec.precision {
            None => print::float(size),
            Some(precision) => shortest(size, precision.max(1)),
        },
        verb => return bad_verb(out, verb, spec, &Value::Float(value)),
    };
    let digits = if matches!(verb, 'E' | 'G' | 'X') { digits.to_uppercase() } else { digits };
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

/// Fraction and exponent of a float: it is the fraction, a whole number, times that power of two.
fn parts(size: f64) -> (u64, i32) {
    let (fraction, exponent) = (size.to_bits() & ((1 << 52) - 1), (size.to_bits() >> 52 & 0x7ff) as i32);
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

/// `%b`: as it is kept, such as `4503599627370496p-52`.
fn binary(size: f64) -> String {
    let (fraction, exponent) = parts(size);
    format!("{fraction}p{exponent:+}")
}

/// `%x`: such as `0x1.8p+00`. Source: Go `strconv/ftoa.go`, `fmtX`.
fn hexadecimal(size: f64, precision: Option<usize>) -> String {
    let (fraction, exponent) = parts(size);
    // The first digit is left of the 60 bits of the others.
    let shift = fraction.leading_zeros().saturating_sub(3);
    let (mut digits, mut power) =
        if fraction == 0 { (0, 0) } else { (fraction << shift, exponent + 60 - shift as i32) };
    if let Some(kept) = precision.filter(|kept| *kept < 15) {
        let dropped = 60 - 4 * kept as u32;
        let (rest, half) = (digits & ((1 << dropped) - 1), 1 << (dropped - 1));
        digits >>= dropped;
        if rest > half || (rest == half && digits & 1 == 1) {
            digits += 1;
        }
        digits <<= dropped;
        if digits >> 61 == 1 {
            (digits, power) = (digits >> 1, power + 1);
        }
    }
    let all = format!("{:015x}", digits & ((1 << 60) - 1));
    let behind = match precision {
        None => all.trim_end_matches('0').to_owned(),
        Some(precision) => format!("{all:0<precision$}")[..precision].to_owned(),
    };
    let point = if behind.is_empty() { "" } else { "." };
    format!("0x{}{point}{behind}p{}", digits >> 60, print::signed(power))
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
