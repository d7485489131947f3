//! When a repository is scanned. Source: reference image-automation.md section 4.1.

use std::{collections::BTreeSet, fmt, time::Duration};

use api::{
    conditions::{self, READY},
    image::{ImageRepositorySpec, ImageRepositoryStatus},
};
use jiff::Timestamp;

/// A scan that is due within this time is done now.
const ALMOST_DUE: Duration = Duration::from_secs(1);

/// Whether to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Now.
    Scan(Reason),
    /// Not before this time has passed.
    Wait(Duration),
}

/// Why a scan is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was none yet.
    First,
    /// Somebody asked for it.
    Requested,
    /// `spec.image` names another repository now.
    NewName,
    /// `spec.exclusionList` changed.
    Exclusions,
    /// The last scan failed.
    ///
    /// Differs: Flux forgets a failed scan that was asked for, and is Ready again until the interval has passed.
    Retry,
    /// The stored tags are gone, or there were none.
    NoTags,
    /// The interval has passed.
    Interval,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first scan",
            Self::Requested => "reconcile requested",
            Self::NewName => "new image name",
            Self::Exclusions => "updated exclusion list",
            Self::Retry => "last scan failed",
            Self::NoTags => "no tags in database",
            Self::Interval => "triggered by interval",
        })
    }
}

/// What the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is asked for.
    pub spec: &'a ImageRepositorySpec,
    /// What earlier scans left.
    pub status: &'a ImageRepositoryStatus,
    /// Value of the request annotation.
    pub requested_at: Option<&'a str>,
    /// Canonical name of `spec.image`.
    pub canonical_image_name: &'a str,
}

/// Decides. `stored_tags` is how many tags are kept, or why that cannot be told; it matters only if nothing else makes a scan due.
pub fn decide<E>(facts: Facts<'_>, stored_tags: Result<usize, E>, now: Timestamp) -> Result<Decision, E> {
    let Facts { spec, status, requested_at, canonical_image_name } = facts;
    let last_scan = status.last_scan_result.as_ref().and_then(|result| result.scan_time.as_ref());
    let Some(last_scan) = last_scan else { return Ok(Decision::Scan(Reason::First)) };
    let handled = status.last_handled_reconcile_at.as_deref().unwrap_or_default();
    if requested_at.is_some_and(|requested| requested != handled) {
        return Ok(Decision::Scan(Reason::Requested));
    }
    if status.canonical_image_name != canonical_image_name {
        return Ok(Decision::Scan(Reason::NewName));
    }
    if as_set(&spec.exclusion_list()) != as_set(&status.observed_exclusion_list) {
        return Ok(Decision::Scan(Reason::Exclusions));
    }
    if scan_failed(status) {
        return Ok(Decision::Scan(Reason::Retry));
    }
    if stored_tags? == 0 {
        return Ok(Decision::Scan(Reason::NoTags));
    }
    // A scan from the future (the clock was set back) leaves the whole interval.
    let passed = Duration::try_from(now.duration_since(last_scan.0)).unwrap_or_default();
    let left = spec.interval.get().saturating_sub(passed);
    Ok(if left < ALMOST_DUE { Decision::Scan(Reason::Interval) } else { Decision::Wait(left) })
}

/// The wait, longer by up to that percentage of it; `chance` says by how much, from nothing for 0 to all for the largest.
///
/// Differs: Flux's sources are looked at up to so much earlier, too; a scan before its interval would find nothing due.
pub fn spread(wait: Duration, percentage: u8, chance: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "nobody counts a share of chance")]
    let share = chance as f64 / u64::MAX as f64;
    wait.saturating_add(wait.mul_f64(f64::from(percentage) / 100.0 * share))
}

/// Whether the last run failed to read the registry.
fn scan_failed(status: &ImageRepositoryStatus) -> bool {
    conditions::find(&status.conditions, READY)
        .is_some_and(|ready| ready.status == "False" && ready.reason == "ReadOperationFailed")
}

/// A list whose order does not matter.
fn as_set(list: &[String]) -> BTreeSet<&str> {
    list.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use api::image::ScanResult;
    use serde_json::Value;

    use super::*;
    use crate::result::tests::rows;

    #[test]
    fn scans_are_spread_behind_their_interval() {
        let minute = Duration::from_secs(60);
        assert_eq!([0, u64::MAX].map(|chance| spread(minute, 10, chance)), [minute, Duration::from_secs(66)]);
        assert_eq!(spread(minute, 0, u64::MAX), minute);
        let half = spread(minute, 10, u64::MAX / 2);
        assert!(half > Duration::from_millis(62_999) && half < Duration::from_millis(63_001), "{half:?}");
    }

    fn duration(row: &Value, key: &str) -> Option<Duration> {
        row[key].as_str().map(|text| text.parse::<api::Duration>().expect("a duration").get())
    }

    /// The status and spec that a row describes, at a time that stands still.
    fn check(row: &Value) {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let list = |key: &str| {
            row[key].as_array().map(|items| items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let spec = ImageRepositorySpec {
            image: text("image"),
            interval: text("interval").parse().expect("a duration"),
            exclusion_list: list("exclusionList"),
            ..ImageRepositorySpec::default()
        };
        let scanned = duration(row, "lastScanAgo")
            .map(|ago| ScanResult { scan_time: Some(api::Time(now - ago)), ..ScanResult::default() });
        let status = ImageRepositoryStatus {
            canonical_image_name: text("canonicalImageName"),
            last_scan_result: scanned,
            last_handled_reconcile_at: row["lastHandledReconcileAt"].as_str().map(str::to_owned),
            observed_exclusion_list: list("observedExclusionList")
                .unwrap_or_else(|| ImageRepositorySpec::default().exclusion_list()),
            ..ImageRepositoryStatus::default()
        };
        let canonical = format!("{}", oci::Name::parse(&spec.image).expect("a name"));
        let facts = Facts {
            spec: &spec,
            status: &status,
            requested_at: row["requestedAt"].as_str(),
            canonical_image_name: &canonical,
        };
        let stored = if row["dbReadError"] == true { Err(()) } else { Ok(row["tags"].as_array().map_or(0, Vec::len)) };
        let expected = &row["expected"];
        match decide(facts, stored, now) {
            Err(()) => assert_eq!(expected["error"], true, "{row}"),
            Ok(Decision::Wait(left)) => {
                assert_eq!(
                    (expected["scan"].as_bool(), duration(expected, "next")),
                    (Some(false), Some(left)),
                    "{row}"
                );
            }
            Ok(Decision::Scan(reason)) => assert_eq!(expected["reason"], reason.to_string(), "{row}"),
        }
    }

    #[test]
    fn scans_are_due_when_those_of_flux_are() {
        let rows = rows("controller_decisions", "shouldScan");
        assert!(!rows.is_empty());
        rows.iter().for_each(check);
    }

    #[test]
    fn each_change_makes_a_scan_due() {
        let base = serde_json::json!({"image": "example.com/foo/bar", "interval": "1m", "lastScanAgo": "30s", "tags": ["a"],
            "canonicalImageName": "example.com/foo/bar", "expected": {"scan": false, "next": "30s"}});
        check(&base);
        for (key, value, reason) in [
            ("requestedAt", serde_json::json!("now"), "reconcile requested"),
            ("canonicalImageName", serde_json::json!("example.com/old"), "new image name"),
            ("observedExclusionList", serde_json::json!(["x"]), "updated exclusion list"),
            ("tags", serde_json::json!([]), "no tags in database"),
            ("lastScanAgo", serde_json::json!("59.5s"), "triggered by interval"),
            ("lastScanAgo", serde_json::json!("2m"), "triggered by interval"),
        ] {
            let mut row = base.clone();
            row[key] = value;
            row["expected"] = serde_json::json!({"reason": reason});
            check(&row);
        }
    }
}
