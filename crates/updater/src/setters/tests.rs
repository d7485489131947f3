//! Tables for what the sample trees do not show, and the two properties that hold for any text.

use proptest::prelude::*;

use super::*;

fn policies() -> Policies {
    let image =
        |name: &str, tag: &str, digest: &str| ImageRef { name: name.into(), tag: tag.into(), digest: digest.into() };
    Policies::new([
        ("ns:p".to_owned(), image("a.io/i", "2.0.0", "")),
        ("ns:d".to_owned(), image("a.io/d", "1", "sha256:ab")),
    ])
}

/// The text after editing, and the warnings.
fn edited(text: &str) -> (String, Vec<String>) {
    let result = edit("a.yaml", text.as_bytes(), &policies());
    let content = result.content.map_or_else(|| text.to_owned(), |content| String::from_utf8(content).unwrap());
    (content, result.warnings.iter().map(ToString::to_string).collect())
}

fn becomes(text: &str, expected: &str) {
    assert_eq!(edited(text), (expected.to_owned(), Vec::new()), "{text}");
}

fn is_refused(text: &str, why: &str) {
    let (content, warnings) = edited(text);
    assert_eq!(content, text);
    assert!(warnings.len() == 1 && warnings[0].contains(why), "{text}: {warnings:?}");
}

const M: &str = r#"# {"$imagepolicy": "ns:p"}"#;

/// The text with the marker for each `@` and the policy's image for each `NEW`.
fn marked(text: &str) -> String {
    text.replace('@', M).replace("NEW", "a.io/i:2.0.0")
}

#[test]
fn every_style_keeps_its_form() {
    for (old, new) in [
        ("a.io/i:1.0.0", "a.io/i:2.0.0"),
        ("'a.io/i:1.0.0'", "'a.io/i:2.0.0'"),
        ("\"a.io/i:1.0.0\"", "\"a.io/i:2.0.0\""),
        ("&x a.io/i:1.0.0", "&x a.io/i:2.0.0"),
        ("!!str a.io/i:1.0.0", "!!str a.io/i:2.0.0"),
        ("\"\"", "\"a.io/i:2.0.0\""),
    ] {
        becomes(&format!("image: {old}   {M}\nb:  1\n"), &format!("image: {new}   {M}\nb:  1\n"));
    }
    is_refused(&format!("l:\n  - {M}\n"), "directly above a scalar entry");
    is_refused(&format!("a: b\n{M}\n"), "directly above a scalar entry");
}

#[test]
fn quoted_text_at_its_keys_indentation_moves_no_byte() {
    let text = |tag| {
        format!("a:\n  b: 'one\n  two'\n  image: a.io/i:{tag} {M}\n  c: \"three\n  four\"\nd: a.io/i:{tag} {M}\n")
    };
    becomes(&text("1.0.0"), &text("2.0.0"));
}

#[test]
fn block_scalars_keep_header_indent_and_end() {
    becomes(&format!("a: |- {M}\n    a.io/i:1\n\nb: 1\n"), &format!("a: |- {M}\n    a.io/i:2.0.0\n\nb: 1\n"));
    becomes(&format!("a: > {M}\n  a.io/i:2.0.0\n"), &format!("a: > {M}\n  a.io/i:2.0.0\n"));
    let inside = format!("a: |\n  image: x {M}\n");
    becomes(&inside, &inside);
}

#[test]
fn odd_block_scalars_stay_readable() {
    becomes(&format!("a: |- {M}\n\n  x\nb: 1\n"), &format!("a: |- {M}\n  a.io/i:2.0.0\nb: 1\n"));
    becomes(&format!("a: |2- {M}\n    x\nb: 1\n"), &format!("a: |2- {M}\n  a.io/i:2.0.0\nb: 1\n"));
    becomes(&format!("a: |- {M}\n  x\n  y\n\n  z\nb: 1\n"), &format!("a: |- {M}\n  a.io/i:2.0.0\nb: 1\n"));
    becomes(&format!("a: |- {M}\r\n  x\r\nb: 1\r\n"), &format!("a: |- {M}\r\n  a.io/i:2.0.0\r\nb: 1\r\n"));
    becomes(&format!("a: |- {M}\n  x  \nb: 1\n"), &format!("a: |- {M}\n  a.io/i:2.0.0\nb: 1\n"));
    becomes(
        &format!("l:\n  - a: |- {M}\n      x\n      \n\n    b: 1\n"),
        &format!("l:\n  - a: |- {M}\n      a.io/i:2.0.0\n\n\n    b: 1\n"),
    );
}

#[test]
fn a_block_without_a_line_gets_one() {
    for (before, after) in [
        ("a: |- @\nb: 1\n", "a: |- @\n  NEW\nb: 1\n"),
        ("a: |- @\r\nb: 1\r\n", "a: |- @\r\n  NEW\r\nb: 1\r\n"),
        ("a: |- @\rb: 1\r", "a: |- @\r  NEW\rb: 1\r"),
        ("l:\n  - a: > @\n    b: 1\n", "l:\n  - a: > @\n      NEW\n    b: 1\n"),
        ("l:\n- - |- @\n  - x\n", "l:\n- - |- @\n      NEW\n  - x\n"),
        ("a: | @\n    \n\n# b\nb: 1\n", "a: | @\n  NEW\n\n\n# b\nb: 1\n"),
        ("a: |+ @\n\n", "a: |+ @\n  NEW\n\n"),
        ("b: 1\na: |- @\n", "b: 1\na: |- @\n  NEW\n"),
        ("b: 1\na: |- @", "b: 1\na: |- @\n  NEW"),
        ("b: 1\r\na: |- @  ", "b: 1\r\na: |- @  \r\n  NEW"),
        ("a: |- @\n     ", "a: |- @\n  NEW\n"),
        ("l:\n@\n- |-\n- x\n", "l:\n@\n- |-\n    NEW\n- x\n"),
        ("--- |- @\n...\n", "--- |- @\n      NEW\n...\n"),
    ] {
        becomes(&marked(before), &marked(after));
    }
    // The header says how deep its lines are, counted from a depth that it does not tell.
    for text in ["a: |2- @\nb: 1\n", "a: |-2 @\n", "a: |2 @", "l:\n  @\n  - |2-\n  - x\n"] {
        is_refused(&marked(text), "no line in the block");
    }
}

#[test]
fn a_lone_carriage_return_ends_a_line() {
    for (before, after) in [
        ("a: > @\r  x\rb: keep\r", "a: > @\r  NEW\rb: keep\r"),
        ("a: |- @\r\r  x\r  y\r\rb: keep\r", "a: |- @\r  NEW\r\rb: keep\r"),
        ("l:\r  - a: | @\r      x\r    b: keep", "l:\r  - a: | @\r      NEW\r    b: keep"),
        ("a: x @\rb: keep\r", "a: NEW @\rb: keep\r"),
        ("l: [y,\r  x, @\r  z]\r", "l: [y,\r  NEW, @\r  z]\r"),
        ("l:\r  @\r  - x\r", "l:\r  @\r  - NEW\r"),
    ] {
        becomes(&marked(before), &marked(after));
    }
    is_refused(
        &marked("a: 1\rimage: @\r  x:1\r"),
        "a.yaml:2: marker is ignored: it must stand on the line of the value",
    );
    for line_end in ["\n", "\r\n", "\r"] {
        is_refused(
            &marked("l:\n  # note\n  @\n  - x:1\n").replace('\n', line_end),
            "a.yaml:3: marker is ignored: above",
        );
    }
}

#[test]
fn a_block_ends_before_the_line_that_follows() {
    for (before, after) in [
        ("k:\n  a: |\n    text\n  b: {r: x, @\n     t: y}\n", "k:\n  a: |\n    text\n  b: {r: NEW, @\n     t: y}\n"),
        ("l:\n  - |\n    t\n  - [x, @\n    y]\n", "l:\n  - |\n    t\n  - [NEW, @\n    y]\n"),
        ("k:\n  a: |- @\n    x\n   # c\n  b: 1\n", "k:\n  a: |- @\n    NEW\n   # c\n  b: 1\n"),
    ] {
        becomes(&marked(before), &marked(after));
    }
    let text = "k:\n  a: |\n    text\n  b: [x, y, @\n     z]\n";
    is_refused(&marked(text), "several values");
}

#[test]
fn the_old_value_of_a_block_is_what_the_file_says() {
    for (text, old) in [
        ("a: | @\n  x", "x"),
        ("a: |+ @\n  x", "x"),
        ("a: > @\n  x\n  y  ", "x y  "),
        ("a: |- @\n  x", "x"),
        ("a: | @\n  x\n", "x\n"),
        ("a: | @\r\n  x\r\n  ", "x\n"),
        ("a: |+ @\n  x\n\n", "x\n\n"),
        ("a: | @\n  x\nb: 1", "x\n"),
        ("a: | @\n\nb: 1", ""),
    ] {
        let changes = edit("a.yaml", marked(text).as_bytes(), &policies()).changes;
        assert_eq!(changes.iter().map(|change| change.old.as_str()).collect::<Vec<_>>(), [old], "{text:?}");
    }
}

#[test]
fn line_endings_marks_and_other_documents_stay() {
    let text = |tag: &str| format!("\u{feff}---\r\nimage: a.io/i:{tag} {M}\r\n...\r\n# between\r\n---\r\nlast: x");
    becomes(&text("1.0.0"), &text("2.0.0"));
}

#[test]
fn list_entries_are_marked_beside_or_above() {
    becomes(&format!("l:\n- x:1 {M}\n- y\n"), &format!("l:\n- a.io/i:2.0.0 {M}\n- y\n"));
    becomes(&format!("l:\n  {M}\n  - x:1\n  - y\n"), &format!("l:\n  {M}\n  - a.io/i:2.0.0\n  - y\n"));
    becomes(&format!("- x:1 {M}\n"), &format!("- a.io/i:2.0.0 {M}\n"));
    becomes(&format!("- {M}\n  x:1\n"), &format!("- {M}\n  a.io/i:2.0.0\n"));
    becomes(&format!("l:\n  {M}\n  - &a !!str x:1\n"), &format!("l:\n  {M}\n  - &a !!str a.io/i:2.0.0\n"));
    let tag = "# {\"$imagepolicy\": \"ns:p:tag\"}";
    becomes(&format!("- {M}\n  x {tag}\n"), &format!("- {M}\n  2.0.0 {tag}\n"));
    is_refused(&format!("l:\n  # note\n  {M}\n  - x:1\n"), "alone");
}

#[test]
fn a_list_entry_below_its_marker_may_be_a_block() {
    for (before, after) in [
        ("l:\n  @\n  - |-\n    x\n", "l:\n  @\n  - |-\n    NEW\n"),
        ("l:\n@\n- >2+\n\n    x\n  y\n\n- z\n", "l:\n@\n- >2+\n  NEW\n\n- z\n"),
        ("l:\r\n@\r\n- &a !!str |\r\n  x\r\n", "l:\r\n@\r\n- &a !!str |\r\n  NEW\r\n"),
        ("l:\n- @\n  |-\n  x\n", "l:\n- @\n  |-\n  NEW\n"),
    ] {
        becomes(&marked(before), &marked(after));
    }
    for text in ["l:\n  @\n  - |- # note\n    x\n", "l:\n  @\n  - a: |\n      x\n", "l:\n  @\n  -\n  - |\n    x\n"] {
        is_refused(&marked(text), "directly above a scalar entry");
    }
}

#[test]
fn any_number_of_comments_may_stand_before_a_value() {
    let comments = "  # what could be set\n".repeat(1000);
    let text = |image: &str| format!("a:\n{comments}  image: {image} {M}\nl:\n{comments}- {image} {M}\n");
    becomes(&text("x:1"), &text("a.io/i:2.0.0"));
}

#[test]
fn flow_collections_take_a_marker_on_the_line_of_one_value() {
    becomes(&format!("l: [\n  x:1, {M}\n  y]\n"), &format!("l: [\n  a.io/i:2.0.0, {M}\n  y]\n"));
    is_refused(&format!("m: {{image: x}} {M}\n"), "end of a flow collection");
    is_refused(&format!("l: [x, y, {M}\n  z]\n"), "several values");
}

#[test]
fn misplaced_and_malformed_markers_are_told_with_their_line() {
    is_refused(&format!("a: 1\nimage: {M}\n  x:1\n"), "a.yaml:2: marker is ignored");
    is_refused(&format!("m:\n  {M}\n  image: x:1\n"), "on a line of its own");
    is_refused(&format!("a: &x v\nb: *x {M}\n"), "alias");
    is_refused("image: x # {\"$imagepolicy\": \"ns:unknown\"}\n", "no policy \"ns:unknown\"");
    is_refused("image: x # {\"$imagepolicy\": \"ns/p\"}\n", "names no policy");
    is_refused(&format!("image: x # {M}\n"), "one JSON object");
    is_refused(&format!("a: [1\nimage: x {M}\n"), "cannot be read as YAML");
}

#[test]
fn parts_and_digests_are_written_and_quoted_where_needed() {
    let marker = |part: &str| format!("# {{\"$imagepolicy\": \"ns:{part}\"}}");
    for (part, new) in [
        ("d", "a.io/d:1@sha256:ab"),
        ("d:tag", "\"1\""),
        ("d:name", "a.io/d"),
        ("d:digest", "sha256:ab"),
        ("p:digest", "\"\""),
    ] {
        becomes(&format!("v: x {}\n", marker(part)), &format!("v: {new} {}\n", marker(part)));
    }
}

#[test]
fn changes_name_the_object_of_their_document() {
    let text = format!(
        "apiVersion: v1\nkind: A\nmetadata: {{name: one}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: two\n  \
         namespace: apps\nspec:\n  kind: not-this\n  image: x:1 {M}\n"
    );
    let change = edit("a.yaml", text.as_bytes(), &policies()).changes.remove(0);
    let identity = (change.api_version, change.kind, change.namespace, change.name, change.old, change.new);
    let expected = ("apps/v1", "Deployment", "apps", "two", "x:1", "a.io/i:2.0.0");
    let (a, b, c, d, e, f) = expected;
    assert_eq!(identity, (a.into(), b.into(), c.into(), d.into(), e.into(), f.into()));
}

#[test]
fn an_object_without_a_value_for_a_field_has_an_empty_one() {
    for (value, expected) in [
        ("null", ""),
        ("Null", ""),
        ("NULL", ""),
        ("~", ""),
        ("", ""),
        ("&a null", ""),
        ("\"null\"", "null"),
        ("'~'", "~"),
        ("!!str null", "null"),
        ("nULL", "nULL"),
        ("7", "7"),
    ] {
        let text = format!(
            "apiVersion: {value}\nkind: {value}\nmetadata: {{name: {value} , namespace: {value} }}\nimage: x:1 {M}\n"
        );
        let change = edit("a.yaml", text.as_bytes(), &policies()).changes.remove(0);
        let identity = [change.api_version, change.kind, change.name, change.namespace];
        assert_eq!(identity, [expected; 4], "{value}");
    }
}

#[test]
fn an_invalid_image_is_never_written() {
    for (name, tag) in [("UP PER", "1"), ("a.io/i", "x\ny: \"z"), ("a.io/i", ""), ("a.io/i", "1@2")] {
        let image = ImageRef { name: name.into(), tag: tag.into(), digest: String::new() };
        let told = format!("marker is ignored: policy \"ns:p\" has the invalid image ref {:?}", image.to_string());
        let policies = Policies::new([("ns:p".to_owned(), image)]);
        for part in ["", ":tag", ":name", ":digest"] {
            let text = format!("a: |- # {{\"$imagepolicy\": \"ns:p{part}\"}}\n  x\n");
            let result = edit("a.yaml", text.as_bytes(), &policies);
            let messages: Vec<_> = result.warnings.into_iter().map(|warning| warning.message).collect();
            assert_eq!((result.content, messages), (None, vec![told.clone()]), "{part}");
            let listed = list("a.yaml", text.as_bytes(), &policies).unwrap().remove(0);
            assert_eq!((listed.is_covered(), listed.problem), (false, Some(told.clone())), "{part}");
        }
    }
}

/// What the scalars of a file say, but for the line ends behind the last word.
fn values(text: &str) -> Vec<String> {
    let scalars = scan::scan(text).unwrap().scalars.into_iter();
    scalars.map(|scalar| scalar.value.trim_end_matches('\n').to_owned()).collect()
}

/// Text that looks like YAML more often than not, with markers in it.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a: ".to_owned()),
        Just("- ".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just(format!(" {M}\r")),
        Just("\n  - |-\n    ".to_owned()),
        Just(format!("\nb: |- {M}\n")),
        Just("\n  b: |\n    x\n  c: ".to_owned()),
        Just("  ".to_owned()),
        Just("---\n".to_owned()),
        Just("'q'".to_owned()),
        Just("\"d\"".to_owned()),
        Just("| ".to_owned()),
        Just("[x, ".to_owned()),
        Just("]".to_owned()),
        Just("{k: v}".to_owned()),
        Just("&n ".to_owned()),
        Just("*n ".to_owned()),
        Just("é😀".to_owned()),
        Just(format!(" {M}\n")),
        Just(" # {\"$imagepolicy\": \"ns:d:tag\"}\n".to_owned()),
        "[a-z:.0-9]{1,6}",
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_text_without_marker_is_left_alone(text in "(\\PC|\n){0,200}") {
        prop_assume!(!text.contains("\"$imagepolicy\""));
        prop_assert_eq!(edit("a.yaml", text.as_bytes(), &policies()), Edited::default());
    }

    #[test]
    fn only_marked_scalars_change(text in yamlish()) {
        let result = edit("a.yaml", text.as_bytes(), &policies());
        if let Some(content) = result.content {
            let after = String::from_utf8(content).unwrap();
            // Putting the old values back gives the old text: nothing beside them has changed.
            let again = edit("a.yaml", after.as_bytes(), &policies());
            prop_assert_eq!(again.content, None, "editing twice is editing once: {:?}", after);
            // What the rest of the file lacks it lacks afterwards too: the new values broke nothing.
            let complaints = |warnings: &[Warning]| warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>();
            prop_assert_eq!(complaints(&again.warnings), complaints(&result.warnings), "{:?} to {:?}", text, after);
            // A block's lines may look like markers; they go with the old value.
            let inside: usize = result.changes.iter().map(|change| change.old.matches(M).count()).sum();
            prop_assert_eq!(text.matches(M).count(), after.matches(M).count() + inside);
            prop_assert!(!result.changes.is_empty());
            let (old, new) = (values(&text), values(&after));
            prop_assert_eq!(old.len(), new.len(), "{:?} to {:?}", text, after);
            let differ = new.iter().zip(&old).filter(|(new, old)| new != old).map(|(new, _)| new);
            prop_assert!(differ.eq(result.changes.iter().map(|change| &change.new)), "{:?} to {:?}", text, after);
        } else {
            prop_assert!(result.changes.is_empty());
        }
    }

    #[test]
    fn what_is_remembered_of_a_file_tells_what_reading_it_again_would(text in yamlish(), tag in "[12]") {
        let places = edit("before.yaml", text.as_bytes(), &policies()).places;
        let image = ImageRef { name: "a.io/d".into(), tag, digest: String::new() };
        let later = Policies::new([("ns:d".to_owned(), image)]);
        let again = edit("after.yaml", text.as_bytes(), &later);
        let told = again.content.is_none().then_some(again.warnings);
        prop_assert_eq!(places.settled("after.yaml", &later), told);
    }
}

#[test]
fn many_files_are_answered_in_their_order() {
    let policies = policies();
    for count in [0, 1, 31, 32, 33, 200] {
        let files: Vec<_> = (0..count)
            .map(|n| {
                (format!("f{n}.yaml"), format!("n: {n}\ntag: v{n} # {{\"$imagepolicy\": \"ns:p:tag\"}}\n").into_bytes())
            })
            .collect();
        let one_by_one: Vec<_> = files.iter().map(|(name, content)| edit(name, content, &policies)).collect();
        assert_eq!(edit_all(&files, &policies), one_by_one, "{count} files");
        assert!(one_by_one.iter().all(|edited| edited.changes.len() == 1), "because each is due");
    }
}

#[test]
fn the_update_path_cannot_escape() {
    for (path, expected) in
        [("./deploy", "deploy"), ("/a/b", "a/b"), ("../../etc", "etc"), ("a/../..", ""), ("a/../b", "b"), ("", "")]
    {
        assert_eq!(root(path), Path::new(expected), "{path}");
    }
}
