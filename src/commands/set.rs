//! `slipway set`: what the updater would change in files here, and, unless told otherwise, the change.

mod diff;
pub mod files;

use anyhow::ensure;
use api::image::{ImagePolicy, ImageUpdateAutomation};
use kube::ResourceExt as _;
use reconcile::clock;
use serde::Serialize;
use updater::{
    message, selector,
    setters::{self, Change, Policies},
};

use super::{Exit, objects, table::count};
use crate::args::{Output, update::Set};

/// What puts markers where there are none.
pub const HOW_TO_MARK: &str =
    "to put markers beside images: slipway markers add PATH --image IMAGE --policy NAMESPACE:NAME";

/// The answer. Field names are part of the command contract.
#[derive(Debug, Default, Serialize)]
struct Answer {
    changes: Vec<Change>,
    warnings: Vec<String>,
    message: String,
    /// With `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

/// Runs the verb. Input that cannot be read is an error, and with JSON an answer without changes too.
pub fn run(args: &Set) -> anyhow::Result<Exit> {
    let outcome = set(args);
    if let (Err(error), Output::Json) = (&outcome, args.output) {
        super::print_json(&Answer { warnings: vec![super::told(error).join(": ")], ..Answer::default() })?;
    }
    outcome
}

fn set(args: &Set) -> anyhow::Result<Exit> {
    let automation: Option<ImageUpdateAutomation> = args.automation.as_deref().map(objects::one).transpose()?;
    if let (Some(automation), Some(file)) = (&automation, &args.automation) {
        let checked = automation.spec.update().check();
        checked.map_err(|problem| anyhow::anyhow!("{file}: spec.update.strategy: {problem}"))?;
    }
    let policies = policies(&args.file, automation.as_ref())?;
    ensure!(args.path.exists(), "{}: no such file or folder", args.path.display());
    let below = automation.as_ref().map(|automation| automation.spec.update().path).unwrap_or_default();
    let root = setters::root(&below).iter().fold(args.path.clone(), |joined, part| joined.join(part));
    ensure!(root.exists(), "{}: no such file or folder (spec.update.path)", root.display());
    let tree = files::tree(&args.path)?;
    ensure!(root.canonicalize()?.starts_with(&tree), "{}: leads out of {}", root.display(), tree.display());
    let mut answer = Answer { diff: args.diff.then(String::new), ..Answer::default() };
    // All files are read before one is written: a link and its target both show what was there.
    let mut edits = Vec::new();
    let all = files::below(&root, &tree, &mut answer.warnings)?;
    for found in &all {
        let content = files::read(found)?;
        let edited = setters::edit(&found.name, &content, &policies);
        let unread = found.unread().filter(|_| !edited.changes.is_empty());
        let is_skipped = unread.is_some() && automation.is_some();
        answer.warnings.extend(unread);
        if is_skipped {
            continue;
        }
        answer.changes.extend(edited.changes);
        answer.warnings.extend(edited.warnings.iter().map(ToString::to_string));
        let Some(new) = edited.content else { continue };
        if let Some(diff) = &mut answer.diff {
            diff.push_str(&diff::lines(&found.name, &content, &new));
        }
        edits.push((&found.path, new));
    }
    if !answer.changes.is_empty() {
        // Without an automation the message is the one that Flux writes where nothing is said.
        let silent = || ImageUpdateAutomation::new("", api::image::ImageUpdateAutomationSpec::default());
        answer.message = message::render(&automation.unwrap_or_else(silent), &answer.changes, clock::now())
            .map_err(|error| anyhow::anyhow!("{}: {error}", args.automation.as_deref().unwrap_or("message")))?;
    }
    if !args.dry_run {
        edits.iter().try_for_each(|(path, new)| files::replace(path, new))?;
    }
    match args.output {
        Output::Json => super::print_json(&answer)?,
        Output::Table => {
            let unchanged = if answer.changes.is_empty() { unchanged(&all, &policies, args)? } else { String::new() };
            super::print(&(table(&answer, args) + &unchanged));
        }
    }
    Ok(Exit::Done)
}

/// Why nothing changes: the markers are right, name no policy with an image, or are not there.
fn unchanged(all: &[files::Found], policies: &Policies, args: &Set) -> anyhow::Result<String> {
    let mut markers = Vec::new();
    for found in all {
        // A file that cannot be read as YAML was told of.
        markers.extend(setters::list(&found.name, &files::read(found)?, policies).unwrap_or_default());
    }
    let right = markers.iter().filter(|marker| marker.is_covered()).count();
    Ok(match (markers.len(), right) {
        (0, _) => {
            eprintln!("hint: {HOW_TO_MARK}");
            format!("No markers found under {}.\n", args.path.display())
        }
        (_, 0) => format!("No commit needed: no marker names a policy with an image in {}.\n", args.file.join(", ")),
        (_, 1) => "No commit needed: 1 marker already names the chosen tag.\n".into(),
        (_, right) => format!("No commit needed: {right} markers already name the chosen tags.\n"),
    })
}

/// The chosen images of the policies in the files; with an automation only those that it would follow.
pub fn policies(files: &[String], automation: Option<&ImageUpdateAutomation>) -> anyhow::Result<Policies> {
    let invalid = |problem| anyhow::anyhow!("failed to parse policy selector: {problem}");
    let wanted = automation.and_then(|automation| automation.spec.policy_selector.as_ref());
    selector::check(wanted).map_err(invalid)?;
    let (mut chosen, mut known) = (Vec::new(), Vec::new());
    for file in files {
        for policy in objects::all::<ImagePolicy>(file)? {
            let namespace = policy.namespace().unwrap_or_else(|| "default".into());
            if let Some(automation) = automation {
                let selected = selector::selects(wanted, policy.metadata.labels.as_ref()).map_err(invalid)?;
                if !selected || automation.namespace().is_some_and(|own| own != namespace) {
                    continue;
                }
            }
            let full_name = format!("{namespace}:{}", policy.name_any());
            // In a file, one that has chosen nothing is worth a warning.
            let Some((labels, latest)) =
                policy.status.and_then(|status| Some((status.latest_labels, status.latest_ref?)))
            else {
                continue;
            };
            known.push((full_name.clone(), labels));
            chosen.push((full_name, latest));
        }
    }
    Ok(Policies::new(chosen).labelled(known))
}

/// The answer for people; with a diff, the commit as `git show` prints it: the message, then the lines.
fn table(answer: &Answer, args: &Set) -> String {
    let mut text = String::new();
    if let Some(diff) = answer.diff.as_ref().filter(|diff| !diff.is_empty()) {
        let message: String = answer.message.lines().map(|line| format!("    {line}\n")).collect();
        text.push_str(&format!("{message}\n{diff}\n"));
    }
    for change in &answer.changes {
        text.push_str(&format!("{}: {} -> {} ({})\n", change.file, change.old, change.new, change.setter));
    }
    for warning in &answer.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let files: std::collections::BTreeSet<_> = answer.changes.iter().map(|change| &change.file).collect();
    let (markers, files) = (count(answer.changes.len(), "marker"), count(files.len(), "file"));
    text.push_str(&match (answer.changes.len(), args.dry_run) {
        (0, _) => String::new(),
        (_, true) => format!("Would change {markers} in {files}.\n"),
        (_, false) => format!("Changed {markers} in {files}.\n"),
    });
    text
}
