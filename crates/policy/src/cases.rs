//! Recorded answers of Flux and of Masterminds/semver, `tests/cases/image/*.jsonl`, each line naming its source.

use std::cmp::Ordering;

use api::image::{ImagePolicySpec, PolicyChoice, TagFilter};
use serde_json::Value;

use crate::{Filter, Pattern, Policy, Range, Version, range::InvalidRange};

/// The lines of a file.
fn rows(name: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/cases/image/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn text<'a>(row: &'a Value, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::as_str)
}

fn texts<'a>(row: &'a Value, key: &str) -> Vec<&'a str> {
    row[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The range of a row; with the switch that Flux does not set, if the row wants it.
fn range(row: &Value) -> Result<Range, InvalidRange> {
    let range = Range::parse(text(row, "constraint").expect("a constraint"))?;
    match row["include_prerelease"] == true {
        true => Ok(range.including_prereleases()),
        false => Ok(range),
    }
}

/// The version of a row under a key, by the row's mode.
fn version<'a>(row: &'a Value, key: &str) -> Option<Version<'a>> {
    let text = text(row, key).expect("a version");
    match row.get("mode").and_then(Value::as_str) {
        Some("strict") => Version::strict(text).ok(),
        Some("flux-tag") => Version::tag(text).ok(),
        _ => Version::loose(text).ok(),
    }
}

#[test]
fn ranges_accept_what_masterminds_accepts() {
    for name in ["semver_constraints", "semver_grid", "semver_validity_grid", "semver_reasons"] {
        for row in rows(name) {
            check_constraint(&row);
        }
    }
}

fn check_constraint(row: &Value) {
    if let Some(expected) = row.get("parse").and_then(Value::as_bool) {
        let version = version(row, "version");
        assert_eq!(version.is_some(), expected, "{row}");
        if let Some(normalized) = text(row, "normalized") {
            assert_eq!(version.map(|version| version.to_string()).as_deref(), Some(normalized), "{row}");
        }
        return;
    }
    let range = range(row);
    if let Some(valid) = row.get("valid").and_then(Value::as_bool) {
        assert_eq!(range.is_ok(), valid, "{row}: {range:?}");
    }
    if let Some(error) = text(row, "error") {
        assert_eq!(range.as_ref().map_err(ToString::to_string).expect_err("an error"), error, "{row}");
    }
    if let Some(canonical) = text(row, "canonical") {
        assert_eq!(range.as_ref().expect("a range").to_string(), canonical, "{row}");
    }
    if row.get("version").is_some() {
        let (range, version) = (range.expect("a range"), version(row, "version").expect("a version"));
        if let Some(expected) = row.get("match").and_then(Value::as_bool) {
            assert_eq!(range.matches(&version), expected, "{row}");
            assert_eq!(range.reasons(&version).is_empty(), expected, "{row}");
        }
        if let Some(reason) = text(row, "reason") {
            assert_eq!(range.reasons(&version).first().map(String::as_str), Some(reason), "{row}");
        }
    }
}

#[test]
fn versions_compare_as_in_masterminds() {
    for row in ["semver_compare", "semver_compare_grid"].into_iter().flat_map(rows) {
        if let Some(sorted) = row.get("sorted_desc") {
            check_sorted(&row, sorted);
            continue;
        }
        let parsed = |key| version(&row, key).expect("a version");
        let order = parsed("a").precedence(&parsed("b"));
        match row.get("compare").and_then(Value::as_i64) {
            Some(expected) => assert_eq!(order as i64, expected, "{row}"),
            None => {
                let holds = match text(&row, "op") {
                    Some("gt") => order == Ordering::Greater,
                    Some("ge") => order != Ordering::Less,
                    Some("lt") => order == Ordering::Less,
                    Some("le") => order != Ordering::Greater,
                    Some("eq") => order == Ordering::Equal,
                    op => panic!("unknown operator {op:?} in {row}"),
                };
                assert_eq!(Some(holds), row["result"].as_bool(), "{row}");
            }
        }
    }
}

fn check_sorted(row: &Value, expected: &Value) {
    let range = Range::parse(text(row, "filter_constraint").expect("a constraint")).expect("a range");
    let tags = texts(row, "input");
    let mut versions: Vec<_> = tags.iter().filter_map(|tag| Some((Version::tag(tag).ok()?, *tag))).collect();
    versions.retain(|(version, _)| range.matches(version));
    versions.sort_by(|(one, _), (other, _)| other.precedence(one));
    let printed: Vec<_> = versions.iter().map(|(version, _)| version.to_string()).collect();
    let expected: Vec<_> = expected.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let stripped: Vec<_> = expected.iter().map(|tag| tag.trim_start_matches('v')).collect();
    // Equal versions may come in any order.
    assert_eq!(printed, stripped, "{row}");
}

#[test]
fn policies_choose_what_flux_chooses() {
    for row in rows("policies") {
        let policy: PolicyChoice = serde_json::from_value(row["policy"].clone()).expect("a policy");
        let filter_tags: Option<TagFilter> =
            row.get("filterTags").map(|filter| serde_json::from_value(filter.clone()).expect("a filter"));
        let spec = ImagePolicySpec { policy, filter_tags, ..ImagePolicySpec::default() };
        let tags = texts(&row, "versions");
        let outcome = Policy::new(&spec).and_then(|policy| policy.latest(&tags));
        match (text(&row, "expected"), text(&row, "error")) {
            (Some(expected), _) => assert_eq!(outcome, Ok(expected), "{row}"),
            (None, error) => assert_eq!(outcome.map_err(|error| error.to_string()).err().as_deref(), error, "{row}"),
        }
    }
}

#[test]
fn filters_let_through_what_those_of_flux_let_through() {
    for row in rows("filters") {
        let tags = texts(&row, "tags");
        match text(&row, "kind") {
            Some("filterTags") => {
                let part = |key| text(&row, key).unwrap_or_default().to_owned();
                let filter =
                    Filter::new(&TagFilter { pattern: part("pattern"), extract: part("extract") }).expect("a filter");
                let mut extract = filter.extractor();
                let mut values: Vec<_> = tags.iter().filter_map(|tag| extract(tag)).collect();
                values.sort();
                values.dedup();
                assert_eq!(values, texts(&row, "expected_sorted"), "{row}");
            }
            Some("exclusionList") => {
                let patterns = match row["default"] == true {
                    true => api::image::DEFAULT_EXCLUSION_LIST.to_vec(),
                    false => texts(&row, "patterns"),
                };
                let patterns: Vec<_> =
                    patterns.into_iter().map(|text| Pattern::new(text).expect("a pattern")).collect();
                let kept: Vec<_> =
                    tags.into_iter().filter(|tag| !patterns.iter().any(|one| one.is_match(tag))).collect();
                assert_eq!(kept, texts(&row, "expected"), "{row}");
            }
            // What the scanner does with a listing is tested there.
            Some("scan" | "latestTags") => {}
            kind => panic!("unknown kind {kind:?}"),
        }
    }
}
