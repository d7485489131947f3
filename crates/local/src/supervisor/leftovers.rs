//! Ends what a killed run left behind. The kernel ends the processes we start; their own children it does not, so each
//! carries a mark of the state folder in its environment.

use std::{fs, io::Write as _, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result};

/// Name of the variable that marks processes of pods.
pub const MARK: &str = "SLIPWAY_STATE_MARK";

/// What the values of the variable begin with: as good as unique to one state folder.
#[derive(Clone, Debug)]
pub struct Mark(String);

impl Mark {
    /// The value for the processes of a pod.
    pub fn of(&self, pod: &str) -> String {
        format!("{}.{pod}.", self.0)
    }

    /// Kills what a pod that has ended left behind.
    pub fn end(&self, pod: &str) {
        kill(&self.of(pod));
    }

    /// Kills what all pods left behind.
    pub fn end_all(&self) {
        kill(&self.0);
    }
}

/// Kills every process that carries the mark of this folder; returns the mark. The folder is ours alone: the store's lock
/// sees to that.
pub fn end(folder: &Path) -> Result<Mark> {
    let path = folder.join("mark");
    let mark = match fs::read_to_string(&path) {
        Ok(mark) if !mark.is_empty() => mark,
        _ => {
            let mark = format!("{:016x}{:016x}", reconcile::clock::random(), reconcile::clock::random());
            fs::create_dir_all(folder).map_err(Error::file(folder))?;
            // Written whole or not at all: a run that was killed must be found by the next.
            let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::file(&path))?;
            file.write_all(mark.as_bytes()).map_err(Error::file(&path))?;
            file.persist(&path).map_err(|error| error.error).map_err(Error::file(&path))?;
            mark
        }
    };
    let mark = Mark(mark);
    mark.end_all();
    Ok(mark)
}

/// Kills every process whose mark begins so, but us.
fn kill(prefix: &str) {
    let wanted = format!("{MARK}={prefix}");
    let own = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // Other users' processes cannot be read, and are none of ours.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted.as_bytes()));
        if marked && id.unsigned_abs() != own {
            tracing::warn!(process = id, "ending a process that a pod left behind");
            let _ = Pid::from_raw(id).map(|id| kill_process(id, Signal::KILL));
        }
    }
}
