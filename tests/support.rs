//! What the tests of the whole share: running the binary, reading cases, copying trees.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The binary under test.
pub const SLIPWAY: &str = env!("CARGO_BIN_EXE_slipway");

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; −1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}) in {:?}; stderr: {}", self.stdout, self.stderr))
    }
}

/// Runs the binary with these arguments and this text on standard input.
pub fn slipway_with(arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(SLIPWAY)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("slipway starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = input.to_owned();
    // Written beside, as a full pipe would stop both sides.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().expect("slipway ends");
    writer.join().expect("the writer ends");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A client for plain HTTP.
pub fn client() -> reqwest::Client {
    // Another test may have installed the provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Runs the binary with these arguments.
pub fn slipway(arguments: &[&str]) -> Run {
    slipway_with(arguments, "")
}

/// The folder of a group of cases.
pub fn cases(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

/// The cases of a file: JSON Lines, or one JSON list.
pub fn rows(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(cases(name)).unwrap_or_else(|error| panic!("tests/cases/{name}: {error}"));
    let rows: Vec<Value> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(!rows.is_empty(), "tests/cases/{name} holds no case");
    rows
}

/// Copies a tree of files.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copied file");
        }
    }
}

/// Fails with all complaints, or passes if there are none.
pub fn settle(total: usize, wrong: &[String]) {
    assert!(wrong.is_empty(), "{} of {total} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
