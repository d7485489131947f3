//! A Git server with one repository, a cache folder, and the `git` program as the judge of what happened.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use git::{Author, Checkout, Commit, Credentials, Draft, Expected, Mirror, Mirrors, NewCommit, Remote};
use tempfile::TempDir;

use crate::git_server::GitServer;

pub const MAIN: Checkout<'static> = Checkout::Branch("main");
pub const MAIN_REFERENCE: &str = "refs/heads/main";

pub struct World {
    pub server: GitServer,
    pub mirrors: Mirrors,
    pub folder: TempDir,
    pub repository: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// A server with the repository `fleet.git`, still empty.
    pub fn empty() -> Self {
        Self::empty_for("bot", "s3cret")
    }

    fn empty_for(user: &str, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let served = folder.path().join("served");
        std::fs::create_dir(&served).unwrap();
        let server = runtime.block_on(GitServer::start(&served, Some((user, password)))).unwrap();
        server.create_repository("fleet").unwrap();
        let repository = server.folder("fleet");
        let mirrors = Mirrors::new(folder.path().join("cache"));
        Self { server, mirrors, folder, repository, runtime }
    }

    /// The repository holds one commit with these files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        Self::empty().filled(files)
    }

    /// The same, for somebody with another login.
    pub fn with_login(files: &[(&str, &str)], user: &str, password: &str) -> Self {
        Self::empty_for(user, password).filled(files)
    }

    /// Runs something beside the server, for as long as the world stands.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    fn filled(self, files: &[(&str, &str)]) -> Self {
        let world = self;
        let work = world.work();
        for (path, content) in files {
            let path = work.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        world.publish("first");
        world
    }

    /// A work tree of somebody else, created at first use.
    pub fn work(&self) -> PathBuf {
        let work = self.folder.path().join("work");
        if !work.exists() {
            git(self.folder.path(), &["clone", "-q", self.repository.to_str().unwrap(), "work"]);
        }
        work
    }

    /// Commits everything in the work tree and pushes it to main.
    pub fn publish(&self, message: &str) {
        let work = self.work();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", message]);
        git(&work, &["push", "-q", "origin", "HEAD:main"]);
    }

    /// Somebody else changes a file on main.
    pub fn publish_file(&self, path: &str, content: &str) {
        let work = self.work();
        git(&work, &["fetch", "-q", "origin", "main"]);
        git(&work, &["reset", "-q", "--hard", "FETCH_HEAD"]);
        std::fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
        std::fs::write(work.join(path), content).unwrap();
        self.publish("by hand");
    }

    pub fn remote(&self) -> Remote {
        let mut remote = Remote::new(self.server.url("fleet.git"));
        remote.credentials = Credentials::Basic { username: "bot".into(), password: "s3cret".into() };
        remote
    }

    pub fn open(&self) -> Mirror {
        self.mirrors.open(&self.remote()).unwrap()
    }

    /// The mirror's folder.
    pub fn mirror_folder(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.folder.path().join("cache")).unwrap();
        entries.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).expect("a mirror")
    }

    /// What `git` says of the repository at the server.
    pub fn ask(&self, arguments: &[&str]) -> String {
        git(&self.repository, arguments)
    }

    /// The repository at the server is sound.
    pub fn check(&self) {
        self.ask(&["fsck", "--full", "--strict"]);
    }
}

/// Runs `git` in `folder`, and returns what it prints.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .output()
        .expect("git is missing: apt-get install git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn edits(files: &[(&str, &str)]) -> BTreeMap<PathBuf, Vec<u8>> {
    files.iter().map(|(path, content)| (PathBuf::from(path), content.as_bytes().to_vec())).collect()
}

pub fn commit(mirror: &Mirror, parent: Option<&Commit>, files: &[(&str, &str)]) -> NewCommit {
    let author = Author { name: "Slipway".into(), email: "slipway@example.com".into() };
    let time = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let draft = Draft { author: &author, message: "bump\n", time, signing: None };
    mirror.commit(parent, &edits(files), &draft).unwrap().expect("a change")
}

/// Fetches main, changes files, and pushes.
pub fn bump(mirror: &Mirror, files: &[(&str, &str)]) -> NewCommit {
    let parent = mirror.fetch(&MAIN).unwrap();
    let new = commit(mirror, Some(&parent), files);
    mirror.push(&new, MAIN_REFERENCE, Expected::At(parent.id), &[]).unwrap();
    new
}
