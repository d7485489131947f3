//! The choice for people: what was chosen, and how many tags each step left.

use std::fmt::Write as _;

use policy::{Candidate, Policy, Selection, Verdict};

use super::manifest::Manifest;

/// Tags named as examples in a row.
const EXAMPLES: usize = 3;

/// A step that drops tags.
struct Step {
    name: String,
    drops: fn(&Verdict<'_>) -> bool,
}

/// The table.
pub fn table(manifest: &Manifest, policy: &Policy, selection: &Selection<'_>) -> String {
    let mut out = String::new();
    let _ = match selection.latest() {
        Some(latest) if latest.value.as_deref() != Some(latest.tag) => {
            writeln!(out, "Chosen   {}   (compared as {})", latest.tag, latest.value.as_deref().unwrap_or_default())
        }
        Some(latest) => writeln!(out, "Chosen   {}", latest.tag),
        None => {
            writeln!(out, "Chosen   nothing: {}", selection.error.as_ref().map_or(String::new(), ToString::to_string))
        }
    };
    let _ = writeln!(out, "Rule     {}", rule(manifest));
    let _ = writeln!(out, "Because  {}\n", policy.summary(selection));
    let rows = rows(manifest, selection);
    let width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    let _ = writeln!(out, "{:width$}  {:>6}  {:>7}  FOR EXAMPLE", "STEP", "LEFT", "DROPPED");
    for (name, left, dropped, examples) in rows {
        let dropped = dropped.map_or(String::new(), |dropped| dropped.to_string());
        let line = format!("{name:width$}  {left:>6}  {dropped:>7}  {examples}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Name, tags left, tags dropped, and some of those, for every step that can drop anything.
pub fn rows(manifest: &Manifest, selection: &Selection<'_>) -> Vec<(String, usize, Option<usize>, String)> {
    let steps = steps(manifest, selection);
    let mut left = selection.candidates.len();
    let mut rows = vec![("listed".to_owned(), left, None, String::new())];
    for step in &steps {
        let dropped: Vec<_> = selection.candidates.iter().filter(|one| (step.drops)(&one.verdict)).collect();
        left -= dropped.len();
        rows.push((step.name.clone(), left, Some(dropped.len()), examples(&dropped)));
    }
    let is_barred = |one: &&Candidate<'_>| matches!(one.verdict, Verdict::Barred(_));
    let barred: Vec<_> = selection.candidates.iter().filter(is_barred).collect();
    if !barred.is_empty() {
        left -= barred.len();
        rows.push(("not barred by a rule".to_owned(), left, Some(barred.len()), examples(&barred)));
    }
    let fitting: Vec<_> = selection.candidates.iter().filter(|one| one.verdict == Verdict::Accepted).collect();
    if selection.error.is_none() && fitting.len() > 1 {
        rows.push(("best".to_owned(), 1, None, format!("then {}", examples(&fitting[1..]))));
    }
    rows
}

/// The rule in words.
pub fn rule(manifest: &Manifest) -> String {
    let choice = &manifest.spec.policy;
    let order = manifest.calver().map(|format| format!("calver {format}")).unwrap_or_else(|| {
        match (&choice.semver, &choice.alphabetical, &choice.numerical) {
            (Some(semver), ..) => format!("semver {}", semver.range),
            (None, Some(alphabetical), _) => format!("alphabetical {}", alphabetical.order),
            (None, None, Some(numerical)) => format!("numerical {}", numerical.order),
            (None, None, None) => "none".to_owned(),
        }
    });
    let filter = manifest.spec.filter_tags.as_ref().filter(|filter| !filter.pattern.is_empty());
    let filter = filter.map_or(String::new(), |filter| format!(" on tags matching {}", filter.pattern));
    let name = if manifest.name.is_empty() { String::new() } else { format!("   policy/{}", manifest.name) };
    format!("{order}{filter}{name}")
}

/// The steps that this policy has.
fn steps(manifest: &Manifest, selection: &Selection<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let is_excluded = |verdict: &Verdict<'_>| matches!(verdict, Verdict::Excluded(_));
    if selection.candidates.iter().any(|candidate| is_excluded(&candidate.verdict)) {
        steps.push(Step { name: "not on the exclusion list".to_owned(), drops: is_excluded });
    }
    if let Some(filter) = &manifest.spec.filter_tags {
        steps.push(Step {
            name: "matching the pattern".to_owned(),
            drops: |verdict| *verdict == Verdict::PatternMismatch,
        });
        if !filter.extract.is_empty() {
            let drops = |verdict: &Verdict<'_>| matches!(verdict, Verdict::SameValue(_));
            steps.push(Step { name: "different when extracted".to_owned(), drops });
        }
    }
    let choice = &manifest.spec.policy;
    if let Some(format) = manifest.calver() {
        let drops = |verdict: &Verdict<'_>| *verdict == Verdict::NotACalendarVersion;
        steps.push(Step { name: format!("of the form {format}"), drops });
    } else if let Some(semver) = &choice.semver {
        let drops = |verdict: &Verdict<'_>| matches!(verdict, Verdict::NotAVersion(_));
        steps.push(Step { name: "readable as semver".to_owned(), drops });
        let drops = |verdict: &Verdict<'_>| *verdict == Verdict::OutOfRange;
        steps.push(Step { name: format!("in range {}", semver.range), drops });
    } else if choice.alphabetical.is_none() && choice.numerical.is_some() {
        steps.push(Step { name: "readable as a number".to_owned(), drops: |verdict| *verdict == Verdict::NotANumber });
    }
    steps
}

/// A few of the tags, and how many more there are.
fn examples(candidates: &[&Candidate<'_>]) -> String {
    let named: Vec<_> = candidates.iter().take(EXAMPLES).map(|candidate| candidate.tag).collect();
    match candidates.len().saturating_sub(EXAMPLES) {
        0 => named.join(", "),
        more => format!("{}, {more} more", named.join(", ")),
    }
}
