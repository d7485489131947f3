//! Whole numbers as Flagger's schema takes them: `type: number`, so `10`, `10.0` and, from templating tools, `"10"`.

use serde::{Deserialize, Deserializer, de::Error};

/// What people write where a whole number is meant.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number is expected")]
enum Written {
    Whole(i64),
    Decimal(f64),
    Text(String),
}

impl Written {
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(number) => Some(*number),
            Self::Decimal(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                // The fraction is zero and the size is below 2^53, so nothing is lost.
                #[allow(clippy::cast_possible_truncation)]
                Some(*number as i64)
            }
            Self::Decimal(_) => None,
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// A whole number or nothing.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(written) = Option::<Written>::deserialize(deserializer)? else { return Ok(None) };
    written.whole().map(Some).ok_or_else(|| D::Error::custom("a whole number is expected"))
}

/// A list of whole numbers; nothing is the empty list.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    let written = Option::<Vec<Written>>::deserialize(deserializer)?.unwrap_or_default();
    let whole: Option<Vec<i64>> = written.iter().map(Written::whole).collect();
    whole.ok_or_else(|| D::Error::custom("a list of whole numbers is expected"))
}

/// A whole number that is zero when absent.
pub(super) fn or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    optional(deserializer).map(Option::unwrap_or_default)
}
