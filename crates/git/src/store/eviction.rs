//! Locks of mirrors, and the end of those that nobody has opened for long.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};

/// A mirror that nobody has opened for so long is removed. It costs no more than another fetch.
const UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);

/// Takes the lock of a mirror, after waiting for whoever has it. The time of the file says when it was last taken.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        // Whoever removed the mirror while we waited has removed this file too: then it locks nothing.
        if fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| there.ino() == ours.ino())) {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now })?;
            return Ok(file);
        }
    }
}

/// Removes the mirrors below `cache` that nobody has opened for long. That of `own`, which is open, says what time it is.
pub(crate) fn evict(cache: &Path, own: &str) -> io::Result<()> {
    let now = fs::metadata(cache.join(format!("{own}.lock")))?.modified()?;
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        if !is_lock || path.file_stem().is_some_and(|stem| stem == own) {
            continue;
        }
        let last = fs::metadata(&path)?.modified()?;
        if now.duration_since(last).unwrap_or_default() < UNUSED {
            continue;
        }
        let lock = File::options().write(true).open(&path)?;
        if lock.try_lock().is_ok() {
            let folder = path.with_extension("");
            tracing::info!(folder = %folder.display(), "removing a mirror that nobody uses");
            fs::remove_dir_all(folder).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;

    use super::*;

    #[test]
    fn a_mirror_that_nobody_opens_goes_and_one_in_use_stays() {
        let cache = tempfile::tempdir().unwrap();
        let path = |name: &str| cache.path().join(name);
        let open = |name: &str| {
            fs::create_dir(path(name)).unwrap();
            lock(&path(&format!("{name}.lock"))).unwrap()
        };
        let (own, used, recent) = (open("own"), open("used"), open("recent"));
        let now = own.metadata().unwrap().modified().unwrap();
        let unused = open("unused");
        for file in [&used, &unused] {
            file.set_times(FileTimes::new().set_modified(now - UNUSED)).unwrap();
        }
        drop((unused, recent));
        evict(cache.path(), "own").unwrap();
        let left = ["own", "used", "recent", "unused"].map(|name| path(name).exists());
        assert_eq!(left, [true, true, true, false]);
        assert!(!path("unused.lock").exists());
    }
}
