//! Durations as Go prints and Kubernetes manifests write them: `1m30s`, `500ms`, `1h`.

use std::{fmt, str::FromStr, time};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A span of time in Go's text form, never negative. Units `ns us µs ms s m h`, decimals allowed: `1.5h`.
///
/// Source: Go `time.ParseDuration`, which Flux's `metav1.Duration` fields use; reference image-automation.md section 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {text:?}: {problem}")]
pub struct InvalidDuration {
    text: String,
    problem: &'static str,
}

impl Duration {
    /// A whole number of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// The span as the standard library's type.
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidDuration { text: text.to_owned(), problem };
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest.starts_with('-') {
            return Err(invalid("it is negative"));
        }
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid("it is empty"));
        }
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let (amount, after) = term(rest).map_err(invalid)?;
            nanos = nanos.checked_add(amount).ok_or_else(|| invalid("it is too long"))?;
            rest = after;
        }
        // Go holds a duration in 63 bits of nanoseconds, some 292 years.
        let nanos = i64::try_from(nanos).map_err(|_| invalid("it is too long"))?;
        Ok(Self(time::Duration::from_nanos(nanos.unsigned_abs())))
    }
}

/// One `number unit` pair in nanoseconds, and what follows it.
fn term(text: &str) -> Result<(u128, &str), &'static str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or("a unit is missing: use ms, s, m or h")?;
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err("a number is expected");
    }
    let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err("unknown unit: use ms, s, m or h"),
    };
    if whole.len() > 19 {
        return Err("it is too long");
    }
    let mut nanos = whole.parse::<u128>().unwrap_or(0) * unit;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos += u128::from(digit - b'0') * place;
    }
    Ok((nanos, rest))
}

impl fmt::Display for Duration {
    /// Go's `Duration.String`: `1h0m0s`, `1m30s`, `1.5s`, `750ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000 {
            return write!(f, "{nanos}ns");
        }
        if nanos < 1_000_000 {
            return write!(f, "{}µs", decimal(nanos, 1_000));
        }
        if nanos < 1_000_000_000 {
            return write!(f, "{}ms", decimal(nanos, 1_000_000));
        }
        let minutes = nanos / 60_000_000_000;
        let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
        match (minutes / 60, minutes % 60) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, minutes) => write!(f, "{minutes}m{seconds}s"),
            (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
        }
    }
}

/// `amount / unit` in decimals without trailing zeros.
fn decimal(amount: u128, unit: u128) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", amount / unit, amount % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: u64, printed: &str) {
        let duration: Duration = text.parse().expect("a duration");
        assert_eq!((duration.0.as_millis(), duration.to_string().as_str()), (u128::from(millis), printed), "{text}");
    }

    #[test]
    fn parses_and_prints_as_go_does() {
        check("1m", 60_000, "1m0s");
        check("1h", 3_600_000, "1h0m0s");
        check("1m30s", 90_000, "1m30s");
        check("1.5s", 1_500, "1.5s");
        check("750ms", 750, "750ms");
        check("0", 0, "0s");
        check(".5m", 30_000, "30s");
        check("25h", 90_000_000, "25h0m0s");
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "1", "1y", "-1s", "s", "1m 30s", "1..5s", "9999999999h", "99999999999999999999s", "1.2.3s"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn printing_round_trips(nanos in 0..i64::MAX.unsigned_abs()) {
            let duration = Duration(time::Duration::from_nanos(nanos));
            proptest::prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = text.parse::<Duration>();
        }
    }
}
