//! Durations, and dates that are given rather than asked of a clock.

use std::sync::Arc;

use jiff::{Timestamp, Zoned, civil::DateTime, fmt::strtime, tz::TimeZone};

use super::text;
use crate::{Method, Struct, Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("duration", "a", |args| {
        let seconds = match &args[0] {
            Value::Int(seconds) => *seconds,
            Value::String(text) => text.parse().unwrap_or(0),
            _ => 0,
        };
        Ok(written(i128::from(seconds) * SECOND).into())
    }),
    ("durationRound", "a", |args| {
        let nanoseconds = match &args[0] {
            Value::Int(nanoseconds) => i128::from(*nanoseconds),
            Value::String(text) => read(text).unwrap_or(0),
            _ => 0,
        };
        Ok(rounded(nanoseconds.unsigned_abs()).into())
    }),
    // What cannot be read is Go's zero time, as in Sprig.
    ("toDate", "ss", |args| Ok(parsed(&args[0], &args[1]).unwrap_or_else(|_| date(&utc(ZERO_TIME))))),
    ("mustToDate", "ss", |args| parsed(&args[0], &args[1])),
    ("unixEpoch", "a", |args| Ok(seconds(&args[0])?.to_string().into())),
    ("mustDateModify", "sa", modified),
    ("must_date_modify", "sa", modified),
];

/// How long ago a date is, in whole seconds; what is no date is now. Source: Sprig 3.3 `dateAgo`.
pub(crate) fn ago(value: &Value, now: Timestamp) -> String {
    let then = match value {
        Value::Int(seconds) => Some(*seconds),
        other => seconds(other).ok(),
    };
    let passed = then.map_or(0, |then| i128::from(now.as_second()) - i128::from(then));
    written(passed * SECOND)
}

const SECOND: i128 = 1_000_000_000;
/// `0001-01-01`, Go's `time.Time{}`.
const ZERO_TIME: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);

/// Go's units of duration, in nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// A duration as Go writes it: `1h2m3.5s`, `1.5ms`.
fn written(nanoseconds: i128) -> String {
    let (sign, rest) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let decimal = |value: u128, unit: u128| {
        let fraction = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let fraction = if unit == 1 { "" } else { fraction.trim_end_matches('0') };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction}", value / unit)
    };
    let second = SECOND.unsigned_abs();
    match rest {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{rest}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(rest, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(rest, 1_000_000)),
        _ => {
            let (hours, minutes) = (rest / (3_600 * second), rest / (60 * second) % 60);
            let hours = if hours > 0 { format!("{hours}h{minutes}m") } else { String::new() };
            let minutes = if hours.is_empty() && minutes > 0 { format!("{minutes}m") } else { String::new() };
            format!("{sign}{hours}{minutes}{}s", decimal(rest % (60 * second), second))
        }
    }
}

/// A duration as Go reads it, in nanoseconds.
fn read(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let length = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, more) = behind.split_at(length);
        let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "finer than a nanosecond")]
        let part = (number.parse::<f64>().ok()? * factor as f64).round() as i128;
        total = total.checked_add(part)?;
        rest = more;
    }
    (!text.is_empty()).then_some(if negative { -total } else { total })
}

/// The largest unit that the duration exceeds. Source: Sprig 3.3 `durationRound`.
fn rounded(nanoseconds: u128) -> String {
    const HOUR: u128 = 3_600_000_000_000;
    let units = [
        (365 * 24 * HOUR, "y"),
        (30 * 24 * HOUR, "mo"),
        (24 * HOUR, "d"),
        (HOUR, "h"),
        (HOUR / 60, "m"),
        (HOUR / 3_600, "s"),
    ];
    let unit = units.iter().find(|(size, _)| nanoseconds > *size);
    unit.map_or_else(|| "0s".to_owned(), |(size, name)| format!("{}{name}", nanoseconds / size))
}

fn parsed(layout: &Value, value: &Value) -> Result<Value, String> {
    let (layout, value) = (text(layout), text(value));
    let failed = |error: jiff::Error| format!("parsing time {value:?} as {layout:?}: {error}");
    let found = strtime::parse(strtime_of(&layout), &value).map_err(failed)?;
    let zoned = match found.offset() {
        Some(offset) => found.to_timestamp().map_err(failed)?.to_zoned(TimeZone::fixed(offset)),
        // A layout may name only the date, or only the time.
        None => {
            let date = found.to_date().unwrap_or(jiff::civil::date(0, 1, 1));
            let time = found.to_time().unwrap_or(jiff::civil::Time::midnight());
            utc(date.to_datetime(time))
        }
    };
    Ok(date(&zoned))
}

/// A layout of Go's as a format of `strptime`.
fn strtime_of(layout: &str) -> String {
    const ELEMENTS: [(&str, &str); 24] = [
        ("January", "%B"),
        ("Jan", "%b"),
        ("Monday", "%A"),
        ("Mon", "%a"),
        ("2006", "%Y"),
        ("Z07:00", "%:z"),
        ("-07:00", "%:z"),
        ("Z0700", "%z"),
        ("-0700", "%z"),
        ("MST", "%Z"),
        ("01", "%m"),
        ("02", "%d"),
        ("03", "%I"),
        ("04", "%M"),
        ("05", "%S"),
        ("06", "%y"),
        ("15", "%H"),
        ("PM", "%p"),
        ("pm", "%p"),
        ("_2", "%e"),
        ("1", "%m"),
        ("2", "%d"),
        ("4", "%M"),
        ("%", "%%"),
    ];
    let (mut format, mut rest) = (String::new(), layout);
    while let Some(next) = rest.chars().next() {
        match ELEMENTS.iter().find_map(|(element, means)| Some((rest.strip_prefix(element)?, means))) {
            Some((behind, means)) => {
                format.push_str(means);
                rest = behind;
            }
            None => {
                format.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    format
}

/// Go's `time.Time` with the methods that templates call on it.
fn date(zoned: &Zoned) -> Value {
    let zone = if zoned.offset().is_zero() { "UTC".to_owned() } else { zoned.strftime("%z").to_string() };
    let give = |value: Value| -> Method { Arc::new(move || Ok(value.clone())) };
    let number = |value: i64| give(Value::Int(value));
    Value::Struct(Arc::new(Struct {
        type_name: "time.Time",
        methods: vec![
            ("Unix", number(zoned.timestamp().as_second())),
            ("Year", number(zoned.year().into())),
            ("Month", give(zoned.strftime("%B").to_string().into())),
            ("Weekday", give(zoned.strftime("%A").to_string().into())),
            ("Day", number(zoned.day().into())),
            ("Hour", number(zoned.hour().into())),
            ("Minute", number(zoned.minute().into())),
            ("Second", number(zoned.second().into())),
            ("YearDay", number(zoned.day_of_year().into())),
        ],
        display: Some(format!("{} {zone}", zoned.strftime("%Y-%m-%d %H:%M:%S %z"))),
        ..Struct::default()
    }))
}

fn utc(moment: DateTime) -> Zoned {
    TimeZone::UTC.to_ambiguous_zoned(moment).compatible().unwrap_or_default()
}

/// The seconds since 1970 of a date.
fn seconds(value: &Value) -> Result<i64, String> {
    let unix = match value {
        Value::Struct(date) => date.methods.iter().find(|(name, _)| *name == "Unix").map(|(_, unix)| unix()),
        _ => None,
    };
    match unix {
        Some(Ok(Value::Int(seconds))) => Ok(seconds),
        _ => Err(format!("wrong type for value; expected time.Time; got {}", value.type_name())),
    }
}

fn modified(args: &[Value]) -> Result<Value, String> {
    let change = text(&args[0]);
    let nanoseconds = read(&change).ok_or_else(|| format!("time: invalid duration {change:?}"))?;
    let moved = i128::from(seconds(&args[1])?) * SECOND + nanoseconds;
    let moved = Timestamp::from_nanosecond(moved).map_err(|error| error.to_string())?;
    Ok(date(&moved.to_zoned(TimeZone::UTC)))
}
