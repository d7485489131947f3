//! One run of a container's process: how it is started, and how it is ended.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, PipeWriter},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;

/// A process to be started.
#[derive(Debug)]
pub struct Launch {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Marks it and its children as those of the pod.
    pub mark: String,
    /// Its working directory.
    pub folder: PathBuf,
    /// Where its output goes.
    pub output: PipeWriter,
}

/// The file of a program. Absolute names are looked for below the root first, then on this machine; names without a
/// slash likewise in every folder of `PATH`; others are relative to the working directory.
///
/// Differs: in a container this machine's files would not be seen. Here `/bin/sh` may be that of the machine.
pub fn program(name: &str, root: &Path, folder: &Path, path: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let below = |name: &str| root.join(name.trim_start_matches('/'));
    let folders = || path.split(':').filter(|folder| folder.starts_with('/'));
    let candidates: Vec<PathBuf> = match name {
        absolute if absolute.starts_with('/') => vec![below(absolute), PathBuf::from(absolute)],
        relative if relative.contains('/') => vec![folder.join(relative)],
        bare => {
            let inside = folders().map(|folder| below(folder).join(bare));
            inside.chain(folders().map(|folder| Path::new(folder).join(bare))).collect()
        }
    };
    candidates.into_iter().find(is_program)
}

/// The working directory: that of the container or the image, below the root; made if it is not there.
pub fn working_directory(wanted: &str, root: &Path) -> io::Result<PathBuf> {
    let parts = Path::new(wanted).components().filter_map(|part| match part {
        std::path::Component::Normal(part) => Some(part),
        _ => None,
    });
    let folder = root.join(parts.collect::<PathBuf>());
    fs::create_dir_all(&folder)?;
    // A link of the image stays inside, but the machine's folders may lie behind a mount; better be sure.
    let (real, root) = (folder.canonicalize()?, root.canonicalize()?);
    if real.starts_with(&root) {
        Ok(real)
    } else {
        Err(io::Error::other("the working directory lies outside of the image"))
    }
}

/// The signal that a name like `SIGQUIT`, `QUIT` or a number stands for; SIGTERM for anything else.
pub fn stop_signal(name: &str) -> Signal {
    match name.trim_start_matches("SIG") {
        "INT" | "2" => Signal::INT,
        "QUIT" | "3" => Signal::QUIT,
        "HUP" | "1" => Signal::HUP,
        "KILL" | "9" => Signal::KILL,
        "USR1" | "10" => Signal::USR1,
        "USR2" | "12" => Signal::USR2,
        "WINCH" | "28" => Signal::WINCH,
        _ => Signal::TERM,
    }
}

/// Asks the process to end, kills it when it has not after `grace`, and ends what it has left behind in its group.
pub async fn end(child: &mut Child, signal: Signal, grace: Duration) -> io::Result<ExitStatus> {
    let id = identify(child);
    if let Some(id) = id {
        let _ = kill_process(id, signal);
    }
    let status = match tokio::time::timeout(grace, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            if let Some(id) = id {
                let _ = kill_process_group(id, Signal::KILL);
            }
            child.wait().await
        }
    };
    sweep(id);
    status
}

/// The id of a process that has not been waited for.
pub fn identify(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Kills what a process that has ended left behind in its group. The group's number stays taken while it has members.
pub fn sweep(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}
