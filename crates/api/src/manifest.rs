//! YAML manifests as people write them: several documents in a file, lists, and errors that name the line.

mod place;
mod quoted;
mod stored;
mod typed;

use serde_json::Value;

pub use place::{Fields, Place, Places};
pub use quoted::{Blanks, Refusal, deepened};
pub use stored::{Stored, stored};
pub use typed::{text, typed};

/// One object of a manifest file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it stands.
    pub place: Place,
    /// The object in JSON form.
    pub object: Value,
}

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ManifestError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong, in one line.
    pub message: String,
}

/// The objects of a manifest, each document by itself: a malformed one does not hide the others.
/// `kind: List` is unfolded; empty documents and `null` are left out. JSON is YAML and is read too.
///
/// Documents are split at lines that begin with `---`, which YAML allows nowhere else at the start of a line.
pub fn documents(text: &str) -> Vec<Result<Document, ManifestError>> {
    let mut found = Vec::new();
    for (line, body) in split(text) {
        match parse(body) {
            Ok(Value::Null) => {}
            Ok(object @ Value::Object(_)) => unfold((line, body), object, &mut found),
            Ok(_) => found
                .push(Err(ManifestError { line, message: "an object is expected, with apiVersion and kind".into() })),
            Err((inner, message)) => found.push(Err(ManifestError { line: line + inner - 1, message })),
        }
    }
    found
}

/// One YAML document as JSON; the error carries the line within the text, from 1.
///
/// Old octal numbers (`0644`) are read as Kubernetes reads them; aliases that multiply are refused.
pub fn parse(text: &str) -> Result<Value, Refusal> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    deepened(text, strictly).map(|(object, _)| object)
}

/// One YAML document as YAML 1.2 has it.
fn strictly(text: &str) -> Result<Value, Refusal> {
    // Any number of comments may stand before a value: they are only passed over.
    let budget = serde_saphyr::budget! { max_buffered_comment_events: usize::MAX };
    let options = serde_saphyr::options! { legacy_octal_numbers: true, budget: budget };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
        (line.max(1), plainly(&first_line(&error.to_string())))
    })
}

/// The pieces between document separators, with the line each begins at.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let separator =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if separator && offset > start {
            pieces.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, index + 1);
        }
        offset += line.len();
    }
    pieces.push((start_line, &text[start..]));
    pieces.retain(|(_, piece)| {
        piece.lines().any(|line| !matches!(line.trim(), "" | "---" | "...") && !line.trim_start().starts_with('#'))
    });
    pieces
}

/// Pushes the object, or the items of a `kind: List`, each with its place.
fn unfold((line, body): (usize, &str), object: Value, found: &mut Vec<Result<Document, ManifestError>>) {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind == "List");
    match object {
        Value::Object(mut members) if is_list && members.get("items").is_some_and(Value::is_array) => {
            let Some(Value::Array(items)) = members.remove("items") else { return };
            let fields = Fields::of(body);
            for (index, object) in items.into_iter().enumerate() {
                let line = fields.line(&format!("items[{index}]")).map_or(line, |inner| line + inner - 1);
                found.push(match object {
                    Value::Null => continue,
                    Value::Object(_) => Ok(Document { place: Place { line, item: Some(index) }, object }),
                    _ => Err(ManifestError { line, message: "an object is expected, with apiVersion and kind".into() }),
                });
            }
        }
        object => found.push(Ok(Document { place: Place { line, item: None }, object })),
    }
}

/// What the first line of a message says: the place before it is told beside, and the rest is a picture of the source.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let is_place = |text: &str| text.starts_with("line ") && text.contains(" column ");
    line.split_once(": ").filter(|(place, _)| is_place(place)).map_or(line, |(_, said)| said).to_owned()
}

/// The parser's limits and advice in the words of who writes manifests.
fn plainly(message: &str) -> String {
    let limit = message.strip_prefix("budget breached: ");
    match (limit.and_then(|limit| limit.split(' ').next()), message.split_once(", set ")) {
        (Some("Depth"), _) => "it is nested too deeply".into(),
        (Some(_), _) => "the document holds too much, what its aliases repeat included; split it with ---".into(),
        (None, Some((problem, advice))) if advice.contains(" in Options") => problem.into(),
        _ if message == "recursion limit exceeded" => "it is nested too deeply".into(),
        _ if message.starts_with("multiple YAML documents") => "one document is expected, not several".into(),
        _ if message.starts_with("recursive references") => "an alias stands within what it repeats".into(),
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_document_does_not_hide_the_others() {
        let text = "# head\nkind: A\n---\nkind: [\n---\nkind: B\n";
        let found = documents(text);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].as_ref().unwrap().object["kind"], "A");
        let told = found[1].as_ref().map(|_| ()).map_err(ToString::to_string);
        assert_eq!(told, Err("line 4: unclosed bracket '['".into()));
        assert_eq!(
            (found[2].as_ref().unwrap().place.line, &found[2].as_ref().unwrap().object["kind"]),
            (5, &Value::from("B"))
        );
    }

    #[test]
    fn lists_are_unfolded_and_empty_documents_left_out() {
        let text = "---\n---\n# only a comment\n---\nkind: List\nitems:\n- kind: A\n- kind: B\n";
        let kinds: Vec<_> = documents(text).into_iter().map(|found| found.unwrap().object["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B"]);
    }

    #[test]
    fn items_of_a_list_have_lines_of_their_own() {
        let yaml = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  a:\n  - 1\n- kind: B\n";
        let json = "# head\n---\n{\n  \"kind\": \"List\",\n  \"items\": [\n    {\n      \"a\": {\n      }\n    },\n    {\n      \"a\": 1\n    }\n  ]\n}\n";
        for (text, expected) in [(yaml, [4, 7]), (json, [6, 10]), ("kind: List\nitems: [{a: 1}, {a: 2}]\n", [2, 2])] {
            let lines: Vec<_> = documents(text).into_iter().map(|found| found.unwrap().place.line).collect();
            assert_eq!(lines, expected, "{text}");
        }
        let odd = documents("kind: List\nitems:\n- 7\n- kind: B\n");
        assert_eq!(odd[0].as_ref().unwrap_err().line, 3);
        assert_eq!(odd[1].as_ref().unwrap().place.line, 4);
    }

    #[test]
    fn numbers_are_read_as_kubernetes_reads_them() {
        assert_eq!(parse("mode: 0644").unwrap()["mode"], 420);
    }

    #[test]
    fn any_number_of_comments_may_stand_anywhere() {
        let comments = "  # what could be set\n".repeat(1000);
        let text = format!("{comments}a:\n{comments}  b:\n{comments}  - 1\n{comments}  -\n{comments}    2\n{comments}");
        assert_eq!(parse(&text).unwrap(), serde_json::json!({"a": {"b": [1, 2]}}));
        assert_eq!(Fields::of(&text).line("a.b[1]"), Some(5005));
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let inner = format!("*a{},", level - 1).repeat(9);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", inner.trim_end_matches(',')));
        }
        let message = "the document holds too much, what its aliases repeat included; split it with ---";
        assert_eq!(parse(&bomb).unwrap_err().1, message);
    }

    #[test]
    fn what_the_parser_refuses_is_told_plainly() {
        for (text, expected) in [
            ("a: 1\na: 2\n".to_owned(), "duplicate mapping key: a"),
            ("[".repeat(10_000) + &"]".repeat(10_000), "it is nested too deeply"),
            ((0..100).map(|depth| " ".repeat(depth) + "a:\n").collect(), "it is nested too deeply"),
        ] {
            assert_eq!(parse(&text).unwrap_err().1, expected);
        }
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        let object = serde_json::json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository",
            "metadata": {"name": "a"}, "spec": {"image": "x", "interval": "1y"}});
        let error = typed::<crate::image::ImageRepository>(&object).unwrap_err();
        assert!(error.starts_with("spec.interval: invalid duration \"1y\""), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in "(\\PC|\n|---\n|: |- |\\{|\\[){0,200}") {
            let _ = documents(&text);
        }
    }
}
