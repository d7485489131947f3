//! The sample cases, run through the built binary as its users run it. Beside the modules in `cases/` lie the cases.

mod hooks;
mod images;
mod rollouts;

use serde_json::Value;

use crate::support::slipway;

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

#[test]
fn every_manifest_of_the_mission_is_taken_and_what_cannot_be_meant_is_said() {
    let answer = slipway(&["check", "tests/cases/manifests/mission.yaml", "-o", "json"]).json();
    let findings = answer["findings"].as_array().expect("findings").iter();
    let found: Vec<_> = findings.map(|row| (text(row, "severity"), text(row, "name"), text(row, "field"))).collect();
    let expected = [
        ("warning", "myapp", "apiVersion"),
        ("warning", "myapp", "apiVersion"),
        ("warning", "info-alerts", "spec.inclusionList[0]"),
    ];
    assert_eq!(found, expected, "{answer}");
}
