//! Links of a repository that lead to one of its files: what is marked there is edited through them, as in Flux. Links to
//! folders are not followed, nor those that lead out of the repository. Source: reference image-automation.md section 8.1.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use git::{Commit, File, Mirror, Mode};

/// Links that lead to links are followed so often.
const HOPS: usize = 8;
/// Longest target that a link has on Linux.
const TARGET_LIMIT_BYTES: u64 = 4096;

/// The plain files that links lead to, without those that are known.
pub(super) fn others(
    mirror: &Mirror,
    commit: &Commit,
    links: &[File],
    known: &[File],
) -> Result<Vec<File>, git::Error> {
    let mut paths: HashSet<PathBuf> = known.iter().map(|file| file.path.clone()).collect();
    let mut others = Vec::new();
    for link in links {
        others.extend(followed(mirror, commit, link)?.filter(|led| paths.insert(led.path.clone())));
    }
    Ok(others)
}

/// The plain file that a link leads to, if there is one.
fn followed(mirror: &Mirror, commit: &Commit, link: &File) -> Result<Option<File>, git::Error> {
    let mut file = link.clone();
    for _ in 0..HOPS {
        match file.mode {
            Mode::File | Mode::Executable => return Ok(Some(file)),
            Mode::Submodule => return Ok(None),
            Mode::Link => {}
        }
        if mirror.sizes(&[file.blob])?.iter().any(|size| *size > TARGET_LIMIT_BYTES) {
            return Ok(None);
        }
        let text = mirror.blob(file.blob)?;
        let Some(target) = target(&file.path, &text) else { return Ok(None) };
        let found = match mirror.files(commit, &target) {
            Ok(found) => found,
            Err(git::Error::PathNotFound { .. } | git::Error::HostilePath { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(found) = found.into_iter().find(|found| found.path == target) else { return Ok(None) };
        file = found;
    }
    Ok(None)
}

/// Where a link with this text leads, from the root of the repository; none if out of it.
fn target(link: &Path, text: &[u8]) -> Option<PathBuf> {
    let text = Path::new(std::str::from_utf8(text).ok()?);
    let target = git::normalize(&link.parent()?.join(text)).ok().filter(|_| text.is_relative())?;
    Some(target).filter(|target| !target.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_place_in_its_repository() {
        for (link, text, expected) in [
            ("a/b.yaml", "c.yaml", Some("a/c.yaml")),
            ("a/b.yaml", "./../c/d.yaml", Some("c/d.yaml")),
            ("b.yaml", "x/../y.yaml", Some("y.yaml")),
            ("a/b.yaml", "../../c.yaml", None),
            ("b.yaml", "../b.yaml", None),
            ("b.yaml", "/etc/passwd", None),
            ("a/b.yaml", "..", None),
        ] {
            assert_eq!(target(Path::new(link), text.as_bytes()).as_deref(), expected.map(Path::new), "{link} {text}");
        }
        assert_eq!(target(Path::new("a"), &[0xff]), None);
    }
}
