//! The promises of the layout (DESIGN, STYLE): they hold because this file fails when they do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PURE: [&str; 5] = ["api", "policy", "template", "expression", "trust"];
const SERVICES: [&str; 3] = ["reconcile", "oci", "git"];
const STAGES: [&str; 6] = ["scanner", "updater", "canary", "notification", "delivery", "local"];

/// Files of stage crates that are shells: they await, as their name or their job says. All others are pure.
const SHELLS: [&str; 6] = ["controller", "supervisor", "proxy", "tags", "image", "layers"];

const FILE_CEILING: usize = 400;
const FUNCTION_CEILING: usize = 60;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder of the repository with one of these endings, without build products.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') && name != "cases" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let all = files("src", &[".rs"]).into_iter().chain(files("crates", &[".rs"]));
    all.map(|path| (path.clone(), fs::read_to_string(&path).expect("a readable file"))).collect()
}

fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches" | "examples")))
}

/// The text before the tests at the end of a file.
fn without_tests(text: &str) -> &str {
    let mut offset = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let opens = |next: &&str| next.trim_start().starts_with("mod ") && next.trim_end().ends_with('{');
        if line.starts_with("#[cfg(test)]") && lines.peek().is_some_and(opens) {
            return &text[..offset];
        }
        offset += line.len();
    }
    text
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn complain(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn dependencies(name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(format!("crates/{name}/Cargo.toml"))).expect("a manifest");
    let section = text.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_crate_belongs_to_a_layer() {
    let mut found: Vec<_> = fs::read_dir(root().join("crates"))
        .expect("crates")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let mut known: Vec<_> = [&PURE[..], &SERVICES[..], &STAGES[..]].concat();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn layers_depend_downwards_only() {
    let layer: BTreeMap<&str, u8> = PURE
        .iter()
        .map(|name| (*name, 0))
        .chain(SERVICES.iter().map(|name| (*name, 1)))
        .chain(STAGES.iter().map(|name| (*name, 2)))
        .collect();
    let mut wrong = Vec::new();
    for (name, own) in &layer {
        for dependency in dependencies(name) {
            let Some(other) = layer.get(dependency.as_str()) else { continue };
            if other > own || (other == own && *own > 0) {
                wrong.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    complain("arrows point down only; no stage on another, no service on another", wrong);
}

#[test]
fn pure_crates_have_no_runtime_no_http_no_client() {
    let mut wrong = Vec::new();
    for name in PURE {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "-p", name, "-e", "normal", "--prefix", "none"])
            .current_dir(root())
            .output()
            .expect("cargo tree runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let dependency = line.split(' ').next().unwrap_or_default();
            if ["tokio", "hyper", "reqwest", "kube-client", "kube-runtime", "rusqlite", "gix"].contains(&dependency) {
                wrong.push(format!("{name} has {dependency} in its tree"));
            }
        }
    }
    complain("pure crates", wrong);
}

#[test]
fn pure_files_of_stages_never_await() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let path = relative(&path);
        let parts: Vec<&str> = path.split('/').collect();
        let ["crates", stage, "src", rest @ ..] = parts.as_slice() else { continue };
        let shell = rest.iter().any(|part| SHELLS.contains(&part.trim_end_matches(".rs")));
        if !STAGES.contains(stage) || shell || *rest == ["lib.rs"] || rest.ends_with(&["tests.rs"]) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.contains(".await") || line.contains("clock::now(") {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    complain("pure files await nothing and read no clock", wrong);
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") && !is_test_file(&path) {
            wrong.push(format!("{} does not open with //!", relative(&path)));
        }
        let lines = without_tests(&text).lines().count();
        if !is_test_file(&path) && lines > FILE_CEILING {
            wrong.push(format!("{} has {lines} lines, more than {FILE_CEILING}", relative(&path)));
        }
    }
    complain("files", wrong);
}

#[test]
fn functions_stay_short() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if is_test_file(&path) {
            continue;
        }
        for (start, length) in functions(without_tests(&text)) {
            if length > FUNCTION_CEILING {
                wrong.push(format!("{}:{start} has {length} lines", relative(&path)));
            }
        }
    }
    complain("functions longer than the ceiling", wrong);
}

/// Start line and length of each function, told by rustfmt's indentation: it ends at the first `}` under its `fn`.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let mut words = trimmed.split([' ', '(']);
        let is_function =
            words.find(|word| !matches!(*word, "pub" | "crate)" | "super)" | "async" | "const")) == Some("fn");
        if !is_function || trimmed.ends_with(';') || trimmed.ends_with('}') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(end) = lines[index..].iter().position(|line| *line == close) {
            found.push((index + 1, end + 1));
        }
    }
    found
}

#[test]
fn names_are_the_fields_own() {
    let banned = ["util", "utils", "common", "misc", "helper", "helpers", "manager", "v2", "mod"];
    let wrong = sources()
        .into_iter()
        .filter(|(path, _)| path.file_stem().is_some_and(|stem| banned.iter().any(|name| stem == *name)))
        .map(|(path, _)| relative(&path));
    complain("banned module names", wrong.collect());
}

#[test]
fn todos_carry_an_issue_and_no_test_is_ignored_or_sleeps() {
    let mut wrong = Vec::new();
    let all = sources().into_iter().map(|(path, _)| path).chain(files("tests", &[".rs"]));
    for path in all.filter(|path| !path.ends_with("architecture.rs")) {
        let text = fs::read_to_string(&path).expect("a readable file");
        let tests_from = if is_test_file(&path) { 0 } else { without_tests(&text).lines().count() };
        for (number, line) in text.lines().enumerate() {
            let sleeps = line.contains("thread::sleep(") || line.contains("time::sleep(");
            let unissued = line.contains("TODO") && !line.contains("TODO(#");
            if unissued || line.contains("#[ignore") || (number >= tests_from && sleeps) {
                wrong.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
            }
        }
    }
    complain("tests", wrong);
}

#[test]
fn documents_name_only_paths_that_exist() {
    let mut wrong = Vec::new();
    for path in files("", &[".md"]) {
        let text = fs::read_to_string(&path).expect("a readable file");
        for word in text.split(|c: char| c.is_whitespace() || "`()[]<>,;\"'|".contains(c)) {
            let word = word.trim_end_matches(['.', ':', '/']);
            let looks_like_a_path = ["src/", "crates/", "tests/", "deploy/", "benches/", "docs/", "examples/"]
                .iter()
                .any(|start| word.starts_with(start));
            if looks_like_a_path && !word.contains(['*', '{', '…', '$']) && !root().join(word).exists() {
                wrong.push(format!("{}: {word}", relative(&path)));
            }
        }
    }
    complain("documents name paths that do not exist", wrong);
}
