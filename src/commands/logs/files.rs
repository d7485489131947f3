//! Logs in the files of a standalone slipway: its own, and those of each container.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use reconcile::{Store, clock};

use super::Wanted;
use crate::{
    commands::{
        Exit, print,
        streams::{is_heard, print_raw},
    },
    run::{
        INSTANCE, STORAGE,
        log::{FILE, older},
    },
};

/// How often files are looked at for more.
const LOOK: Duration = Duration::from_millis(200);

/// A file and how much of it was read.
#[derive(Default)]
struct Tail {
    offset: u64,
}

impl Tail {
    /// The whole lines that were written since. A file that is shorter than before was begun anew.
    fn read(&mut self, path: &Path) -> std::io::Result<Vec<String>> {
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        self.offset += whole as u64;
        Ok(String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect())
    }
}

/// Prints them, and goes on where that is asked for.
pub(super) async fn run(wanted: &Wanted<'_>, store: &Store) -> anyhow::Result<Exit> {
    let Some(folder) = store.database().read(INSTANCE, STORAGE).await? else {
        bail!("the state does not say where logs are kept: no slipway has run over it since this version")
    };
    let folder = PathBuf::from(String::from_utf8_lossy(&folder).into_owned());
    match wanted.workload() {
        Some((kind, name)) => {
            wanted.check_pods()?;
            pods(wanted, &folder, kind.kind, name).await
        }
        None => own(wanted, &folder).await,
    }
}

async fn own(wanted: &Wanted<'_>, folder: &Path) -> anyhow::Result<Exit> {
    let path = folder.join(FILE);
    let mut tail = Tail::default();
    let mut lines = Tail::default().read(&older(&path))?;
    lines.extend(tail.read(&path)?);
    let shown: Vec<String> = lines.iter().filter_map(|line| wanted.own(line)).collect();
    wanted.show(&shown);
    if !wanted.args.follow {
        if shown.is_empty() {
            eprintln!("The log has no such line.");
        }
        return Ok(Exit::Done);
    }
    while is_heard() {
        clock::sleep(LOOK).await;
        let more = tail.read(&path)?;
        print(&more.iter().filter_map(|line| wanted.own(line)).collect::<String>());
    }
    Ok(Exit::Done)
}

async fn pods(wanted: &Wanted<'_>, folder: &Path, kind: &str, name: &str) -> anyhow::Result<Exit> {
    let all = folder.join("local/logs").join(&wanted.namespace);
    let mut tails: BTreeMap<PathBuf, Tail> = BTreeMap::new();
    let containers = containers(&all, kind, name);
    if containers.is_empty() && !wanted.args.follow {
        eprintln!("No pod of {}/{name} in namespace {:?} has written a log.", kind.to_lowercase(), wanted.namespace);
    }
    for (pod, path) in containers {
        let mut lines = Tail::default().read(&older(&path))?;
        lines.extend(tails.entry(path.clone()).or_default().read(&path)?);
        wanted.show(&lines.iter().map(|line| wanted.of_pod(&pod, line)).collect::<Vec<_>>());
    }
    if !wanted.args.follow {
        return Ok(Exit::Done);
    }
    while is_heard() {
        clock::sleep(LOOK).await;
        for (pod, path) in self::containers(&all, kind, name) {
            let more = tails.entry(path.clone()).or_default().read(&path)?;
            print_raw(&more.iter().map(|line| wanted.of_pod(&pod, line)).collect::<String>());
        }
    }
    Ok(Exit::Done)
}

/// Name of the pod and file of each container of a workload; those that wrote last come last.
fn containers(all: &Path, kind: &str, name: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for pod in fs::read_dir(all).into_iter().flatten().flatten() {
        let folder = pod.file_name().to_string_lossy().into_owned();
        // A pod is named after its Deployment, the revision, and chance.
        let is_asked_for = match kind {
            "Pod" => folder == name,
            _ => folder.rsplitn(3, '-').nth(2) == Some(name),
        };
        if !is_asked_for {
            continue;
        }
        for file in fs::read_dir(pod.path()).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
                found.push((written, folder.clone(), path));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, pod, path)| (pod, path)).collect()
}
