//! `slipway check`: what Flux or Flagger would reject or silently ignore in manifests, with file and line.
//!
//! What is looked for is a table of checks; each takes an object and what stands around it, and returns complaints.

mod automation;
mod canary;
mod cluster;
mod fields;
mod identity;
mod image;
mod metrics;
mod notification;
mod promql;
mod schema;

use std::path::{Path, PathBuf};

use ::canary::lint::Surroundings;
use anyhow::{anyhow, bail};
use api::{
    image as images,
    manifest::{Document, Places},
    meta::ObjectReference,
};
use reconcile::{Directory, Event, Store, store::EventFilter};
use serde::Serialize;

use super::{Exit, streams::Unreadable};
use crate::args::{Output, check::Check as Arguments};

/// A kind, and what is looked for in its objects.
struct Check {
    kind: &'static str,
    look: fn(&Subject<'_>) -> Vec<Complaint>,
}

/// What is looked for. An object whose fields cannot be read is not looked at further.
const CHECKS: &[Check] = &[
    Check { kind: "ImageRepository", look: fields::check::<images::ImageRepository> },
    Check { kind: "ImageRepository", look: image::repository },
    Check { kind: "ImagePolicy", look: fields::check::<images::ImagePolicy> },
    Check { kind: "ImagePolicy", look: image::policy },
    Check { kind: "ImageUpdateAutomation", look: fields::check::<images::ImageUpdateAutomation> },
    Check { kind: "ImageUpdateAutomation", look: automation::check },
    Check { kind: "GitRepository", look: fields::check::<api::source::GitRepository> },
    Check { kind: "Kustomization", look: fields::check::<api::kustomize::Kustomization> },
    Check { kind: "Canary", look: fields::check::<api::flagger::Canary> },
    Check { kind: "Canary", look: canary::check },
    Check { kind: "MetricTemplate", look: fields::check::<api::flagger::MetricTemplate> },
    Check { kind: "AlertProvider", look: fields::check::<api::flagger::AlertProvider> },
    Check { kind: "Alert", look: fields::check::<api::notification::Alert> },
    Check { kind: "Alert", look: notification::alert },
    Check { kind: "Provider", look: fields::check::<api::notification::Provider> },
    Check { kind: "Provider", look: notification::provider },
    Check { kind: "Receiver", look: fields::check::<api::notification::Receiver> },
    Check { kind: "Receiver", look: notification::receiver },
];

/// Groups whose objects are looked at: others have kinds of the same names.
pub const GROUPS: [&str; 5] = [
    "image.toolkit.fluxcd.io",
    "source.toolkit.fluxcd.io",
    "kustomize.toolkit.fluxcd.io",
    "notification.toolkit.fluxcd.io",
    "flagger.app",
];

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is refused, or can never work.
    Error,
    /// It is allowed and hardly meant.
    Warning,
}

/// What a check found in an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    severity: Severity,
    /// Path of the field, such as `spec.policy.semver.range`; empty for the object as a whole.
    field: String,
    message: String,
}

impl Complaint {
    /// It is refused, or can never work.
    pub fn error(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, field: field.into(), message: message.into() }
    }

    /// It is allowed and hardly meant.
    pub fn warning(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(field, message) }
    }
}

/// An object and what stands around it.
pub struct Subject<'a> {
    /// The object.
    pub object: &'a serde_json::Value,
    /// Which it is.
    pub id: ObjectReference,
    /// All objects of all files.
    pub around: &'a Surroundings<'a>,
    /// Router of Canaries that name no provider.
    pub mesh_provider: &'a str,
    /// Tags to try a policy on, if they are known.
    pub tags: Option<Vec<String>>,
    /// Events that a running slipway keeps; none if none is asked.
    pub events: &'a [Event],
}

/// A complaint and its place. Field names are part of the command contract.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    line: usize,
    severity: Severity,
    kind: String,
    namespace: String,
    name: String,
    field: String,
    message: String,
}

impl Finding {
    /// About a file, not about an object in it.
    fn of_file(file: &str, line: usize, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line,
            severity: Severity::Error,
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            field: String::new(),
            message,
        }
    }
}

/// A file that was read.
struct Manifests {
    path: String,
    places: Places,
    documents: Vec<Document>,
}

/// Runs the verb. An error in a manifest is the negative answer; warnings alone are none.
pub fn run(args: &Arguments) -> anyhow::Result<Exit> {
    let outcome = match args.files.as_slice() {
        [] => cluster::run(args).map_err(|error| or_files(args, error)),
        _ => manifests(args),
    };
    outcome.map_err(|error| super::wrong(args.output, error))
}

/// Whoever named neither a cluster nor files may have meant files.
fn or_files(args: &Arguments, error: anyhow::Error) -> anyhow::Error {
    let is_bare = args.access.is_default() && !args.pre && !args.takeover;
    if !is_bare || super::exit_of(&error) != Exit::Wrong {
        return error;
    }
    let told = super::told(&error).join("\n  because: ");
    anyhow!("{told}\nhint: to look at manifests: slipway check FILES")
}

fn manifests(args: &Arguments) -> anyhow::Result<Exit> {
    let mut findings = Vec::new();
    let files = read(&args.files, &mut findings)?;
    let all: Vec<_> = files.iter().flat_map(|file| &file.documents).map(|document| document.object.clone()).collect();
    let given = args.tags.as_deref().map(|path| super::choose::tags(&super::read(path)?)).transpose()?;
    let store = args.state.as_deref().map(Directory::attach).transpose()?.map(Store::Directory);
    let around = Surroundings::of(&all);
    let mut queries = promql::check(args, &around);
    if args.ask {
        queries.extend(super::wait_for(metrics::ask(args, store.clone(), &all))?);
    }
    let documents: Vec<_> =
        files.iter().flat_map(|file| file.documents.iter().map(move |document| (file, document))).collect();
    for (index, complaint) in queries {
        let (file, document) = documents[index];
        let id = ObjectReference::of(&document.object).unwrap_or_default();
        findings.push(place(file, document, id, complaint));
    }
    let events = match &store {
        Some(store) => super::wait_for(async { Ok(store.events(&EventFilter::default()).await?) })?,
        None => Vec::new(),
    };
    for file in &files {
        for document in &file.documents {
            if let Some(complaint) = identity::check(&document.object) {
                let id = identity::of(&document.object);
                findings.push(place(file, document, id, complaint));
                continue;
            }
            let Some(id) = ObjectReference::of(&document.object).filter(|id| GROUPS.contains(&id.group())) else {
                continue;
            };
            let tags = match (&given, &store) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(store)) => super::wait_for(image::kept_tags(store, &document.object))?,
                (None, None) => None,
            };
            let subject = Subject {
                object: &document.object,
                id,
                around: &around,
                mesh_provider: &args.mesh_provider,
                tags,
                events: &events,
            };
            let place = |complaint| place(file, document, subject.id.clone(), complaint);
            findings.extend(complaints(&subject).into_iter().map(place));
        }
    }
    findings.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    match args.output {
        Output::Json => super::print_json(&serde_json::json!({ "findings": findings }))?,
        Output::Table => super::print(&table(&findings, all.len())),
    }
    let is_negative = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if is_negative { Exit::No } else { Exit::Done })
}

/// What the checks of its kind find in an object.
fn complaints(subject: &Subject<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    for check in CHECKS.iter().filter(|check| check.kind == subject.id.kind) {
        found.extend((check.look)(subject));
        if found.iter().any(|complaint| complaint.severity == Severity::Error) {
            return found;
        }
    }
    found.extend(schema::check(subject, &found));
    found
}

/// Reads files and folders. What cannot be read as a manifest is a finding; a file that is not there is an error.
fn read(paths: &[String], findings: &mut Vec<Finding>) -> anyhow::Result<Vec<Manifests>> {
    let mut files = Vec::new();
    for path in paths {
        match Path::new(path).is_dir() {
            true => walk(Path::new(path), &mut files)?,
            false => files.push(path.clone()),
        }
    }
    if files.is_empty() {
        bail!("no manifests: {} holds neither *.yaml nor *.yml", paths.join(", "));
    }
    let mut all = Vec::new();
    for path in files {
        let text = match super::read(&path) {
            Ok(text) => text,
            Err(error) if paths.contains(&path) => return Err(error.into()),
            // One file of a folder does not hide the others.
            Err(error) => {
                findings.push(match error {
                    Unreadable::NoText { line, problem, .. } => Finding::of_file(&path, line, problem),
                    error => Finding::of_file(&path, 1, error.to_string()),
                });
                continue;
            }
        };
        let mut documents = Vec::new();
        for document in api::manifest::documents(&text) {
            match document {
                Ok(document) => documents.push(document),
                Err(error) => findings.push(Finding::of_file(&path, error.line, error.message)),
            }
        }
        all.push(Manifests { path, places: Places::of(text), documents });
    }
    Ok(all)
}

/// The manifests below a folder, in order.
fn walk(folder: &Path, files: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).and_then(|all| all.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> =
        entries.map_err(|error| anyhow!("cannot read {}: {}", folder.display(), super::streams::said(&error)))?;
    entries.sort();
    for path in entries {
        let is_manifest = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        match path.is_dir() && !path.is_symlink() {
            true => walk(&path, files)?,
            false if is_manifest => files.push(path.display().to_string()),
            false => {}
        }
    }
    Ok(())
}

fn place(file: &Manifests, document: &Document, id: ObjectReference, complaint: Complaint) -> Finding {
    let ObjectReference { kind, namespace, name, .. } = id;
    Finding {
        file: file.path.clone(),
        line: file.places.line(document.place, &complaint.field),
        severity: complaint.severity,
        kind,
        namespace,
        name,
        field: complaint.field,
        message: complaint.message,
    }
}

/// The findings for people: `file:line: error: ImagePolicy apps/app: field: message`.
fn table(findings: &[Finding], objects: usize) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        let slash = if finding.namespace.is_empty() { "" } else { "/" };
        let about =
            [finding.kind.clone(), format!("{}{slash}{}", finding.namespace, finding.name), finding.field.clone()];
        let [kind, name, field] = about;
        let object = if kind.is_empty() { String::new() } else { format!("{kind} {name}: ") };
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        out.push_str(&format!("{}:{}: {severity}: {object}{field}{}\n", finding.file, finding.line, finding.message));
    }
    if findings.is_empty() {
        let objects = super::table::count(objects, "object");
        out.push_str(&format!("{} nothing to complain about in {objects}\n", super::mark::sign("✔", "ok")));
    }
    out
}
