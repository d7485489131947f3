//! What was logged lately, in a file of bounded size.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use tracing_subscriber::fmt::MakeWriter;

/// Its name in the storage folder.
pub const FILE: &str = "slipway.log";
/// A file that grows beyond this is put aside, and the one before it is removed.
const LIMIT_BYTES: u64 = 1 << 20;

/// The file that was put aside.
pub fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// The file, for all threads.
#[derive(Clone)]
pub struct File(Arc<Mutex<Open>>);

struct Open {
    path: PathBuf,
    file: fs::File,
    size: u64,
}

impl File {
    /// Goes on with the file in that folder.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let opened = open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(Open { path, file, size }))))
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Open {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size + line.len() as u64 > LIMIT_BYTES {
            fs::rename(&self.path, older(&self.path))?;
            self.file = open(&self.path)?;
            self.size = 0;
        }
        self.size += line.len() as u64;
        self.file.write_all(line)
    }
}

impl io::Write for File {
    /// A line that cannot be kept is on standard error all the same.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for File {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_does_not_grow_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::open(folder.path()).unwrap();
        let line = vec![b'x'; 400 << 10];
        for _ in 0..6 {
            file.write_all(&line).unwrap();
        }
        let path = folder.path().join(FILE);
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!((size(&path), size(&older(&path))), (800 << 10, 800 << 10));
        assert_eq!(File::open(folder.path()).unwrap().0.lock().unwrap().size, 800 << 10);
    }
}
