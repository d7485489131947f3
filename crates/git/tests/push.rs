//! Pushes, their refusals and their accidents, against Git's own server: `git http-backend`.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    reason = "a test fails by panicking"
)]

#[path = "../../../src/demo/git_server.rs"]
mod git_server;
#[path = "support/world.rs"]
mod world;

use std::path::Path;

use git::{Credentials, Error, Expected, Limits, Mirrors};
use world::{MAIN, MAIN_REFERENCE, World, bump, commit, edits, git};

#[test]
fn a_branch_that_moved_rejects_the_push() {
    let world = World::with(&[("a.yaml", "1")]);
    let mirror = world.open();
    // The second round pushes without asking first.
    for round in ["first", "second"] {
        let base = bump(&mirror, &[("a.yaml", round)]).commit;
        world.publish_file("b.yaml", round);
        let theirs = world.ask(&["rev-parse", "main"]);
        let new = commit(&mirror, Some(&base), &[("a.yaml", "mine")]);
        let error = mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &[]).unwrap_err();
        let Error::Rejected { expected, actual, .. } = &error else { panic!("{round}: {error}") };
        assert_eq!((*expected, actual.map(|id| id.to_string())), (Some(base.id), Some(theirs.trim().to_owned())));
        assert!(error.is_rejected() && error.is_transient());
        assert_eq!(world.ask(&["rev-parse", "main"]), theirs, "the push went through");
    }
    // On top of what is there now it goes through, and keeps both.
    bump(&mirror, &[("a.yaml", "mine")]);
    assert_eq!(
        (world.ask(&["show", "main:a.yaml"]), world.ask(&["show", "main:b.yaml"])),
        ("mine".into(), "second".into())
    );
    world.check();
}

#[test]
fn a_branch_is_created_only_where_there_is_none() {
    let world = World::with(&[("a.yaml", "1")]);
    let mirror = world.open();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "2")]);
    mirror.push(&new, "refs/heads/feature/y", Expected::Absent, &[]).unwrap();
    assert_eq!(world.ask(&["show", "feature/y:a.yaml"]), "2");
    let other = commit(&mirror, Some(&base), &[("a.yaml", "3")]);
    let error = mirror.push(&other, "refs/heads/feature/y", Expected::Absent, &[]).unwrap_err();
    assert!(error.is_rejected(), "{error}");
}

#[test]
fn force_overwrites_whatever_is_there() {
    let world = World::with(&[("a.yaml", "1")]);
    let mirror = world.open();
    let base = mirror.fetch(&MAIN).unwrap();
    world.publish_file("a.yaml", "theirs");
    let new = commit(&mirror, Some(&base), &[("a.yaml", "mine")]);
    mirror.push(&new, MAIN_REFERENCE, Expected::Anything, &[]).unwrap();
    assert_eq!(world.ask(&["show", "main:a.yaml"]), "mine");
    mirror.push(&new, "refs/heads/new", Expected::Anything, &[]).unwrap();
    assert_eq!(world.ask(&["show", "new:a.yaml"]), "mine");
    world.check();
}

#[test]
fn a_push_repeated_after_a_lost_answer_succeeds() {
    let world = World::with(&[("a.yaml", "1")]);
    let mirror = world.open();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "2")]);
    for _ in 0..3 {
        mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &[]).unwrap();
    }
    // Also by a process that knows nothing of the first attempt.
    drop(mirror);
    let mirror = Mirrors::new(world.folder.path().join("other")).open(&world.remote()).unwrap();
    let seen = mirror.fetch(&MAIN).unwrap();
    assert_eq!((seen.id, mirror.contains(new.commit.id)), (new.commit.id, true));
    assert_eq!(world.ask(&["rev-list", "--count", "main"]).trim(), "2");
}

#[test]
fn hooks_decline_with_their_own_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with(&[("a.yaml", "1")]);
    let mirror = world.open();
    bump(&mirror, &[("a.yaml", "2")]);
    let hook = world.repository.join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho main is frozen until Monday >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "3")]);
    let error = mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &[]).unwrap_err();
    assert!(matches!(error, Error::Declined { .. }), "{error}");
    assert!(error.to_string().contains("pre-receive hook declined"), "{error}");
    assert!(error.to_string().contains("main is frozen until Monday"), "{error}");
    assert!(!error.is_transient());
}

#[test]
fn what_the_server_does_after_its_report_is_not_waited_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with(&[("a.yaml", "1")]);
    let (hook, folder) = (world.repository.join("hooks/post-receive"), world.folder.path());
    // The hook ends only after the push has: were it waited for, neither would.
    let script = format!(
        "#!/bin/sh\nwhile [ ! -e {0}/pushed ]; do sleep 0.01; done\necho bye\ntouch {0}/ended\n",
        folder.display()
    );
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mirror = world.open();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "2")]);
    mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &[]).unwrap();
    assert_eq!(mirror.fetch(&MAIN).unwrap().id, new.commit.id);
    std::fs::write(folder.join("pushed"), "").unwrap();
    let ended = format!("until [ -e {}/ended ]; do sleep 0.01; done", folder.display());
    assert!(std::process::Command::new("timeout").args(["60", "sh", "-c", &ended]).status().unwrap().success());
}

#[test]
fn push_options_reach_the_hooks() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with(&[("a.yaml", "1")]);
    let hook = world.repository.join("hooks/pre-receive");
    let seen = world.folder.path().join("seen");
    let script = format!("#!/bin/sh\necho \"$GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" > {}\n", seen.display());
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mirror = world.open();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "2")]);
    let options = ["merge_request.create".to_owned(), "ci.skip=true".to_owned()];
    mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &options).unwrap();
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "merge_request.create ci.skip=true\n");

    world.ask(&["config", "receive.advertisePushOptions", "false"]);
    let mirrors = Mirrors::new(world.folder.path().join("other"));
    let mirror = mirrors.open(&world.remote()).unwrap();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "3")]);
    mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &options).unwrap();
    assert_eq!(std::fs::read_to_string(seen).unwrap(), " \n");
}

#[test]
fn a_server_that_takes_no_pushes_is_named() {
    let world = World::with(&[("a.yaml", "1")]);
    world.ask(&["config", "http.receivepack", "false"]);
    let mirror = world.open();
    let base = mirror.fetch(&MAIN).unwrap();
    let new = commit(&mirror, Some(&base), &[("a.yaml", "2")]);
    let error = mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &[]).unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed { status: 403, .. }), "{error}");
    let mut remote = world.remote();
    remote.credentials = Credentials::None;
    drop(mirror);
    let mirror = world.mirrors.open(&remote).unwrap();
    let error = mirror.push(&new, MAIN_REFERENCE, Expected::At(base.id), &[]).unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed { status: 401, .. }), "{error}");
}

#[test]
fn two_that_push_at_once_both_land() {
    let world = World::with(&[("a.yaml", "0"), ("b.yaml", "0")]);
    let rounds = 8;
    std::thread::scope(|scope| {
        for name in ["a.yaml", "b.yaml"] {
            let world = &world;
            scope.spawn(move || {
                let mirrors = Mirrors::new(world.folder.path().join(name));
                for round in 1..=rounds {
                    let content = round.to_string();
                    loop {
                        let mirror = mirrors.open(&world.remote()).unwrap();
                        let parent = mirror.fetch(&MAIN).unwrap();
                        let new = commit(&mirror, Some(&parent), &[(name, &content)]);
                        match mirror.push(&new, MAIN_REFERENCE, Expected::At(parent.id), &[]) {
                            Ok(_) => break,
                            Err(error) => assert!(error.is_rejected(), "{error}"),
                        }
                    }
                }
            });
        }
    });
    world.check();
    assert_eq!(world.ask(&["rev-list", "--count", "main"]).trim(), (1 + 2 * rounds).to_string());
    assert_eq!((world.ask(&["show", "main:a.yaml"]), world.ask(&["show", "main:b.yaml"])), ("8".into(), "8".into()));
}

#[test]
fn leftovers_of_a_killed_run_do_not_matter() {
    let world = World::with(&[("a.yaml", "1"), ("b/c.yaml", "1")]);
    world.open().fetch(&MAIN).unwrap();
    let folder = world.mirror_folder();
    let pack = folder.join("objects/pack");
    for leftover in ["packed-refs.lock", "shallow.lock", "config.lock", "packed-refs.new", "shallow.new"] {
        std::fs::write(folder.join(leftover), "half").unwrap();
    }
    for leftover in ["tmp_pack_x", ".tmpAbC", "pack-0123456789012345678901234567890123456789.pack"] {
        std::fs::write(pack.join(leftover), "PACK").unwrap();
    }
    let mirror = world.open();
    assert!(mirror.last(&MAIN).unwrap().is_some(), "the sound part was thrown away");
    bump(&mirror, &[("a.yaml", "2")]);
    drop(mirror);
    assert!(!folder.join("packed-refs.lock").exists() && !pack.join("tmp_pack_x").exists());
    world.check();
}

#[test]
fn a_damaged_mirror_heals() {
    let world = World::with(&[("a.yaml", "1"), ("b/c.yaml", "1")]);
    let harm: [(&str, fn(&Path)); 7] = [
        ("cut packs", |folder| each(&folder.join("objects/pack"), "pack", |path| cut(path, 2))),
        ("empty packs", |folder| each(&folder.join("objects/pack"), "pack", |path| cut(path, 1000))),
        ("cut indices", |folder| each(&folder.join("objects/pack"), "idx", |path| cut(path, 2))),
        ("flipped packs", |folder| each(&folder.join("objects/pack"), "pack", flip)),
        ("no packs", |folder| each(&folder.join("objects/pack"), "pack", |path| std::fs::remove_file(path).unwrap())),
        ("no objects", |folder| std::fs::remove_dir_all(folder.join("objects")).unwrap()),
        ("no references", |folder| std::fs::write(folder.join("packed-refs"), "\0\0garbage").unwrap()),
    ];
    for (name, damage) in harm {
        world.open().fetch(&MAIN).unwrap();
        damage(&world.mirror_folder());
        let mirror = world.open();
        // Whether it is noticed at once or only when read: the next attempt is sound.
        let mut outcome = read(&mirror);
        if outcome.is_err() {
            drop(mirror);
            outcome = read(&world.open());
        }
        assert_eq!(outcome.unwrap(), edits(&[("a.yaml", "1"), ("b/c.yaml", "1")]), "{name}");
    }
    let mirror = world.open();
    bump(&mirror, &[("a.yaml", "2")]);
    world.check();
}

fn read(mirror: &git::Mirror) -> Result<std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>, Error> {
    let head = mirror.fetch(&MAIN)?;
    mirror.folder(&head, Path::new(""), Limits::default())
}

fn each(folder: &Path, extension: &str, act: impl Fn(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            // Git and gix write packs read-only; root may write them all the same, others need the bit.
            let mut permissions = std::fs::metadata(&path).unwrap().permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
            std::fs::set_permissions(&path, permissions).unwrap();
            act(&path);
        }
    }
}

fn cut(path: &Path, divisor: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / divisor).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.len() - 20;
    bytes[20..end].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn many_fetches_do_not_pile_up() {
    let world = World::with(&[("a.yaml", "0")]);
    for round in 0..30 {
        world.publish_file("a.yaml", &format!("{round}+"));
        world.open().fetch(&MAIN).unwrap();
    }
    let packs = std::fs::read_dir(world.mirror_folder().join("objects/pack")).unwrap().count();
    assert!(packs <= 52, "{packs} files");
}

#[test]
fn a_large_push_is_kept_as_one_pack() {
    let names: Vec<String> = (0..100).map(|number| format!("deploy/f{number}.yaml")).collect();
    let files = |content| -> Vec<(&str, String)> {
        names.iter().map(|name| (name.as_str(), format!("{content} of {name}"))).collect()
    };
    let first = files("first");
    let world = World::with(&first.iter().map(|(name, content)| (*name, content.as_str())).collect::<Vec<_>>());
    let mirror = world.open();
    mirror.fetch(&MAIN).unwrap();
    let loose = || git(&world.mirror_folder(), &["count-objects"]);
    let packs = || std::fs::read_dir(world.mirror_folder().join("objects/pack")).unwrap().count();
    let before = packs();
    for round in ["second", "third"] {
        let changed = files(round);
        bump(&mirror, &changed.iter().map(|(name, content)| (*name, content.as_str())).collect::<Vec<_>>());
        assert_eq!(world.ask(&["show", "main:deploy/f7.yaml"]), format!("{round} of deploy/f7.yaml"));
    }
    assert!(loose().starts_with("0 objects"), "{}", loose());
    assert_eq!(packs(), before + 4, "a pack and its index for each push");
    git(&world.mirror_folder(), &["fsck", "--full"]);
    drop(mirror);
    // What was kept is all there for whoever opens it next, without the server.
    let mirror = world.open();
    let last = mirror.last(&MAIN).unwrap().unwrap();
    let kept = mirror.folder(&last, Path::new("deploy"), Limits::default()).unwrap();
    assert_eq!(kept.len(), 100);
    assert!(kept.values().all(|content| content.starts_with(b"third of ")));
    world.check();
}

#[test]
fn configuration_of_the_user_has_no_say() {
    // A mirror is read without any configuration; this proves that its own folder's is not obeyed either.
    let world = World::with(&[("a.yaml", "1")]);
    world.open().fetch(&MAIN).unwrap();
    let elsewhere = "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://\n[core]\n\tsshCommand = false\n";
    std::fs::write(world.mirror_folder().join("config"), elsewhere).unwrap();
    bump(&world.open(), &[("a.yaml", "2")]);
    git(&world.mirror_folder(), &["fsck", "--full"]);
}
