//! `slipway choose`: which tag an ImagePolicy chooses, and why not the others. Needs no server and no cluster, and can look
//! into a running slipway.

pub mod funnel;
pub mod live;
pub mod manifest;

use anyhow::{Context as _, anyhow, bail};
use policy::{Candidate, Facts, Policy, Rules, Selection, Verdict};
use reconcile::clock;
use scanner::result::Exclusions;
use serde::Serialize;
use serde_json::Value;

use self::manifest::Manifest;
use super::{Exit, mark::sign};
use crate::args::{Choose, Output};

/// The answer. Field names are part of the command contract.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    latest: Option<Latest<'a>>,
    reason: String,
    error: Option<String>,
    candidates: Vec<Row<'a>>,
}

/// The chosen tag.
#[derive(Debug, Serialize)]
struct Latest<'a> {
    tag: &'a str,
    value: &'a str,
}

/// One tag of the answer.
#[derive(Debug, Serialize)]
struct Row<'a> {
    tag: &'a str,
    value: Option<&'a str>,
    accepted: bool,
    reason: Option<String>,
}

/// Runs the verb. A policy that chooses nothing is the negative answer; one that cannot be read is an error.
pub fn run(args: &Choose) -> anyhow::Result<Exit> {
    let outcome = super::wait_for(choose(args));
    if let (Err(refusal), Output::Json) = (&outcome, args.output) {
        // Programs find the plain text in the answer; the place is for people, on standard error.
        let reason = super::told(refusal).join(": ");
        let text = refusal.downcast_ref::<policy::Error>().map_or_else(|| reason.clone(), ToString::to_string);
        super::print_json(&nothing(reason, Some(text)))?;
    }
    outcome
}

/// The answer where nothing could be looked at; the error is the reason unless there is a plainer one.
fn nothing<'a>(reason: String, error: Option<String>) -> Answer<'a> {
    let error = error.unwrap_or_else(|| reason.clone());
    Answer { latest: None, reason, error: Some(error), candidates: Vec::new() }
}

/// Reads, chooses, prints.
async fn choose(args: &Choose) -> anyhow::Result<Exit> {
    let (manifest, seen, live) = match &args.file {
        Some(file) => (Manifest::read(file, args.policy.as_deref())?, undated(given(args)?), None),
        None => match live::read(args).await? {
            Some((manifest, kept, live)) if args.tags.is_none() => (manifest, kept, Some(live)),
            Some((manifest, _, live)) => (manifest, undated(given(args)?), Some(live)),
            None => {
                if args.output == Output::Json {
                    super::print_json(&nothing("the image policy or its repository is not there".into(), None))?;
                }
                return Ok(Exit::No);
            }
        },
    };
    let (policy, exclusions) = (manifest.policy()?, manifest.exclusions()?);
    let (excluded, tags) = divided(&exclusions, &seen);
    let mut facts = facts(&manifest, &seen);
    let mut selection = match live {
        Some(live) => live.select((&policy, &manifest.rules()?), &tags, &mut facts).await?,
        None => by_file(&policy, manifest.rules()?, &tags, &facts),
    };
    selection.candidates.extend(excluded);
    match (&args.why_not, args.output) {
        (Some(tag), output) => return why_not(tag, &policy, &selection, output),
        (None, Output::Json) => super::print_json(&answer(&policy, &selection))?,
        (None, Output::Table) if args.all => super::print(&every(&policy, &selection)),
        (None, Output::Table) => super::print(&funnel::table(&manifest, &policy, &selection)),
    }
    Ok(if selection.error.is_some() { Exit::No } else { Exit::Done })
}

/// The policy, and the fate that every tag has under it as far as it can be told without asking the registry.
pub fn judge<'a>(
    manifest: &Manifest,
    exclusions: &'a Exclusions,
    seen: &'a live::Kept,
) -> anyhow::Result<(Policy, Selection<'a>)> {
    let policy = manifest.policy()?;
    let (excluded, tags) = divided(exclusions, seen);
    let mut selection = policy.select(&tags);
    manifest.rules()?.offline().apply(&policy, &mut selection, &facts(manifest, seen));
    selection.candidates.extend(excluded);
    Ok((policy, selection))
}

/// The tags on the exclusion list, with that verdict, and the others.
fn divided<'a>(exclusions: &'a Exclusions, seen: &'a live::Kept) -> (Vec<Candidate<'a>>, Vec<&'a str>) {
    let (excluded, tags): (Vec<&str>, Vec<&str>) =
        seen.iter().map(|(tag, _)| tag.as_str()).partition(|tag| exclusions.dropping(tag).is_some());
    let verdict = |tag| Verdict::Excluded(exclusions.dropping(tag).unwrap_or_default());
    (excluded.into_iter().map(|tag| Candidate { tag, value: None, verdict: verdict(tag) }).collect(), tags)
}

/// What rules look at beside the tags.
fn facts<'a>(manifest: &'a Manifest, seen: &'a live::Kept) -> Facts<'a> {
    let first_seen = seen.iter().filter_map(|(tag, seen)| Some((tag.as_str(), (*seen)?))).collect();
    Facts { now: clock::now(), current: manifest.current.as_deref(), first_seen, ..Facts::default() }
}

/// The choice of a policy in a file, whose registry is not asked.
fn by_file<'a>(policy: &Policy, rules: Rules, tags: &[&'a str], facts: &Facts<'_>) -> Selection<'a> {
    let offline = rules.clone().offline();
    if offline != rules {
        eprintln!(
            "note: platforms, build times and signatures are not looked at: the registry is asked only for a policy in a running slipway"
        );
    }
    let mut selection = policy.select(tags);
    offline.apply(policy, &mut selection, facts);
    selection
}

/// Tags of which nobody knows when they came.
fn undated(tags: Vec<String>) -> live::Kept {
    tags.into_iter().map(|tag| (tag, None)).collect()
}

/// The tags of the file that was named.
fn given(args: &Choose) -> anyhow::Result<Vec<String>> {
    let Some(path) = args.tags.as_deref() else { bail!("the tags are missing: --tags FILE") };
    if path == "-" && args.file.as_deref() == Some("-") {
        bail!("the policy and the tags cannot both come from standard input");
    }
    let text = super::read(path)?;
    tags(&text).with_context(|| format!("the tags in {path} cannot be read"))
}

/// The answer for programs.
fn answer<'a>(policy: &Policy, selection: &'a Selection<'_>) -> Answer<'a> {
    Answer {
        latest: selection.latest().map(|latest| Latest { tag: latest.tag, value: value(latest).unwrap_or_default() }),
        reason: policy.summary(selection),
        error: selection.error.as_ref().map(ToString::to_string),
        candidates: selection.candidates.iter().map(|candidate| row(policy, selection, candidate)).collect(),
    }
}

/// One tag for programs.
fn row<'a>(policy: &Policy, selection: &Selection<'_>, candidate: &'a Candidate<'_>) -> Row<'a> {
    Row {
        tag: candidate.tag,
        value: value(candidate),
        accepted: candidate.verdict == Verdict::Accepted,
        reason: reason(policy, selection, candidate),
    }
}

/// The rule that dropped a tag, or why it lost; none for the chosen one.
pub fn reason(policy: &Policy, selection: &Selection<'_>, candidate: &Candidate<'_>) -> Option<String> {
    let defeat = || {
        let chosen = selection.latest().filter(|chosen| chosen.tag != candidate.tag)?;
        Some(policy.defeat(candidate, chosen))
    };
    policy.reason(candidate).or_else(defeat)
}

/// Every tag with its fate, best first, for people.
fn every(policy: &Policy, selection: &Selection<'_>) -> String {
    let chosen = selection.latest().map(|chosen| chosen.tag);
    let rows: Vec<Vec<String>> = selection
        .candidates
        .iter()
        .map(|candidate| {
            let (mark, told) = match reason(policy, selection, candidate) {
                None if chosen == Some(candidate.tag) => (sign("✔", "ok"), policy.summary(selection)),
                None => (sign("·", "-"), "fits".to_owned()),
                Some(reason) if candidate.verdict == Verdict::Accepted => (sign("·", "-"), format!("fits, {reason}")),
                Some(reason) => (sign("✘", "!"), reason),
            };
            vec![mark.to_owned(), candidate.tag.to_owned(), value(candidate).unwrap_or("-").to_owned(), told]
        })
        .collect();
    super::table::render(Some(&["", "TAG", "COMPARED AS", "WHY"]), &rows)
}

/// What is compared for a candidate.
fn value<'a>(candidate: &'a Candidate<'_>) -> Option<&'a str> {
    candidate.value.as_deref()
}

/// Tells the fate of one tag. That it was not chosen is the negative answer.
fn why_not(tag: &str, policy: &Policy, selection: &Selection<'_>, output: Output) -> anyhow::Result<Exit> {
    let Some(place) = selection.candidates.iter().position(|candidate| candidate.tag == tag) else {
        bail!("{tag} is not among the tags");
    };
    let candidate = &selection.candidates[place];
    let sentence = match (policy.reason(candidate), selection.latest()) {
        (Some(reason), _) => format!("{tag} was dropped: {reason}"),
        (None, Some(latest)) if latest.tag == tag => format!("{tag} is chosen: {}", policy.summary(selection)),
        (None, Some(latest)) => {
            format!("{tag} fits, as number {}, but is {}", place + 1, policy.defeat(candidate, latest))
        }
        (None, None) => format!("{tag} fits, but nothing is chosen: {}", policy.summary(selection)),
    };
    match output {
        Output::Json => super::print_json(&row(policy, selection, candidate))?,
        Output::Table => super::print(&(sentence + "\n")),
    }
    Ok(if selection.latest().is_some_and(|latest| latest.tag == tag) { Exit::Done } else { Exit::No })
}

/// The tags of a text: one per line, a JSON list, or a JSON object with a list under `tags`, as registries answer.
pub fn tags(text: &str) -> anyhow::Result<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    // A tag begins with neither bracket.
    if !text.trim_start().starts_with(['[', '{']) {
        return Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect());
    }
    let listed = match serde_json::from_str(text)? {
        Value::Object(mut answer) => answer.remove("tags").unwrap_or_default(),
        listed => listed,
    };
    let Value::Array(items) = listed else { bail!("a list of tags is expected") };
    items
        .into_iter()
        .map(|item| match item {
            Value::String(tag) => Ok(tag),
            other => Err(anyhow!("a tag is a text, not {other}")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_as_lines_as_a_list_or_as_a_registry_answers() {
        for text in ["a\r\nb\n\n", "[\"a\", \"b\"]", "{\"name\": \"x\", \"tags\": [\"a\", \"b\"]}"] {
            assert_eq!(tags(text).expect(text), ["a", "b"], "{text}");
        }
        assert!(tags("[1]").is_err());
        assert!(tags("").expect("no tags").is_empty());
    }
}
