//! Repositories as they are, against Git's own server: `git http-backend`.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../src/demo/git_server.rs"]
mod git_server;
#[path = "access/signing.rs"]
mod signing;
#[path = "access/ssh.rs"]
mod ssh;
#[path = "access/tls.rs"]
mod tls;
#[path = "support/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use git::{Checkout, Credentials, Draft, Error, Expected, Limits, LocalPaths, Mirrors, Mode, Remote};
use world::{MAIN, MAIN_REFERENCE, World, bump, commit, edits, git};

#[test]
fn a_bump_changes_the_edited_file_and_nothing_else() {
    let world =
        World::with(&[("apps/a.yaml", "image: a:1\n"), ("apps/deep/b.yaml", "image: b:1\n"), ("run.sh", "#!\n")]);
    let work = world.work();
    std::fs::set_permissions(work.join("run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("a.yaml", work.join("apps/link.yaml")).unwrap();
    world.publish("mode and link");

    let mirror = world.open();
    let new = bump(&mirror, &[("apps/deep/b.yaml", "image: b:2\n"), ("run.sh", "#!/bin/sh\n")]);

    world.check();
    assert_eq!(world.ask(&["rev-parse", "main"]).trim(), new.commit.id.to_string());
    let raw = world.ask(&["diff", "--raw", "--no-abbrev", "main~", "main"]);
    let changes: Vec<_> = raw.lines().map(|line| (&line[1..14], line.split('\t').nth(1).unwrap())).collect();
    assert_eq!(changes, [("100644 100644", "apps/deep/b.yaml"), ("100755 100755", "run.sh")]);
    assert_eq!(new.files, [PathBuf::from("apps/deep/b.yaml"), PathBuf::from("run.sh")]);
    assert_eq!(
        world.ask(&["log", "-1", "--format=%an|%ae|%cn|%at|%B", "main"]).trim(),
        "Slipway|slipway@example.com|Slipway|1700000000|bump"
    );
}

#[test]
fn files_are_listed_with_their_modes() {
    let world = World::with(&[("a.yaml", "a"), ("dir/b.yaml", "b"), ("dir.yaml", "c")]);
    std::os::unix::fs::symlink("../../etc/passwd", world.work().join("dir/link")).unwrap();
    world.publish("link");
    let mirror = world.open();
    let commit = mirror.fetch(&MAIN).unwrap();
    let list = |path: &str| {
        let files = mirror.files(&commit, Path::new(path)).unwrap();
        files.into_iter().map(|file| (file.path.display().to_string(), file.mode)).collect::<Vec<_>>()
    };
    let all = [("a.yaml", Mode::File), ("dir/b.yaml", Mode::File), ("dir/link", Mode::Link), ("dir.yaml", Mode::File)];
    let all = all.map(|(path, mode)| (path.to_owned(), mode));
    assert_eq!(list(""), all);
    assert_eq!(list("./"), all);
    assert_eq!(list("./dir/"), all[1..3]);
    assert_eq!(list("/dir"), all[1..3]);
    assert_eq!(list("dir/../a.yaml"), all[..1]);
    for path in ["absent", "a.yaml/b", "dir/absent"] {
        assert!(matches!(mirror.files(&commit, Path::new(path)), Err(Error::PathNotFound { .. })), "{path}");
    }
    for path in ["..", "dir/../../x"] {
        assert!(matches!(mirror.files(&commit, Path::new(path)), Err(Error::HostilePath { .. })), "{path}");
    }
    let folder = mirror.folder(&commit, Path::new("dir"), Limits::default()).unwrap();
    assert_eq!(folder, edits(&[("dir/b.yaml", "b")]));
    let limits = Limits { files: 2, ..Limits::default() };
    assert!(matches!(mirror.folder(&commit, Path::new(""), limits), Err(Error::TooLarge { .. })));
    let limits = Limits { total_bytes: 2, ..Limits::default() };
    assert!(matches!(mirror.folder(&commit, Path::new(""), limits), Err(Error::TooLarge { .. })));
}

#[test]
fn line_ends_and_bytes_stay_as_they_are() {
    let content = "a: 1\r\nb: \u{fffd}\u{1f600}\r\n\ttab  \r\nno newline";
    let world = World::with(&[("crlf.yaml", content)]);
    let mirror = world.open();
    let head = mirror.fetch(&MAIN).unwrap();
    let file = &mirror.files(&head, Path::new("crlf.yaml")).unwrap()[0];
    assert_eq!(mirror.blob(file.blob).unwrap(), content.as_bytes());
    let changed = content.replace("1", "2");
    bump(&mirror, &[("crlf.yaml", &changed)]);
    assert_eq!(world.ask(&["show", "main:crlf.yaml"]), changed);
}

#[test]
fn an_edit_that_changes_nothing_makes_no_commit() {
    let world = World::with(&[("a.yaml", "a"), ("b.yaml", "b")]);
    let mirror = world.open();
    let head = mirror.fetch(&MAIN).unwrap();
    let author = git::Author { name: "S".into(), email: "s@example.com".into() };
    let draft = Draft { author: &author, message: "x", time: head.time, signing: None };
    let none = mirror.commit(Some(&head), &edits(&[("a.yaml", "a"), ("b.yaml", "b")]), &draft);
    assert_eq!(none.unwrap(), None);
    let one = mirror.commit(Some(&head), &edits(&[("a.yaml", "a"), ("b.yaml", "c")]), &draft);
    assert_eq!(one.unwrap().unwrap().files, [PathBuf::from("b.yaml")]);
}

#[test]
fn the_same_edit_is_the_same_commit() {
    let world = World::with(&[("a.yaml", "a")]);
    let mirror = world.open();
    let head = mirror.fetch(&MAIN).unwrap();
    assert_eq!(commit(&mirror, Some(&head), &[("a.yaml", "b")]), commit(&mirror, Some(&head), &[("a.yaml", "b")]));
}

#[test]
fn links_folders_and_hostile_paths_cannot_be_edited() {
    let world = World::with(&[("dir/a.yaml", "a")]);
    std::os::unix::fs::symlink("dir/a.yaml", world.work().join("link.yaml")).unwrap();
    world.publish("link");
    let mirror = world.open();
    let head = mirror.fetch(&MAIN).unwrap();
    let author = git::Author { name: "S".into(), email: "s@example.com".into() };
    let draft = Draft { author: &author, message: "x", time: head.time, signing: None };
    let attempt = |path: &str| mirror.commit(Some(&head), &edits(&[(path, "x")]), &draft).unwrap_err();
    for path in ["link.yaml", "dir", "dir/a.yaml/b"] {
        assert!(matches!(attempt(path), Error::Edit { .. }), "{path}");
    }
    for path in [".git/config", "dir/.GIT/hooks/x", "../x", "dir/../x", "git~1/x", "/etc/x", ""] {
        assert!(matches!(attempt(path), Error::HostilePath { .. }), "{path}");
    }
}

#[test]
fn hostile_names_in_a_commit_are_refused() {
    for name in [".git", ".GIT", "..", ".", "git~1", ".g\u{200c}it"] {
        let world = World::with(&[("a.yaml", "a")]);
        let work = world.work();
        let blob = git(&work, &["rev-parse", "HEAD:a.yaml"]).trim().to_owned();
        let inner = hash_tree(&work, &[("100644", "evil.yaml", &blob)]);
        let outer = hash_tree(&work, &[("40000", name, &inner), ("100644", "a.yaml", &blob)]);
        let evil = git(&work, &["commit-tree", &outer, "-m", "evil"]).trim().to_owned();
        git(&work, &["push", "-q", "-f", "origin", &format!("{evil}:refs/heads/main")]);
        let mirror = world.open();
        let head = mirror.fetch(&MAIN).unwrap();
        let error = mirror.folder(&head, Path::new(""), Limits::default()).unwrap_err();
        assert!(matches!(error, Error::HostilePath { .. }), "{name}: {error}");
    }
}

/// Writes a tree that `git mktree` would refuse.
fn hash_tree(work: &Path, entries: &[(&str, &str, &str)]) -> String {
    let mut content = Vec::new();
    for (mode, name, id) in entries {
        content.extend(format!("{mode} {name}\0").as_bytes());
        content.extend(hex::decode(id).unwrap());
    }
    let path = work.join("../tree");
    std::fs::write(&path, content).unwrap();
    let arguments = ["hash-object", "-t", "tree", "--literally", "-w", path.to_str().unwrap()];
    git(work, &arguments).trim().to_owned()
}

#[test]
fn a_thousand_files_are_fetched_and_read() {
    let names: Vec<String> = (0..1000).map(|n| format!("apps/team{}/app{n:04}.yaml", n % 10)).collect();
    let contents: Vec<String> = (0..1000).map(|n| format!("image: app{n}:1\n")).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(contents.iter().map(String::as_str)).collect();
    let world = World::with(&files);
    let mirror = world.open();
    let head = mirror.fetch(&MAIN).unwrap();
    let folder = mirror.folder(&head, Path::new("apps"), Limits::default()).unwrap();
    assert_eq!(folder, edits(&files));
    let listed = mirror.files(&head, Path::new("")).unwrap();
    let blobs = mirror.blobs(&listed.iter().map(|file| file.blob).collect::<Vec<_>>()).unwrap();
    assert!(listed.iter().zip(&blobs).all(|(file, blob)| folder[&file.path] == *blob));

    let contents: Vec<String> = (0..1000).map(|n| format!("image: app{n}:2\n")).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(contents.iter().map(String::as_str)).collect();
    bump(&mirror, &files);
    world.check();
    assert_eq!(world.ask(&["diff", "--name-only", "main~", "main"]).lines().count(), 1000);
}

#[test]
fn checkouts_find_branches_tags_names_and_commits() {
    let world = World::with(&[("a.yaml", "1")]);
    let work = world.work();
    let first = git(&work, &["rev-parse", "HEAD"]).trim().to_owned();
    git(&work, &["tag", "v1.0.0"]);
    git(&work, &["tag", "-a", "v1.1.0", "-m", "annotated"]);
    world.publish_file("a.yaml", "2");
    git(&work, &["tag", "-a", "v2.0.0", "-m", "annotated"]);
    git(&work, &["push", "-q", "--tags", "origin", "HEAD:refs/heads/feature/x", "HEAD:refs/pull/1/head"]);
    let second = git(&work, &["rev-parse", "HEAD"]).trim().to_owned();

    let mirror = world.open();
    let below_two = |tags: &[String]| tags.iter().filter(|tag| tag.starts_with("v1.")).max().cloned();
    let none = |_: &[String]| None;
    let cases = [
        (Checkout::Branch("main"), &second, "main@sha1:"),
        (Checkout::Branch("feature/x"), &second, "feature/x@sha1:"),
        (Checkout::Tag("v1.0.0"), &first, "v1.0.0@sha1:"),
        (Checkout::Tag("v2.0.0"), &second, "v2.0.0@sha1:"),
        (Checkout::PickTag(&below_two), &first, "v1.1.0@sha1:"),
        (Checkout::Name("refs/pull/1/head"), &second, "refs/pull/1/head@sha1:"),
        (Checkout::Commit { id: first.parse().unwrap(), branch: None }, &first, "sha1:"),
        (Checkout::Commit { id: first.parse().unwrap(), branch: Some("main") }, &first, "main@sha1:"),
    ];
    for (wanted, id, revision) in cases {
        assert_eq!(mirror.head(&wanted).unwrap().commit.to_string(), *id, "{wanted:?}");
        let commit = mirror.fetch(&wanted).unwrap();
        assert_eq!(commit.id.to_string(), *id, "{wanted:?}");
        assert_eq!(commit.revision(), format!("{revision}{id}"), "{wanted:?}");
        assert_eq!(commit.author.name, "Ann");
    }
    assert_eq!(mirror.last(&MAIN).unwrap().unwrap().id.to_string(), second, "a commit checkout moved the branch");
    let absent = [
        (Checkout::Branch("absent"), "branch absent"),
        (Checkout::Tag("v3"), "tag v3"),
        (Checkout::PickTag(&none), "a tag in range"),
        (Checkout::Name("refs/pull/2/head"), "reference refs/pull/2/head"),
        (Checkout::Commit { id: "ab".repeat(20).parse().unwrap(), branch: None }, "commit abab"),
    ];
    for (wanted, text) in absent {
        let error = mirror.fetch(&wanted).unwrap_err();
        assert!(matches!(error, Error::ReferenceNotFound { .. }), "{wanted:?}: {error}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    for name in ["refs/heads/../../config", "HEAD", "refs/heads/a b"] {
        assert!(matches!(mirror.fetch(&Checkout::Name(name)), Err(Error::ReferenceName { .. })), "{name}");
    }
}

#[test]
fn a_commit_that_is_here_is_not_fetched_again() {
    let world = World::with(&[("a.yaml", "1")]);
    let mirror = world.open();
    let first = mirror.fetch(&MAIN).unwrap();
    let packs = || std::fs::read_dir(world.mirror_folder().join("objects/pack")).unwrap().count();
    assert_eq!(packs(), 2, "one pack and its index");
    assert_eq!(mirror.fetch(&MAIN).unwrap(), first);
    bump(&mirror, &[("a.yaml", "2")]);
    mirror.fetch(&MAIN).unwrap();
    assert_eq!(packs(), 2, "our own commit was fetched");
    world.publish_file("b.yaml", "b");
    let third = mirror.fetch(&MAIN).unwrap();
    assert_eq!(packs(), 4);
    assert_eq!(
        mirror.folder(&third, Path::new(""), Limits::default()).unwrap(),
        edits(&[("a.yaml", "2"), ("b.yaml", "b")])
    );
}

#[test]
fn an_empty_repository_takes_its_first_commit() {
    let world = World::empty();
    let mirror = world.open();
    let error = mirror.fetch(&MAIN).unwrap_err();
    assert!(matches!(error, Error::EmptyRepository { .. }), "{error}");
    let new = commit(&mirror, None, &[("apps/a.yaml", "a")]);
    mirror.push(&new, MAIN_REFERENCE, Expected::Absent, &[]).unwrap();
    world.check();
    assert_eq!(world.ask(&["show", "main:apps/a.yaml"]), "a");
    assert_eq!(mirror.fetch(&MAIN).unwrap().id, new.commit.id);
}

#[test]
fn failures_say_what_and_where_and_never_a_secret() {
    let world = World::with(&[("a.yaml", "a")]);
    let fetch = |remote: &Remote| world.mirrors.open(remote).and_then(|mirror| mirror.fetch(&MAIN)).unwrap_err();

    let mut remote = world.remote();
    remote.credentials = Credentials::Basic { username: "bot".into(), password: "hunter2".into() };
    let error = fetch(&remote);
    assert!(matches!(error, Error::AuthenticationFailed { status: 401, .. }), "{error}");
    assert_eq!((error.reason(), error.is_transient()), ("AuthenticationFailed", false));

    remote.credentials = Credentials::Bearer("hunter2".into());
    assert!(matches!(fetch(&remote), Error::AuthenticationFailed { .. }));

    let mut remote = world.remote();
    remote.url = world.server.url("absent.git");
    let error = fetch(&remote);
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
    assert_eq!(error.reason(), "GitOperationFailed");

    // Nobody listens there: the port was ours and is closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fetch(&Remote::new(format!("http://bot:hunter2@127.0.0.1:{port}/a.git?token=hunter2")));
    assert!(error.is_transient() && !error.to_string().contains("hunter2"), "{error}");
    assert!(error.to_string().contains("onnection refused"), "{error}");
}

#[test]
fn user_and_password_in_the_url_are_used() {
    let world = World::with(&[("a.yaml", "a")]);
    let url = world.server.url("fleet.git").replace("http://", "http://bot:s3cret@");
    world.mirrors.open(&Remote::new(url)).unwrap().fetch(&MAIN).unwrap();
}

#[test]
fn scopes_do_not_share_a_mirror() {
    let world = World::with(&[("a.yaml", "a")]);
    world.open().fetch(&MAIN).unwrap();
    let mut remote = world.remote();
    remote.scope = "team-b".into();
    assert_eq!(world.mirrors.open(&remote).unwrap().last(&MAIN).unwrap(), None);
    assert!(world.open().last(&MAIN).unwrap().is_some());
}

#[test]
fn a_folder_of_this_machine_is_served_when_allowed() {
    let world = World::with(&[("a.yaml", "a")]);
    let mut remote = Remote::new(format!("file://{}", world.repository.display()));
    let error = world.mirrors.open(&remote).unwrap_err();
    assert_eq!(error.to_string(), "unknown transport 'file'");
    remote.local_paths = LocalPaths::Allow;
    let mirror = world.mirrors.open(&remote).unwrap();
    bump(&mirror, &[("a.yaml", "b")]);
    bump(&mirror, &[("a.yaml", "c")]);
    assert_eq!(world.ask(&["show", "main:a.yaml"]), "c");
    remote.url.push_str("-absent");
    let error = world.mirrors.open(&remote).unwrap().fetch(&MAIN).unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
}

#[test]
fn a_server_that_only_knows_the_old_protocol_is_understood() {
    let world = World::with(&[("a.yaml", "a")]);
    world.ask(&["config", "protocol.version", "0"]);
    world.ask(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let work = world.work();
    git(&work, &["tag", "-a", "v1", "-m", "annotated"]);
    git(&work, &["push", "-q", "--tags", "origin"]);
    let old = old_protocol(&world);
    let mirror = Mirrors::new(world.folder.path().join("old")).open(&old).unwrap();
    let head = mirror.fetch(&MAIN).unwrap();
    assert_eq!(mirror.folder(&head, Path::new(""), Limits::default()).unwrap(), edits(&[("a.yaml", "a")]));
    assert_eq!(mirror.fetch(&Checkout::Tag("v1")).unwrap().id, head.id);
    bump(&mirror, &[("a.yaml", "b")]);
    world.publish_file("b.yaml", "c");
    assert_eq!(mirror.fetch(&MAIN).unwrap().id.to_string(), world.ask(&["rev-parse", "main"]).trim());
    world.check();
}

/// A relay that drops the request header by which clients ask for version 2.
fn old_protocol(world: &World) -> Remote {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = world.server.url("fleet.git");
    let server = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), std::net::TcpStream::connect(&server).unwrap());
            let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut back));
            std::thread::spawn(move || {
                let mut input = std::io::BufReader::new(&mut client);
                let mut line = String::new();
                let mut length = 0;
                while input.read_line(&mut line).unwrap_or(0) > 0 {
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if !lower.starts_with("git-protocol:") {
                        server.write_all(line.as_bytes()).unwrap();
                    }
                    if line == "\r\n" {
                        let mut body = std::io::Read::take(&mut input, length);
                        std::io::copy(&mut body, &mut server).unwrap();
                        length = 0;
                    }
                    line.clear();
                }
            });
        }
    });
    Remote { url: format!("http://127.0.0.1:{port}/fleet.git"), ..world.remote() }
}
