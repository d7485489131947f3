//! Numbers as Go's `strconv.ParseFloat` reads them, and their order.
//!
//! Source: reference image-automation.md section 5.6.

use std::cmp::Ordering;

/// From here on a float no longer tells neighbouring integers apart: 2^53.
const EXACT_LIMIT: f64 = 9_007_199_254_740_992.0;

/// Digits that a float always holds exactly.
const EXACT_DIGITS: usize = 15;

/// A number, exact where it is a plain integer.
///
/// Differs: Flux compares floats, so 17-digit time stamps may collapse. Plain integers are compared digit by digit here.
#[derive(Clone, Debug)]
pub struct Number {
    float: f64,
    /// Digits without sign and leading zeros; kept only where the float is not exact.
    digits: Option<String>,
}

impl Number {
    /// Reads a number; `None` if it has another form or is beyond a float's range.
    pub fn parse(text: &str) -> Option<Self> {
        // Nearly every tag that is a number is a short integer, which a float holds exactly.
        if (1..=EXACT_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let value = text.bytes().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
            #[expect(clippy::cast_precision_loss, reason = "fifteen digits fit")]
            return Some(Self { float: value as f64, digits: None });
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if let Some(float) = special(text, unsigned) {
            return Some(Self { float, digits: None });
        }
        if !underscores_separate_digits(unsigned) {
            return None;
        }
        let plain: String = text.chars().filter(|&char| char != '_').collect();
        let magnitude = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
        let magnitude = match magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
            Some(digits) => hexadecimal(digits)?,
            None if is_decimal(magnitude) => magnitude.parse().ok()?,
            None => return None,
        };
        let float: f64 = if plain.starts_with('-') { -magnitude } else { magnitude };
        float.is_finite().then(|| Self { float, digits: digits(&plain, float) })
    }

    /// Whether it is "not a number", which is neither less nor greater than anything.
    pub fn is_nan(&self) -> bool {
        self.float.is_nan()
    }

    /// Order by value, "not a number" before all.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.is_nan(), other.is_nan()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        let floats = self.float.partial_cmp(&other.float).unwrap_or(Ordering::Equal);
        floats.then_with(|| match (&self.digits, &other.digits) {
            (Some(own), Some(other)) => {
                let magnitudes = own.len().cmp(&other.len()).then_with(|| own.cmp(other));
                if self.float < 0.0 { magnitudes.reverse() } else { magnitudes }
            }
            _ => Ordering::Equal,
        })
    }
}

/// `inf`, `infinity` with a sign or none, `nan` without, in any case.
fn special(text: &str, unsigned: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    None
}

/// Whether every `_` stands between two digits; the prefix of a hexadecimal number counts as one.
fn underscores_separate_digits(unsigned: &str) -> bool {
    let hexadecimal = unsigned.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    let mut previous = if hexadecimal { b'0' } else { b'!' };
    for byte in unsigned.bytes().skip(if hexadecimal { 2 } else { 0 }) {
        let is_digit = byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit());
        match byte {
            b'_' if previous != b'0' => return false,
            _ if is_digit => previous = b'0',
            b'_' => previous = b'_',
            _ if previous == b'_' => return false,
            _ => previous = b'!',
        }
    }
    previous != b'_'
}

/// Digits with at most one point and an exponent: `1`, `.5`, `5.`, `1e-3`.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && all_digits(digits)
    };
    !(whole.is_empty() && fraction.is_empty())
        && all_digits(whole)
        && all_digits(fraction)
        && exponent.is_none_or(is_exponent)
}

/// The value of `1.8p3`, the part after `0x`; the exponent is required.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if (whole.is_empty() && fraction.is_empty())
        || digits.is_empty()
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    // Beyond five digits the value is 0 or out of range whatever the mantissa a tag can hold.
    let size: i32 =
        digits.trim_start_matches('0').get(..5.min(digits.trim_start_matches('0').len()))?.parse().unwrap_or(0);
    let mut exponent = if exponent.starts_with('-') { -size } else { size };
    let mut bits: u64 = 0;
    for (index, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = u64::from(char::from(byte).to_digit(16)?);
        let behind_point = index >= whole.len();
        match bits >> 60 {
            0 => bits = bits << 4 | digit,
            // The lowest bit stands for all that no longer fits, which is enough to round by.
            _ => {
                bits |= u64::from(digit != 0);
                exponent = exponent.saturating_add(4);
            }
        }
        exponent = if behind_point { exponent.saturating_sub(4) } else { exponent };
    }
    // Two steps, so that neither power leaves the range of a float before the product does.
    let half = (exponent / 2).clamp(-1_000, 1_000);
    let rest = (exponent - half).clamp(-1_000, 1_000);
    #[expect(clippy::cast_precision_loss, reason = "rounding to a float is what is wanted")]
    let float = bits as f64;
    Some(float * 2_f64.powi(half) * 2_f64.powi(rest))
}

/// The exact digits of a number whose float is not exact: its own if it is a plain integer, else those of the float.
fn digits(plain: &str, float: f64) -> Option<String> {
    if float.abs() < EXACT_LIMIT {
        return None;
    }
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    match unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Some(unsigned.trim_start_matches('0').to_owned()),
        false => Some(format!("{:.0}", float.abs())),
    }
}

#[cfg(test)]
mod tests;
