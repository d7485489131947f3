//! The files of a source at one revision, in memory: what a build reads, and all that it can reach.

use std::collections::BTreeMap;

/// Files by their path below the root, with `/` between the parts and no `.` or `..` among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// The given files. One whose path leaves the root is left out.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files = files.into_iter().filter_map(|(path, content)| Some((join("", &path)?, content))).collect();
        Self { files }
    }

    /// Content of the file.
    pub fn read(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Whether something is below this directory; the root, `""`, always is one.
    pub fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.below(path).next().is_some()
    }

    /// Copies what is below directory `from` of another tree to directory `to` of this one.
    pub fn graft(&mut self, other: &Self, from: &str, to: &str) -> Result<(), String> {
        let outside = |path: &str| format!("'{path}' is outside the source");
        let source = join("", from.trim_start_matches('/')).ok_or_else(|| outside(from))?;
        let target = join("", to.trim_start_matches('/')).ok_or_else(|| outside(to))?;
        if !other.is_directory(&source) {
            return Err(format!("there is no directory '{from}'"));
        }
        for path in other.below(&source) {
            let relative = path[source.len()..].trim_start_matches('/');
            let path_here = join(&target, relative).ok_or_else(|| outside(relative))?;
            self.files.insert(path_here, other.files[path].clone());
        }
        Ok(())
    }

    /// Paths of the files below the directory, at any depth, in byte order.
    pub fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let from = self.files.range::<str, _>((std::ops::Bound::Included(prefix.as_str()), std::ops::Bound::Unbounded));
        from.map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(&prefix))
    }
}

/// The path that `relative`, seen from `directory`, names below the root; `None` if it is absolute or leaves the root.
pub fn join(directory: &str, relative: &str) -> Option<String> {
    if relative.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The directory that holds the file.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Last part of the path.
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_root() {
        let cases = [
            ("", "./apps/", Some("apps")),
            ("apps/production", "../base", Some("apps/base")),
            ("apps", "..", Some("")),
            ("apps", "../..", None),
            ("", "../x", None),
            ("apps", "/etc/passwd", None),
            ("apps", "a/../../b", Some("b")),
        ];
        for (directory, relative, expected) in cases {
            assert_eq!(join(directory, relative).as_deref(), expected, "{directory} {relative}");
        }
    }

    #[test]
    fn a_directory_is_not_a_file_with_the_same_beginning() {
        let tree = Tree::new([("apps/a.yaml".into(), vec![]), ("apps-old/b.yaml".into(), vec![])]);
        assert_eq!(tree.below("apps").collect::<Vec<_>>(), ["apps/a.yaml"]);
        assert!(tree.is_directory("apps") && !tree.is_directory("app") && !tree.is_directory("apps/a.yaml"));
    }

    #[test]
    fn a_directory_can_be_grafted() {
        let text = |path: &str| (path.to_owned(), path.as_bytes().to_vec());
        let other = Tree::new([text("base/a.yaml"), text("base/b/c.yaml"), text("x.yaml")]);
        let mut tree = Tree::new([text("apps/own.yaml")]);
        tree.graft(&other, "./base", "/apps/shared").unwrap();
        assert_eq!(tree.below("").collect::<Vec<_>>(), ["apps/own.yaml", "apps/shared/a.yaml", "apps/shared/b/c.yaml"]);
        tree.graft(&other, "", "all").unwrap();
        assert_eq!(tree.read("all/x.yaml"), Some(&b"x.yaml"[..]));
        assert!(tree.graft(&other, "none", "y").is_err() && tree.graft(&other, "base", "../up").is_err());
    }

    proptest::proptest! {
        #[test]
        fn joined_paths_have_no_dots(directory in "[a-c/.]{0,8}", relative in "[a-c/.]{0,12}") {
            if let Some(directory) = join("", &directory) && let Some(path) = join(&directory, &relative) {
                proptest::prop_assert!(path.split('/').all(|part| part != ".."));
                proptest::prop_assert!(!path.starts_with('/'));
            }
        }
    }
}
