//! Go's number and string literals.

use crate::Value;

/// How many bytes of the text look like a number: sign, base prefix, digits, point, exponent.
pub(crate) fn scan(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let prefix = bytes.get(at..at + 2).map(|prefix| [prefix[0], prefix[1].to_ascii_lowercase()]);
    let base = match prefix {
        Some([b'0', b'x']) => 16,
        Some([b'0', b'o']) => 8,
        Some([b'0', b'b']) => 2,
        _ => 10,
    };
    at += if base == 10 { 0 } else { 2 };
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(|&byte| byte == b'_' || char::from(byte).is_digit(base)) {
            at += 1;
        }
        at
    };
    at = digits(at);
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1);
    }
    let exponent = match base {
        10 => b'e',
        _ => b'p',
    };
    if (base == 10 || base == 16) && bytes.get(at).is_some_and(|byte| byte.to_ascii_lowercase() == exponent) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        while bytes.get(at).is_some_and(|&byte| byte == b'_' || byte.is_ascii_digit()) {
            at += 1;
        }
    }
    at
}

/// The value of a number literal: whole if it has neither point nor exponent.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let is_hex = lower.trim_start_matches(['+', '-']).starts_with("0x");
    let has_exponent = lower.contains(if is_hex { 'p' } else { 'e' });
    if !lower.contains('.') && !has_exponent {
        return whole(&plain).map(Value::Int);
    }
    let float = if is_hex { hex_float(&lower) } else { plain.parse().ok() };
    float.filter(|float| float.is_finite()).map(Value::Float)
}

/// A whole number with Go's base prefixes.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0o") => (&lower[2..], 8),
        Some("0b") => (&lower[2..], 2),
        Some(_) if lower.starts_with('0') => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(digits, base).ok()?);
    i64::try_from(if negative { -size } else { size }).ok()
}

fn hex_float(text: &str) -> Option<f64> {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text.trim_start_matches('+')), |text| (-1.0, text));
    let (mantissa, exponent) = text.strip_prefix("0x")?.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(sign * value * 2f64.powi(exponent.parse::<i32>().ok()?.checked_sub(shift)?))
}

/// The text that a Go literal in double quotes, single quotes or backticks stands for.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let body = literal.get(1..literal.len().checked_sub(1)?)?;
    if quote == '`' {
        return Some(body.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c == quote {
            return None;
        }
        match c {
            '\\' => escape(&mut chars, quote, &mut bytes)?,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn escape(chars: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let simple = match chars.next()? {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        c if c == quote => u8::try_from(quote).ok()?,
        'x' => u8::try_from(digits(chars, 2, 16)?).ok()?,
        first @ '0'..='7' => u8::try_from(first.to_digit(8)? * 64 + digits(chars, 2, 8)?).ok()?,
        kind @ ('u' | 'U') => {
            let c = char::from_u32(digits(chars, if kind == 'u' { 4 } else { 8 }, 16)?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, base: u32) -> Option<u32> {
    (0..count).try_fold(0u32, |value, _| value.checked_mul(base)?.checked_add(chars.next()?.to_digit(base)?))
}
