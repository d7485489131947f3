//! Archives that mean well, and archives that do not.

use tar::{Builder, Header};

use super::*;

enum Item<'a> {
    File(&'a str, &'a str),
    Folder(&'a str),
    Symlink(&'a str, &'a str),
    Link(&'a str, &'a str),
    Device(&'a str),
}

/// An archive written byte by byte: `tar` itself refuses to write names that reach out.
fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for item in items {
        let (kind, path, link, content) = match *item {
            Item::File(path, content) => (EntryType::Regular, path, "", content),
            Item::Folder(path) => (EntryType::Directory, path, "", ""),
            Item::Symlink(path, link) => (EntryType::Symlink, path, link, ""),
            Item::Link(path, link) => (EntryType::Link, path, link, ""),
            Item::Device(path) => (EntryType::Char, path, "", ""),
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o4755 });
        header.set_size(content.len() as u64);
        let bytes = header.as_mut_bytes();
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Place {
    _outer: tempfile::TempDir,
    root: PathBuf,
    witness: PathBuf,
}

/// A root inside a folder with a file that must not change.
fn place() -> Place {
    let outer = tempfile::tempdir().unwrap();
    let (root, witness) = (outer.path().join("root"), outer.path().join("witness"));
    fs::create_dir(&root).unwrap();
    fs::write(&witness, "untouched").unwrap();
    Place { root, witness, _outer: outer }
}

impl Place {
    fn apply(&self, items: &[Item<'_>]) -> Result<(), LayerError> {
        let outcome = apply(archive(items).as_slice(), &self.root, &mut Budget::default());
        assert_eq!(fs::read_to_string(&self.witness).unwrap(), "untouched");
        let names: Vec<_> =
            fs::read_dir(self.witness.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing appears outside: {names:?}");
        outcome
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

#[test]
fn files_folders_and_links_appear_without_set_id_bits() {
    let place = place();
    place
        .apply(&[
            Item::Folder("./bin/"),
            Item::File("/bin/app", "x"),
            Item::Link("bin/same", "bin/app"),
            Item::Symlink("bin/rel", "app"),
            Item::Symlink("abs", "/bin/app"),
            Item::Device("dev/null"),
            Item::File("new/deep/file", "y"),
        ])
        .unwrap();
    for path in ["bin/app", "bin/same", "bin/rel", "abs"] {
        assert_eq!(place.read(path).as_deref(), Some("x"), "{path}");
    }
    assert_eq!(place.read("new/deep/file").as_deref(), Some("y"));
    assert_eq!(fs::metadata(place.root.join("bin/app")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(!place.root.join("dev/null").exists());
}

#[test]
fn entries_that_reach_out_are_refused() {
    for items in [
        vec![Item::File("../witness", "hit")],
        vec![Item::File("a/../../witness", "hit")],
        vec![Item::Link("a", "../witness")],
        vec![Item::Folder("a"), Item::Link("b", "a")],
        vec![Item::Symlink("a", "../witness"), Item::Link("b", "a")],
        vec![Item::Symlink("a", "b"), Item::Symlink("b", "a"), Item::File("a/x", "hit")],
        vec![Item::File("a", ""), Item::File("a/b", "hit")],
        vec![Item::File("a/.wh...", "")],
        vec![Item::File("../.wh.witness", "")],
    ] {
        let outcome = place().apply(&items);
        assert!(matches!(outcome, Err(LayerError::Hostile { .. })), "{outcome:?}");
    }
}

#[test]
fn links_stay_inside_whatever_they_say() {
    for (link, target) in [
        ("a", "../witness"),
        ("a", "/../../witness"),
        ("a", "../../../../../witness"),
        ("a", ".."),
        ("a", "x/../../.."),
        ("d/a", "../../witness"),
    ] {
        let place = place();
        let below = format!("{link}/witness");
        let _ = place.apply(&[Item::Symlink(link, target), Item::File(&below, "hit")]);
        let _ = place.apply(&[Item::File(link, "hit")]);
        let place = self::place();
        place.apply(&[Item::Symlink(link, target)]).unwrap();
        let real = fs::canonicalize(place.root.join(link));
        assert!(
            real.is_err() || real.is_ok_and(|real| real.starts_with(place.root.canonicalize().unwrap())),
            "{link} {target}"
        );
    }
}

#[test]
fn a_file_replaces_a_link_in_place_of_following_it() {
    let place = place();
    place.apply(&[Item::File("a", "old"), Item::Symlink("b", "a")]).unwrap();
    place.apply(&[Item::File("b", "new")]).unwrap();
    assert_eq!((place.read("a").as_deref(), place.read("b").as_deref()), (Some("old"), Some("new")));
    place.apply(&[Item::Symlink("lib", "usr/lib"), Item::Folder("usr/lib"), Item::File("lib/x", "1")]).unwrap();
    assert_eq!(place.read("usr/lib/x").as_deref(), Some("1"), "folders behind links are used");
}

#[test]
fn whiteouts_take_away_what_lower_layers_put_there() {
    let place = place();
    place
        .apply(&[Item::File("d/a", "1"), Item::File("d/b", "1"), Item::File("e/a", "1"), Item::File("f/g/h", "1")])
        .unwrap();
    place
        .apply(&[
            Item::File("d/.wh.a", ""),
            Item::File("e/new", "2"),
            Item::File("e/.wh..wh..opq", ""),
            Item::File("f/g/own", "2"),
            Item::File("f/.wh.g", ""),
            Item::File(".wh.none", ""),
            Item::File(".wh..wh.plnk", ""),
        ])
        .unwrap();
    let left = ["d/a", "d/b", "e/a", "e/new", "f/g/h", "f/g/own", ".wh.none"].map(|path| place.read(path).is_some());
    assert_eq!(left, [false, true, false, true, false, true, false]);
    place.apply(&[Item::File(".wh.d", "")]).unwrap();
    assert!(!place.root.join("d").exists());
}

#[test]
fn a_whiteout_of_a_link_removes_the_link() {
    let place = place();
    place.apply(&[Item::File("d/a", "1"), Item::Symlink("l", "d")]).unwrap();
    place.apply(&[Item::File(".wh.l", "")]).unwrap();
    assert_eq!(place.read("d/a").as_deref(), Some("1"));
    assert!(fs::symlink_metadata(place.root.join("l")).is_err());
}

#[test]
fn names_without_end_are_refused_before_they_fill_the_memory() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let endless = io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(b'a'));
    let outcome = apply(endless, &place().root, &mut Budget::default());
    assert!(matches!(outcome, Err(LayerError::Io(_))), "{outcome:?}");
}

#[test]
fn an_image_that_is_too_large_is_refused() {
    let place = place();
    let items = [Item::File("a", "12345"), Item::File("b", "12345")];
    for (bytes, entries, fits) in [(10, 2, true), (9, 2, false), (10, 1, false)] {
        let outcome = apply(archive(&items).as_slice(), &place.root, &mut Budget { bytes, entries });
        assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_archive_reaches_out(items in proptest::collection::vec((0u8..5, "(/|\\.\\./|a/|b/|\\./){0,3}(a|b|\\.wh\\.a|\\.wh\\.\\.wh\\.\\.opq|\\.\\.|witness)", "(/|\\.\\./|a/|b/){0,4}(a|b|\\.\\.|witness)"), 1..12)) {
        let place = place();
        let items: Vec<_> = items.iter().map(|(kind, path, link)| match kind {
            0 => Item::File(path, "hit"),
            1 => Item::Folder(path),
            2 => Item::Symlink(path, link),
            3 => Item::Link(path, link),
            _ => Item::Device(path),
        }).collect();
        // One layer for each entry, so that a refused one does not hide what comes after it.
        for item in items.chunks(1) {
            let _ = place.apply(item);
        }
        let _ = place.apply(&items);
    }

    #[test]
    fn no_garbage_makes_it_panic(garbage in proptest::collection::vec(proptest::num::u8::ANY, 0..2048)) {
        let place = place();
        let _ = apply(garbage.as_slice(), &place.root, &mut Budget::default());
    }
}
