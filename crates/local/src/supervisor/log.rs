//! The output of a container, in a file of bounded size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, PipeReader, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use tokio::{io::AsyncReadExt as _, net::unix::pipe};

/// A file that grows beyond this is put aside, and the one before it is removed.
const LIMIT_BYTES: u64 = 8 << 20;
/// Folders of ended pods that are kept for each Deployment.
const KEPT_PODS: usize = 32;

/// Copies the output of a process to a file until it ends. A log that cannot be written does not stop the process.
pub async fn copy(output: PipeReader, path: PathBuf) {
    if let Err(error) = try_copy(output, &path).await {
        tracing::warn!(path = %path.display(), %error, "log cannot be written");
    }
}

async fn try_copy(output: PipeReader, path: &Path) -> io::Result<()> {
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
    let mut file = open(path)?;
    let mut size = file.metadata()?.len();
    let mut buffer = vec![0; 8 << 10];
    loop {
        let count = output.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if size + count as u64 > LIMIT_BYTES {
            fs::rename(path, path.with_extension("log.1"))?;
            file = open(path)?;
            size = 0;
        }
        // A failed write loses a piece of the log; reading goes on, or the process would block on it.
        let _ = file.write_all(&buffer[..count]);
        size += count as u64;
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Makes the folder for the logs of a pod, and removes those of long-ended pods of the same Deployment.
pub fn folder(all: &Path, pod: &str, deployment: &str) -> io::Result<()> {
    fs::create_dir_all(all)?;
    let mut old: Vec<_> = fs::read_dir(all)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().rsplitn(3, '-').nth(2) == Some(deployment))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    old.sort();
    for (_, path) in old.iter().rev().skip(KEPT_PODS) {
        let _ = fs::remove_dir_all(path);
    }
    fs::create_dir_all(all.join(pod))
}
