//! Times and durations in expressions, over `jiff`: the language's library has them over another crate only. Pure.
//! Source: the language's definition, "Timestamps and Durations"; where it leaves room, cel-go, in UTC as Flux sets it.

use std::{any::Any, cmp::Ordering, sync::LazyLock};

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        traits::{Adder, Comparer, Subtractor},
        types::{CelInt, CelString, DURATION_TYPE, INT_TYPE, STRING_TYPE, TIMESTAMP_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use jiff::{
    SignedDuration,
    civil::{DateTime, datetime},
    tz::TimeZone,
};
use regex::Regex;

/// A point or a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// A `timestamp`, in UTC, of the years 1 to 9999.
    Point(DateTime),
    /// A `duration`: as many nanoseconds as 64 bits hold.
    Length(i64),
}

const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);

type Value<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// RFC 3339 as Go reads it: whole seconds at least, an offset, no more than nine digits that count.
static RFC_3339: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.\d{1,9})?)\d*(?:Z|([+-])(\d\d):(\d\d))$";
    Regex::new(pattern).expect("because the pattern is a constant")
});

/// One member function that reads a part of a timestamp: in UTC, or in the zone that is named.
macro_rules! part {
    ($environment:expr, $name:literal, $part:expr) => {{
        $environment.add_member_overload($name, concat!("timestamp.", $name), TIMESTAMP_TYPE, vec![], |arguments| {
            number($part(point(&arguments)?))
        })?;
        let zoned = concat!("timestamp.", $name, "(zone)");
        $environment.add_member_overload($name, zoned, TIMESTAMP_TYPE, vec![STRING_TYPE], |arguments| {
            number($part(in_zone(point(&arguments)?, text(&arguments, 1)?)?))
        })?;
    }};
}

/// One member function that tells a duration in whole units, as nanoseconds make one.
macro_rules! unit {
    ($environment:expr, $name:literal, $nanoseconds:expr) => {
        $environment.add_member_overload($name, concat!("duration.", $name), DURATION_TYPE, vec![], |arguments| {
            number(length(&arguments)? / $nanoseconds)
        })?
    };
}

/// Adds `timestamp`, `duration` and what can be asked of them.
pub(super) fn extension(environment: &mut Env) -> Result<(), DeclarationError> {
    environment.add_type(TIMESTAMP_TYPE)?;
    environment.add_type(DURATION_TYPE)?;
    environment.add_overload("timestamp", "timestamp_to_timestamp", vec![TIMESTAMP_TYPE], unchanged)?;
    environment.add_overload("timestamp", "string_to_timestamp", vec![STRING_TYPE], |arguments| {
        Time::Point(read(text(&arguments, 0)?)?).into_value()
    })?;
    environment.add_overload("timestamp", "int64_to_timestamp", vec![INT_TYPE], |arguments| {
        let seconds = arguments.first().and_then(|value| value.downcast_ref::<CelInt>().map(|value| *value.inner()));
        let point = seconds.and_then(|seconds| EPOCH.checked_add(SignedDuration::from_secs(seconds)).ok());
        point.filter(is_in_range).map(Time::Point).ok_or_else(out_of_range)?.into_value()
    })?;
    environment.add_overload("duration", "duration_to_duration", vec![DURATION_TYPE], unchanged)?;
    environment.add_overload("duration", "string_to_duration", vec![STRING_TYPE], |arguments| {
        Time::Length(span(text(&arguments, 0)?)?).into_value()
    })?;
    environment.add_overload("int", "timestamp_to_int64", vec![TIMESTAMP_TYPE], |arguments| {
        let since = point(&arguments)?.duration_since(EPOCH);
        // Rounded down, before 1970 too.
        number(since.as_secs() - i64::from(since.subsec_nanos() < 0))
    })?;
    environment
        .add_overload("int", "duration_to_int64", vec![DURATION_TYPE], |arguments| number(length(&arguments)?))?;
    environment.add_overload("string", "timestamp_to_string", vec![TIMESTAMP_TYPE], |arguments| {
        Ok(CowVal::owned(CelString::from(format!("{}Z", point(&arguments)?))))
    })?;
    environment.add_overload("string", "duration_to_string", vec![DURATION_TYPE], |arguments| {
        Ok(CowVal::owned(CelString::from(seconds(length(&arguments)?))))
    })?;
    part!(environment, "getFullYear", |at: DateTime| at.year());
    part!(environment, "getMonth", |at: DateTime| at.month() - 1);
    part!(environment, "getDate", |at: DateTime| at.day());
    part!(environment, "getDayOfMonth", |at: DateTime| at.day() - 1);
    part!(environment, "getDayOfWeek", |at: DateTime| at.weekday().to_sunday_zero_offset());
    part!(environment, "getDayOfYear", |at: DateTime| at.day_of_year() - 1);
    part!(environment, "getHours", |at: DateTime| at.hour());
    part!(environment, "getMinutes", |at: DateTime| at.minute());
    part!(environment, "getSeconds", |at: DateTime| at.second());
    part!(environment, "getMilliseconds", |at: DateTime| at.millisecond());
    unit!(environment, "getHours", 3_600_000_000_000);
    unit!(environment, "getMinutes", 60_000_000_000);
    unit!(environment, "getSeconds", 1_000_000_000);
    unit!(environment, "getMilliseconds", 1_000_000);
    Ok(())
}

fn unchanged<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Value<'b, 'v> {
    arguments.pop().ok_or(ExecutionError::MissingArgumentOrTarget)
}

impl Time {
    fn into_value<'b, 'v>(self) -> Value<'b, 'v> {
        Ok(CowVal::owned(self))
    }

    /// The sum, where there is one: two points of time have none.
    fn plus(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Point(point), Self::Length(length)) | (Self::Length(length), Self::Point(point)) => {
                let point = point.checked_add(SignedDuration::from_nanos(length)).ok();
                point.filter(is_in_range).map(Self::Point)
            }
            (Self::Length(one), Self::Length(other)) => one.checked_add(other).map(Self::Length),
            (Self::Point(_), Self::Point(_)) => None,
        }
    }

    fn minus(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Point(point), Self::Length(length)) => {
                let point = point.checked_sub(SignedDuration::from_nanos(length)).ok();
                point.filter(is_in_range).map(Self::Point)
            }
            (Self::Point(one), Self::Point(other)) => {
                i64::try_from(one.duration_since(other).as_nanos()).ok().map(Self::Length)
            }
            (Self::Length(one), Self::Length(other)) => one.checked_sub(other).map(Self::Length),
            (Self::Length(_), Self::Point(_)) => None,
        }
    }
}

impl Val for Time {
    fn get_type(&self) -> &Type {
        match self {
            Self::Point(_) => &TIMESTAMP_TYPE,
            Self::Length(_) => &DURATION_TYPE,
        }
    }

    /// Asked by nobody: every function above names the types that it takes.
    fn cel_type() -> &'static Type {
        &TIMESTAMP_TYPE
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Time {}

impl Adder for Time {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Value<'b, 'v>
    where
        Self: 'v,
    {
        let sum = other.downcast_ref::<Self>().map(|other| self.plus(*other).ok_or_else(out_of_range));
        sum.unwrap_or_else(|| Err(mismatch("+", self, other)))?.into_value()
    }
}

impl Subtractor for Time {
    fn sub<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Value<'b, 'v>
    where
        Self: 'v,
    {
        let difference = other.downcast_ref::<Self>().map(|other| self.minus(*other).ok_or_else(out_of_range));
        difference.unwrap_or_else(|| Err(mismatch("-", self, other)))?.into_value()
    }
}

impl Comparer for Time {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        match (self, other.downcast_ref::<Self>()) {
            (Self::Point(one), Some(Self::Point(other))) => Ok(one.cmp(other)),
            (Self::Length(one), Some(Self::Length(other))) => Ok(one.cmp(other)),
            _ => Err(mismatch("<", self, other)),
        }
    }
}

fn mismatch(operator: &str, one: &Time, other: &dyn Val) -> ExecutionError {
    let types = [one.get_type().name(), other.get_type().name()];
    ExecutionError::no_such_overload(operator, types.map(str::to_owned).into())
}

fn out_of_range() -> ExecutionError {
    ExecutionError::function_error("time", "out of range")
}

fn number<'b, 'v>(number: impl Into<i64>) -> Value<'b, 'v> {
    Ok(CowVal::owned(CelInt::from(number.into())))
}

fn text<'a>(arguments: &'a [CowVal<'_, '_>], index: usize) -> Result<&'a str, ExecutionError> {
    let text = arguments.get(index).and_then(|value| value.downcast_ref::<CelString>());
    text.map(CelString::inner).ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn point(arguments: &[CowVal<'_, '_>]) -> Result<DateTime, ExecutionError> {
    match arguments.first().and_then(|value| value.downcast_ref::<Time>()) {
        Some(Time::Point(point)) => Ok(*point),
        _ => Err(ExecutionError::MissingArgumentOrTarget),
    }
}

fn length(arguments: &[CowVal<'_, '_>]) -> Result<i64, ExecutionError> {
    match arguments.first().and_then(|value| value.downcast_ref::<Time>()) {
        Some(Time::Length(length)) => Ok(*length),
        _ => Err(ExecutionError::MissingArgumentOrTarget),
    }
}

fn is_in_range(point: &DateTime) -> bool {
    point.year() >= 1
}

fn read(text: &str) -> Result<DateTime, ExecutionError> {
    let wrong = || ExecutionError::function_error("timestamp", format!("'{text}' is no time of RFC 3339"));
    let found = RFC_3339.captures(text).ok_or_else(wrong)?;
    let local: DateTime = found[1].parse().map_err(|_| wrong())?;
    let part = |index: usize| found.get(index).and_then(|part| part.as_str().parse::<i64>().ok()).unwrap_or_default();
    if part(3) > 23 || part(4) > 59 {
        return Err(wrong());
    }
    let ahead = SignedDuration::from_mins(part(3) * 60 + part(4));
    let is_behind = found.get(2).is_some_and(|sign| sign.as_str() == "-");
    let point = if is_behind { local.checked_add(ahead) } else { local.checked_sub(ahead) };
    point.ok().filter(is_in_range).ok_or_else(out_of_range)
}

/// Nanoseconds of a duration as Go writes it, with a sign.
fn span(text: &str) -> Result<i64, ExecutionError> {
    let (is_negative, amount) = match text.strip_prefix('-') {
        // Only one sign: what follows is read by a reader that takes a plus.
        Some(amount) if !amount.starts_with('+') => (true, amount),
        _ => (false, text),
    };
    let read = amount.parse::<api::Duration>();
    let nanoseconds = read.map_err(|error| ExecutionError::function_error("duration", error))?.get().as_nanos();
    let nanoseconds = i64::try_from(nanoseconds).map_err(|_| out_of_range())?;
    Ok(if is_negative { -nanoseconds } else { nanoseconds })
}

/// A duration in seconds, as short as it can be said: `90s`, `-0.5s`.
fn seconds(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (whole, rest) = (nanoseconds.unsigned_abs() / 1_000_000_000, nanoseconds.unsigned_abs() % 1_000_000_000);
    let fraction = format!(".{rest:09}");
    let fraction = if rest == 0 { "" } else { fraction.trim_end_matches('0') };
    format!("{sign}{whole}{fraction}s")
}

/// The time on the clocks of a zone: a name of the zone database, or an offset such as `-02:30`.
fn in_zone(point: DateTime, zone: &str) -> Result<DateTime, ExecutionError> {
    let unknown = || ExecutionError::function_error("timezone", format!("unknown time zone {zone}"));
    let Some((hours, minutes)) = zone.split_once(':') else {
        let zone = if zone.is_empty() { TimeZone::UTC } else { TimeZone::get(zone).map_err(|_| unknown())? };
        let at = point.to_zoned(TimeZone::UTC).map_err(|_| out_of_range())?;
        return Ok(at.with_time_zone(zone).datetime());
    };
    let (hours, minutes): (i64, i64) = hours.parse().ok().zip(minutes.parse().ok()).ok_or_else(unknown)?;
    if !(-23..=23).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(unknown());
    }
    let minutes = if zone.starts_with('-') { hours * 60 - minutes } else { hours * 60 + minutes };
    point.checked_add(SignedDuration::from_mins(minutes)).map_err(|_| out_of_range())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{CelError, Expression};

    fn holds(source: &str) -> Result<bool, CelError> {
        let req = json!({"pushed": "2026-11-21T23:30:00.25+02:00", "seconds": 86400, "wait": "1h30m"});
        Expression::compile(source, &["req"])?.holds(&[("req", &req)])
    }

    #[test]
    fn times_are_read_told_and_taken_apart() {
        for source in [
            "timestamp(req.pushed) == timestamp('2026-11-21T21:30:00.25Z')",
            "timestamp(req.pushed) != timestamp('2026-11-21T21:30:00Z')",
            "timestamp(int(req.seconds)) == timestamp('1970-01-02T00:00:00Z')",
            "timestamp(timestamp(0)) == timestamp('1970-01-01T00:00:00Z')",
            "int(timestamp('1969-12-31T23:59:59.5Z')) == -1 && int(timestamp(req.pushed)) == 1795296600",
            "string(timestamp(req.pushed)) == '2026-11-21T21:30:00.25Z'",
            "string(timestamp('9999-12-31T23:59:59Z')) == '9999-12-31T23:59:59Z'",
            "timestamp(req.pushed).getFullYear() == 2026 && timestamp(req.pushed).getMonth() == 10",
            "timestamp(req.pushed).getDate() == 21 && timestamp(req.pushed).getDayOfMonth() == 20",
            "timestamp(req.pushed).getDayOfWeek() == 6 && timestamp(req.pushed).getDayOfYear() == 324",
            "timestamp(req.pushed).getHours() == 21 && timestamp(req.pushed).getMinutes() == 30",
            "timestamp(req.pushed).getSeconds() == 0 && timestamp(req.pushed).getMilliseconds() == 250",
            "timestamp(req.pushed).getDate('+05:30') == 22 && timestamp(req.pushed).getHours('-01:45') == 19",
            "timestamp(req.pushed).getHours('-00:30') == 21 && timestamp(req.pushed).getMinutes('-00:30') == 0",
            "timestamp(req.pushed).getHours('UTC') == 21 && timestamp(req.pushed).getHours('') == 21",
            "type(timestamp(0)) == google.protobuf.Timestamp",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
    }

    #[test]
    fn durations_are_counted_with() {
        for source in [
            "duration(req.wait) == duration('90m') && duration('-1.5s') < duration('0')",
            "duration(req.wait).getHours() == 1 && duration(req.wait).getMinutes() == 90",
            "duration('1.5s').getSeconds() == 1 && duration('1.5s').getMilliseconds() == 1500",
            "duration('1us') + duration('1ns') == duration('1001ns')",
            "timestamp(0) + duration('24h') == timestamp('1970-01-02T00:00:00Z')",
            "duration('24h') + timestamp(0) - duration('24h') == timestamp(0)",
            "timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') > duration('23h')",
            "duration('2h') - duration('30m') == duration(req.wait)",
            "string(duration(req.wait)) == '5400s' && string(duration('-500ms')) == '-0.5s'",
            "int(duration('1ms')) == 1000000",
            "timestamp(req.pushed) in [timestamp(0), timestamp(req.pushed)]",
            "type(duration('1s')) == google.protobuf.Duration",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
    }

    #[test]
    fn what_is_no_time_is_an_error() {
        for source in [
            "timestamp('2026-11-21') == timestamp(0)",
            "timestamp('2026-11-21T21:30:00') == timestamp(0)",
            "timestamp('2026-02-30T00:00:00Z') == timestamp(0)",
            "timestamp('2026-11-21T21:30:60Z') == timestamp(0)",
            "timestamp('2026-11-21T21:30:00+24:00') == timestamp(0)",
            "timestamp('0001-01-01T00:00:00+01:00') == timestamp(0)",
            "timestamp(253402300800) == timestamp(0)",
            "timestamp(req.seconds) == timestamp(0)",
            "timestamp('9999-12-31T23:59:59Z') + duration('1s') > timestamp(0)",
            "timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z') > duration('1s')",
            "timestamp(0) + timestamp(0) == timestamp(0)",
            "duration('1s') - timestamp(0) == duration('1s')",
            "timestamp(0) < duration('1s')",
            "duration('1s') + 1 == duration('2s')",
            "duration('') == duration('1s')",
            "duration('-+1s') == duration('1s')",
            "duration('1 s') == duration('1s')",
            "duration('300000h').getHours() > 1 && duration('3000000h').getHours() > 1",
            "timestamp(0).getHours('Nowhere/Town') == 1",
            "timestamp(0).getHours('24:00') == 1",
            "timestamp(0)",
        ] {
            assert!(holds(source).is_err(), "{source}");
        }
    }
}
