//! `slipway semver`: which versions a range accepts.

use std::fmt::Write as _;

use policy::{Range, Version};
use serde::Serialize;

use super::{Exit, mark::sign};
use crate::args::{Output, Semver};

/// The answer. Field names are part of the command contract.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    range: &'a str,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    versions: Vec<Row<'a>>,
}

/// One version of the answer.
#[derive(Debug, Serialize)]
struct Row<'a> {
    version: &'a str,
    parsed: Option<String>,
    #[serde(rename = "match")]
    matches: bool,
    reason: Option<String>,
}

/// Runs the verb. A range that accepts none of the versions is the negative answer.
pub fn run(args: &Semver) -> anyhow::Result<Exit> {
    let standard_input = match args.versions.iter().any(|version| version == "-") {
        true => super::read("-")?,
        false => String::new(),
    };
    let versions = args.versions.iter().flat_map(|version| match version.as_str() {
        "-" => standard_input.lines().filter(|line| !line.is_empty()).collect(),
        version => vec![version],
    });
    let range = Range::parse(&args.range);
    let range = if args.include_prerelease { range.map(Range::including_prereleases) } else { range };
    let error = range.as_ref().err().map(ToString::to_string);
    let versions = versions.map(|version| row(version, range.as_ref().ok(), error.as_deref())).collect();
    let answer = Answer { range: &args.range, valid: range.is_ok(), error, versions };
    match args.output {
        Output::Json => super::print_json(&answer)?,
        Output::Table => super::print(&table(&answer)),
    }
    if let Some(error) = &answer.error {
        anyhow::bail!("the range {:?} cannot be read: {error}", answer.range);
    }
    let is_negative = !answer.versions.is_empty() && answer.versions.iter().all(|row| !row.matches);
    Ok(if is_negative { Exit::No } else { Exit::Done })
}

/// What becomes of one version. Of several reasons the first is told, as Masterminds' own messages do.
fn row<'a>(version: &'a str, range: Option<&Range>, error: Option<&str>) -> Row<'a> {
    let parsed = Version::loose(version);
    let reason = match (&parsed, range) {
        (Err(problem), _) => Some(problem.to_string()),
        (Ok(_), None) => error.map(|error| format!("the range is invalid: {error}")),
        (Ok(parsed), Some(range)) => range.reasons(parsed).into_iter().next(),
    };
    let parsed = parsed.ok().map(|version| version.to_string());
    Row { version, parsed, matches: reason.is_none(), reason }
}

/// The answer for people.
fn table(answer: &Answer<'_>) -> String {
    let width = answer.versions.iter().map(|row| row.version.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for row in &answer.versions {
        let _ = match &row.reason {
            None => writeln!(out, "{} {:width$}  in range", sign("✔", "ok"), row.version),
            Some(reason) => writeln!(out, "{} {:width$}  {reason}", sign("✘", "! "), row.version),
        };
    }
    let matching = answer.versions.iter().filter(|row| row.matches).count();
    if answer.valid {
        let _ = match answer.versions.len() {
            0 => writeln!(out, "{} is a valid range", answer.range),
            all => writeln!(out, "{} accepts {matching} of {all}", answer.range),
        };
    }
    out
}
