//! `slipway markers`: every marker with its policy and its value, and markers put beside images that have none.

use std::path::Path;

use anyhow::{bail, ensure};
use serde::Serialize;
use updater::setters::{self, Listed};

use super::{
    Exit,
    set::{self, files},
    table,
};
use crate::args::{
    Output,
    update::{Markers, MarkersAct, MarkersAdd},
};

/// The list. Field names are part of the command contract.
#[derive(Debug, Serialize)]
struct List {
    markers: Vec<Row>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    listed: Listed,
    /// Null when no policies were given.
    covered: Option<bool>,
}

/// What was added.
#[derive(Debug, Default, Serialize)]
struct Added {
    added: Vec<Place>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Place {
    file: String,
    line: usize,
}

/// Runs the verb. With policies, a marker that none of them covers is the honest negative answer.
pub fn run(args: &Markers) -> anyhow::Result<Exit> {
    match (&args.act, &args.path) {
        (Some(MarkersAct::Add(args)), _) => add(args).map_err(|error| super::wrong(args.output, error)),
        (None, Some(path)) => list(args, path).map_err(|error| super::wrong(args.output, error)),
        (None, None) => bail!("say where: slipway markers PATH"),
    }
}

fn list(args: &Markers, path: &Path) -> anyhow::Result<Exit> {
    let policies = set::policies(&args.file, None)?;
    let mut answer = List { markers: Vec::new(), warnings: Vec::new() };
    let mut skipped = Vec::new();
    each(path, &mut skipped, |found, content| {
        match setters::list(&found.name, content, &policies) {
            Ok(listed) => {
                answer.warnings.extend(found.unread().filter(|_| !listed.is_empty()));
                answer.markers.extend(listed.into_iter().map(|listed| {
                    let covered = (!args.file.is_empty()).then(|| listed.is_covered());
                    Row { listed, covered }
                }));
            }
            Err(warning) => answer.warnings.push(warning.to_string()),
        }
        Ok(())
    })?;
    answer.warnings.extend(skipped);
    let is_fine = answer.warnings.is_empty()
        && answer.markers.iter().all(|row| row.listed.problem.is_none() && row.covered != Some(false));
    match args.output {
        Output::Json => super::print_json(&answer)?,
        Output::Table => {
            let rows: Vec<Vec<String>> = answer.markers.iter().map(cells).collect();
            match rows.is_empty() {
                true => eprintln!("No markers found under {}.\nhint: {}", path.display(), set::HOW_TO_MARK),
                false => super::print(&table::render(Some(&["WHERE", "MARKER", "VALUE", "STATE"]), &rows)),
            }
            answer.warnings.iter().for_each(|warning| super::print(&format!("warning: {warning}\n")));
        }
    }
    Ok(if is_fine { Exit::Done } else { Exit::No })
}

fn cells(row: &Row) -> Vec<String> {
    let listed = &row.listed;
    let state = match (&listed.problem, &listed.wanted, row.covered) {
        (Some(problem), _, _) => problem.clone(),
        (None, Some(wanted), _) if listed.value.as_ref() == Some(wanted) => "up to date".to_owned(),
        (None, Some(wanted), _) => format!("due: {wanted}"),
        (None, None, Some(_)) => "no such policy with an image".to_owned(),
        (None, None, None) => String::new(),
    };
    let value = listed.value.clone().unwrap_or_default();
    vec![format!("{}:{}", listed.file, listed.line), listed.setter.clone(), value, state]
}

fn add(args: &MarkersAdd) -> anyhow::Result<Exit> {
    let parts: Vec<&str> = args.policy.split(':').collect();
    let is_setter = matches!(parts.as_slice(), [_, _] | [_, _, "tag" | "name" | "digest"])
        && parts.iter().all(|part| !part.is_empty() && !part.contains(['"', '\\', ' ']));
    ensure!(
        is_setter,
        "--policy {:?}: write namespace:name, and :tag, :name or :digest behind it for a part",
        args.policy
    );
    let last = args.image.rsplit('/').next().unwrap_or_default();
    ensure!(
        !last.is_empty() && !last.contains([':', '@']),
        "--image {:?}: write the image without tag and digest, as ghcr.io/team/app",
        args.image
    );
    let mut answer = Added::default();
    let mut edits = Vec::new();
    let mut skipped = Vec::new();
    each(&args.path, &mut skipped, |found, content| {
        match setters::add(&found.name, content, &args.image, &args.policy) {
            Ok(added) => {
                answer.warnings.extend(found.unread().filter(|_| !added.lines.is_empty()));
                let places = added.lines.iter().map(|line| Place { file: found.name.clone(), line: *line });
                answer.added.extend(places);
                answer.warnings.extend(added.warnings.iter().map(ToString::to_string));
                edits.extend(added.content.map(|content| (found.path.clone(), content)));
            }
            Err(warning) => answer.warnings.push(warning.to_string()),
        }
        Ok(())
    })?;
    answer.warnings.extend(skipped);
    if !args.dry_run {
        edits.iter().try_for_each(|(path, new)| files::replace(path, new))?;
    }
    match args.output {
        Output::Json => super::print_json(&answer)?,
        Output::Table => {
            answer.added.iter().for_each(|place| super::print(&format!("{}:{}\n", place.file, place.line)));
            answer.warnings.iter().for_each(|warning| super::print(&format!("warning: {warning}\n")));
            let verb = if args.dry_run { "Would add" } else { "Added" };
            let why = match answer.added.is_empty() {
                true => format!(": no value without a marker names {}", args.image),
                false => String::new(),
            };
            super::print(&format!("{verb} {}{why}.\n", table::count(answer.added.len(), "marker")));
        }
    }
    Ok(if answer.added.is_empty() { Exit::No } else { Exit::Done })
}

/// Shows every file that may hold markers.
fn each(
    path: &Path,
    warnings: &mut Vec<String>,
    mut show: impl FnMut(&files::Found, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    ensure!(path.exists(), "{}: no such file or folder", path.display());
    let tree = files::tree(path)?;
    for found in files::below(path, &tree, warnings)? {
        let content = files::read(&found)?;
        show(&found, &content)?;
    }
    Ok(())
}
