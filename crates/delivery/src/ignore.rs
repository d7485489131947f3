//! Which files of a repository belong to its artifact: patterns in `.gitignore` syntax.
//!
//! Source: reference delivery.md section 5.9; Flux `pkg/sourceignore`.

use std::sync::LazyLock;

use regex::Regex;

/// Left out unless `spec.ignore` says otherwise. Source: Flux `pkg/sourceignore` defaults.
static DEFAULTS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let text = ".git/\n.gitignore\n.gitmodules\n.gitattributes\n\
    *.jpg\n*.jpeg\n*.gif\n*.png\n*.wmv\n*.flv\n*.tar.gz\n*.zip\n\
    .github/\n.circleci/\n.travis.yml\n.gitlab-ci.yml\nappveyor.yml\n.drone.yml\ncloudbuild.yaml\n\
    codeship-services.yml\ncodeship-steps.yml\n**/.goreleaser.yml\n**/.sops.yaml\n**/.flux.yaml\n";
    text.lines().filter_map(Pattern::parse).collect()
});

/// Name of the file in a repository's root that adds patterns.
pub const FILE: &str = ".sourceignore";

/// Patterns, of which the last one that matches decides.
#[derive(Clone, Debug)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    regex: Regex,
    directories_only: bool,
    includes: bool,
}

impl Patterns {
    /// The patterns of a repository: those of `spec.ignore`, or else the defaults; then those of its `.sourceignore`.
    pub fn new(spec: Option<&str>, file: Option<&str>) -> Self {
        let parse = |text: &str| text.lines().filter_map(Pattern::parse).collect::<Vec<_>>();
        let mut patterns = spec.map_or_else(|| DEFAULTS.clone(), parse);
        patterns.extend(parse(file.unwrap_or_default()));
        Self { patterns }
    }

    /// Whether the file is left out: it, or a directory above it, is excluded.
    pub fn excludes(&self, path: &str) -> bool {
        let directories = path.match_indices('/').map(|(end, _)| (&path[..end], true));
        directories.chain([(path, false)]).any(|(path, is_directory)| {
            let deciding = self.patterns.iter().rev().find(|pattern| pattern.matches(path, is_directory));
            deciding.is_some_and(|pattern| !pattern.includes)
        })
    }
}

impl Pattern {
    /// The pattern of a line; `None` for an empty line, a comment, or what is no pattern.
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (includes, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (directories_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let anchored = line.contains('/');
        let body = expression(line.strip_prefix('/').unwrap_or(line));
        let start = if anchored { "^" } else { "^(?:.*/)?" };
        let regex = Regex::new(&format!("{start}{body}$")).ok()?;
        Some(Self { regex, directories_only, includes })
    }

    fn matches(&self, path: &str, is_directory: bool) -> bool {
        (is_directory || !self.directories_only) && self.regex.is_match(path)
    }
}

/// The glob as a regular expression: `*` and `?` stay within a path's part, `**` does not.
fn expression(glob: &str) -> String {
    let mut result = String::new();
    let mut rest = glob;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            (result, rest) = (result + "(?:.*/)?", after);
        } else if let Some(after) = rest.strip_prefix("**") {
            (result, rest) = (result + ".*", after);
        } else if let Some((class, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let class = class.strip_prefix('!').map_or_else(|| class.to_owned(), |negated| format!("^{negated}"));
            (result, rest) = (result + "[" + &class.replace('[', "\\[") + "]", after);
        } else {
            match first {
                '*' => result.push_str("[^/]*"),
                '?' => result.push_str("[^/]"),
                '\\' => {}
                other => result.push_str(&regex::escape(&other.to_string())),
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &str, excluded: &[&str], kept: &[&str]) {
        let patterns = Patterns::new(Some(patterns), None);
        for path in excluded {
            assert!(patterns.excludes(path), "{path} is kept");
        }
        for path in kept {
            assert!(!patterns.excludes(path), "{path} is excluded");
        }
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        check("*.md", &["a.md", "x/y/b.md"], &["a.mdx", "md"]);
        check("/docs", &["docs", "docs/a"], &["x/docs/a"]);
        check("docs/", &["docs/a", "x/docs/a"], &["docs"]);
        check("a/*/c", &["a/b/c", "a/b/c/d"], &["a/b/x/c", "x/a/b/c"]);
        check("**/tmp", &["tmp", "a/b/tmp/c"], &["atmp"]);
        check("a/**/z", &["a/z", "a/b/c/z"], &["z"]);
        check("# exclude all\n/*\n!/deploy/", &["a.yaml", "src/deploy/x"], &["deploy/a.yaml", "deploy/b/c.yaml"]);
        check("*.yaml\n!keep.yaml", &["a.yaml"], &["keep.yaml", "x/keep.yaml"]);
        check("[ab].txt", &["a.txt"], &["c.txt"]);
    }

    #[test]
    fn defaults_leave_ci_files_out_and_the_repositorys_own_file_adds() {
        let patterns = Patterns::new(None, Some("secret/\n"));
        for path in [".github/workflows/ci.yaml", "logo.png", "x/.sops.yaml", "secret/a.yaml", ".gitlab-ci.yml"] {
            assert!(patterns.excludes(path), "{path}");
        }
        assert!(!patterns.excludes("apps/a.yaml"));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_patterns_never_panic(text in "[\\PC\n]{0,40}", path in "[a-c/.]{1,8}") {
            Patterns::new(Some(&text), None).excludes(&path);
        }
    }
}
