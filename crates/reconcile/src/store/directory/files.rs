//! The user's manifests: read, never written. A malformed file keeps its last good objects and marks them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use api::{conditions, manifest};
use notify::RecursiveMode;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    Directory,
    notices::Notices,
    objects::{self, Row, Writes},
};
use crate::{Error, Result, clock, object, store::merge};

/// Name under which the fields of the user's files are applied.
const MANAGER: &str = "manifests";
/// Type of the condition on objects whose file cannot be read at the moment.
const MANIFEST_VALID: &str = "ManifestValid";
/// How long a burst of writes to the folder may go on before it is read.
const SETTLE: Duration = Duration::from_millis(20);
/// How often the folder is read even when nobody reported a change: some file systems report none.
const RESCAN: Duration = Duration::from_secs(10);
/// Objects applied in one transaction: others come in between.
const BATCH: usize = 64;

/// The manifests' places and what was last read from each file.
#[derive(Debug)]
pub struct Folders {
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Known>,
    /// Objects whose condition tells of a file that cannot be read; none before the first look.
    marked: Option<BTreeSet<Row>>,
    /// What was said of files that cannot be read.
    told: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Known {
    stamp: (SystemTime, u64),
    objects: Vec<Manifest>,
    problem: Option<String>,
}

/// One object of a file, in the text that the database keeps of what was applied: as JSON values, thousands of them would
/// take many times the room, and taking a look at them every few seconds would be work.
#[derive(Clone, Debug)]
struct Manifest {
    row: Row,
    text: Arc<str>,
}

impl Manifest {
    fn of(object: &Value) -> Result<Self> {
        let row = Row::of(&object::require_reference(object)?);
        Ok(Self { row, text: api::manifest::text(&merge::applicable(object.clone())).into() })
    }
}

/// What the folders hold now.
#[derive(Debug, Default)]
struct Plan {
    /// The objects, each with the file that it stands in.
    objects: Vec<(Arc<str>, Manifest)>,
    /// Where each is among them.
    places: BTreeMap<Row, usize>,
    /// What is wrong with files.
    problems: BTreeMap<String, String>,
}

impl Plan {
    /// Whether this is what the files say of the object.
    fn says(&self, row: &Row, source: &str, text: &str) -> bool {
        let found = self.places.get(row).map(|place| &self.objects[*place]);
        found.is_some_and(|(file, manifest)| **file == *source && *manifest.text == *text)
    }
}

impl Folders {
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, files: BTreeMap::new(), marked: None, told: BTreeMap::new() }
    }

    /// Reads what changed since the last time.
    fn read(&mut self) -> Result<Plan> {
        let mut found = BTreeMap::new();
        for root in self.roots.clone() {
            for path in manifests(&root)? {
                let stamp = match std::fs::metadata(&path) {
                    Ok(metadata) => (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len()),
                    Err(_) => continue,
                };
                let known = match self.files.remove(&path) {
                    Some(known) if known.stamp == stamp => known,
                    _ => read_file(&path, stamp),
                };
                found.insert(path, known);
            }
        }
        self.files = found;
        Ok(self.plan())
    }

    /// What of the files' problems was not said before.
    fn news(&mut self, problems: &BTreeMap<String, String>) -> Vec<String> {
        let told = std::mem::replace(&mut self.told, problems.clone());
        let news = problems.iter().filter(|(file, problem)| told.get(*file) != Some(problem));
        news.map(|(_, problem)| problem.clone()).collect()
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (path, known) in &self.files {
            let source: Arc<str> = path.display().to_string().into();
            let mut problem = known.problem.clone();
            for manifest in &known.objects {
                let row = &manifest.row;
                if plan.places.contains_key(row) {
                    problem = Some(format!("{source}: {}/{} stands in another file too", row.kind, row.name));
                    continue;
                }
                plan.places.insert(row.clone(), plan.objects.len());
                plan.objects.push((Arc::clone(&source), manifest.clone()));
            }
            if let Some(problem) = problem {
                plan.problems.insert(source.to_string(), problem);
            }
        }
        plan
    }
}

/// The YAML files below a root, or the root itself if it is a file, in byte order. Hidden files and folders are left out.
fn manifests(root: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::File { path: root.display().to_string(), source };
    if std::fs::metadata(root).map_err(failed)?.is_file() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(failed)?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            match std::fs::metadata(&path) {
                _ if name.starts_with('.') => {}
                // A folder behind a link could be its own parent.
                Ok(metadata) if metadata.is_dir() && !path.is_symlink() => folders.push(path),
                Ok(metadata) if metadata.is_file() && (name.ends_with(".yaml") || name.ends_with(".yml")) => {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(path: &Path, stamp: (SystemTime, u64)) -> Known {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return Known { stamp, objects: Vec::new(), problem: Some(format!("{}: {error}", path.display())) };
        }
    };
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for document in manifest::documents(&text) {
        match document {
            Ok(document) => match Manifest::of(&document.object) {
                Ok(manifest) => objects.push(manifest),
                Err(error) => problems.push(format!("line {}: {error}", document.place.line)),
            },
            Err(error) => problems.push(error.to_string()),
        }
    }
    let more = match problems.len() {
        0 | 1 => String::new(),
        all => format!(" (and {} more)", all - 1),
    };
    // Who mends a file begins at its beginning.
    let problem = problems.first().map(|first| format!("{}: {first}{more}", path.display()));
    Known { stamp, objects, problem }
}

impl Directory {
    /// Reads the folders and brings what changed into the store.
    pub async fn rescan(&self) -> Result<()> {
        let this = self.clone();
        let read =
            tokio::task::spawn_blocking(move || this.0.folders.lock().unwrap_or_else(PoisonError::into_inner).read());
        let Ok(plan) = read.await else { return Ok(()) };
        let plan = Arc::new(plan?);
        let said = Arc::clone(&plan);
        let known = self.0.database.call(move |connection| known(connection, &said)).await?;
        let is_news = |manifest: &Manifest| known.get(&manifest.row).is_none_or(|applied| !applied.is_said);
        let news: Vec<_> = plan.objects.iter().filter(|(_, manifest)| is_news(manifest)).cloned().collect();
        for some in news.chunks(BATCH) {
            let some = some.to_vec();
            self.write(move |writes| some.iter().try_for_each(|(source, manifest)| apply(writes, source, manifest)))
                .await?;
        }
        for (row, Applied { source, .. }) in &known {
            if !plan.places.contains_key(row) && !plan.problems.contains_key(source) {
                let row = row.clone();
                self.write(move |writes| {
                    objects::forget(writes, &row, MANAGER)?;
                    objects::delete(writes, &row)
                })
                .await?;
            }
        }
        self.mark_all(&known, &plan).await?;
        // The folders are looked at every few seconds; what is wrong is news once.
        let news = self.0.folders.lock().unwrap_or_else(PoisonError::into_inner).news(&plan.problems);
        for problem in news {
            tracing::warn!(%problem, "manifest cannot be read; its last good objects stay");
        }
        Ok(())
    }

    /// Brings the conditions in line with the files' problems, touching only objects that have one or had one.
    async fn mark_all(&self, known: &BTreeMap<Row, Applied>, plan: &Plan) -> Result<()> {
        let before = self.0.folders.lock().unwrap_or_else(PoisonError::into_inner).marked.take();
        let (mut marked, mut marks) = (BTreeSet::new(), Vec::new());
        for (row, Applied { source, .. }) in known {
            let problem = plan.problems.get(source);
            if problem.is_some() || before.as_ref().is_none_or(|before| before.contains(row)) {
                marks.push((row.clone(), problem.cloned()));
            }
            if problem.is_some() {
                marked.insert(row.clone());
            }
        }
        if !marks.is_empty() {
            self.write(move |writes| marks.iter().try_for_each(|(row, problem)| mark(writes, row, problem.as_deref())))
                .await?;
        }
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner).marked = Some(marked);
        Ok(())
    }

    /// Follows the folders until dropped: changes are brought into the store as they are made.
    pub async fn follow_files(&self) {
        let roots = self.0.folders.lock().unwrap_or_else(PoisonError::into_inner).roots.clone();
        let roots = roots.iter().map(PathBuf::as_path);
        let mut notices = Notices::of(roots, RecursiveMode::Recursive, (SETTLE, RESCAN));
        loop {
            notices.next().await;
            if let Err(error) = self.rescan().await {
                tracing::warn!(%error, "manifests could not be read");
            }
        }
    }
}

/// Applies an object of a file.
fn apply(writes: &mut Writes<'_>, source: &str, manifest: &Manifest) -> rusqlite::Result<()> {
    // It was an object when the text was made.
    let object: Value = manifest.text.parse().unwrap_or_default();
    objects::apply(writes, &manifest.row, MANAGER, source, object).map(drop)
}

/// Sets or takes away the condition that tells of a file which cannot be read.
fn mark(writes: &mut Writes<'_>, row: &Row, problem: Option<&str>) -> rusqlite::Result<()> {
    let Some(object) = objects::read(writes.connection(), row)? else { return Ok(()) };
    let current = object.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
    let Ok(mut list) = serde_json::from_value::<Vec<api::Condition>>(current) else { return Ok(()) };
    match problem {
        None if conditions::find(&list, MANIFEST_VALID).is_none() => return Ok(()),
        None => conditions::remove(&mut list, MANIFEST_VALID),
        Some(problem) => {
            let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            let new = conditions::New {
                kind: MANIFEST_VALID,
                status: conditions::Status::False,
                reason: "InvalidManifest",
                message: &format!("{problem}; the last good version stays in force"),
                generation,
            };
            conditions::set(&mut list, new, clock::now());
        }
    }
    objects::write_status(writes, row, json!({ "conditions": list })).map(drop)
}

/// What the database knows of an object that a file holds, or held.
#[derive(Debug)]
struct Applied {
    /// The file.
    source: String,
    /// Whether the file says the same now.
    is_said: bool,
}

/// What the files applied last, against what they say now.
fn known(connection: &Connection, plan: &Plan) -> rusqlite::Result<BTreeMap<Row, Applied>> {
    let sql = "SELECT api_group, kind, namespace, name, source, body FROM applied WHERE manager = ?1";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![MANAGER], |found| {
        let row = Row { group: found.get(0)?, kind: found.get(1)?, namespace: found.get(2)?, name: found.get(3)? };
        let source: String = found.get(4)?;
        let is_said = plan.says(&row, &source, found.get_ref(5)?.as_str()?);
        Ok((row, Applied { source, is_said }))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_news_once_and_again_when_it_changes() {
        let mut folders = Folders::new(Vec::new());
        let said = |text: &str| BTreeMap::from([("a.yaml".to_owned(), text.to_owned())]);
        assert_eq!(folders.news(&said("line 1")), ["line 1"]);
        assert!(folders.news(&said("line 1")).is_empty());
        assert_eq!(folders.news(&said("line 2")), ["line 2"]);
        assert!(folders.news(&BTreeMap::new()).is_empty());
        assert_eq!(folders.news(&said("line 2")), ["line 2"]);
    }

    #[test]
    fn of_several_problems_in_a_file_the_first_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, "kind: A\nmetadata: [1]\n---\nkind: A\nmetadata: {name: a}\n---\nkind: [\n").unwrap();
        let known = read_file(&path, (SystemTime::UNIX_EPOCH, 0));
        let problem = known.problem.unwrap();
        assert!(problem.contains("a.yaml: line 1: ") && problem.ends_with(" (and 1 more)"), "{problem}");
        assert_eq!(known.objects.len(), 1);
    }
}
