//! The user's manifests: read, never written. A malformed file keeps its last good objects and marks them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use api::{conditions, manifest};
use notify::RecursiveMode;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    Directory,
    notices::Notices,
    objects::{self, Row},
};
use crate::{Error, Result, clock, object};

/// Name under which the fields of the user's files are applied.
const MANAGER: &str = "manifests";
/// Type of the condition on objects whose file cannot be read at the moment.
const MANIFEST_VALID: &str = "ManifestValid";
/// How long a burst of writes to the folder may go on before it is read.
const SETTLE: Duration = Duration::from_millis(20);
/// How often the folder is read even when nobody reported a change: some file systems report none.
const RESCAN: Duration = Duration::from_secs(10);

/// The manifests' places and what was last read from each file.
#[derive(Debug)]
pub struct Folders {
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Known>,
    /// Objects whose condition tells of a file that cannot be read; none before the first look.
    marked: Option<BTreeSet<Row>>,
}

#[derive(Clone, Debug)]
struct Known {
    stamp: (SystemTime, u64),
    objects: Vec<Value>,
    problem: Option<String>,
}

/// What the folders hold now, against what the database knows.
#[derive(Debug, Default)]
struct Plan {
    apply: Vec<(String, Value)>,
    problems: BTreeMap<String, String>,
    present: BTreeSet<Row>,
}

impl Folders {
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, files: BTreeMap::new(), marked: None }
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

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (path, known) in &self.files {
            let source = path.display().to_string();
            let mut problem = known.problem.clone();
            for value in &known.objects {
                match object::require_reference(value).map(|id| Row::of(&id)) {
                    Ok(row) if plan.present.contains(&row) => {
                        problem = Some(format!("{source}: {}/{} stands in another file too", row.kind, row.name));
                    }
                    Ok(row) => {
                        plan.present.insert(row);
                        plan.apply.push((source.clone(), value.clone()));
                    }
                    Err(error) => problem = Some(format!("{source}: {error}")),
                }
            }
            if let Some(problem) = problem {
                plan.problems.insert(source, problem);
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
    let (mut objects, mut problem) = (Vec::new(), None);
    for document in manifest::documents(&text) {
        match document {
            Ok(document) => match object::require_reference(&document.object) {
                Ok(_) => objects.push(document.object),
                Err(error) => problem = Some(format!("{}: line {}: {error}", path.display(), document.line)),
            },
            Err(error) => problem = Some(format!("{}: {error}", path.display())),
        }
    }
    Known { stamp, objects, problem }
}

impl Directory {
    /// Reads the folders and brings what changed into the store.
    pub async fn rescan(&self) -> Result<()> {
        let this = self.clone();
        let read =
            tokio::task::spawn_blocking(move || this.0.folders.lock().unwrap_or_else(PoisonError::into_inner).read());
        let Ok(plan) = read.await else { return Ok(()) };
        let plan = plan?;
        let known = self.0.database.call(|connection| known(connection)).await?;
        for (source, value) in &plan.apply {
            let id = object::require_reference(value)?;
            let unchanged = known
                .get(&Row::of(&id))
                .is_some_and(|(at, applied)| at == source && *applied == crate::store::merge::applicable(value));
            if !unchanged {
                self.apply_from(MANAGER, source, &id, value).await?;
            }
        }
        for (row, (source, _)) in &known {
            if !plan.present.contains(row) && !plan.problems.contains_key(source) {
                let row = row.clone();
                self.write(move |writes| {
                    objects::forget(writes, &row, MANAGER)?;
                    objects::delete(writes, &row)
                })
                .await?;
            }
        }
        self.mark_all(&known, &plan).await?;
        for problem in plan.problems.values() {
            tracing::warn!(%problem, "manifest cannot be read; its last good objects stay");
        }
        Ok(())
    }

    /// Brings the conditions in line with the files' problems, touching only objects that have one or had one.
    async fn mark_all(&self, known: &Applied, plan: &Plan) -> Result<()> {
        let before = self.0.folders.lock().unwrap_or_else(PoisonError::into_inner).marked.take();
        let mut marked = BTreeSet::new();
        for (row, (source, _)) in known {
            let problem = plan.problems.get(source).map(String::as_str);
            if problem.is_some() || before.as_ref().is_none_or(|before| before.contains(row)) {
                self.mark(row, problem).await?;
            }
            if problem.is_some() {
                marked.insert(row.clone());
            }
        }
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner).marked = Some(marked);
        Ok(())
    }

    /// Sets or takes away the condition that tells of a file which cannot be read.
    async fn mark(&self, row: &Row, problem: Option<&str>) -> Result<()> {
        let row = row.clone();
        let problem = problem.map(str::to_owned);
        self.write(move |writes| {
            let Some(object) = objects::read(writes.connection(), &row)? else { return Ok(()) };
            let current = object.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
            let Ok(mut list) = serde_json::from_value::<Vec<api::Condition>>(current) else { return Ok(()) };
            match &problem {
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
            objects::write_status(writes, &row, &json!({ "conditions": list })).map(drop)
        })
        .await
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

type Applied = BTreeMap<Row, (String, Value)>;

/// What the files applied last, and from which file each object came.
fn known(connection: &Connection) -> rusqlite::Result<Applied> {
    let sql = "SELECT api_group, kind, namespace, name, source, body FROM applied WHERE manager = ?1";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![MANAGER], |row| {
        let key = Row { group: row.get(0)?, kind: row.get(1)?, namespace: row.get(2)?, name: row.get(3)? };
        let body: String = row.get(5)?;
        Ok((key, (row.get(4)?, serde_json::from_str(&body).unwrap_or_default())))
    })?;
    rows.collect()
}
