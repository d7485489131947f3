//! Quoted text that goes on at its key's own indentation: Go's YAML reader takes it, YAML 1.2 wants it deeper.

use std::borrow::Cow;

/// Why a text is not read: the line, from 1, and what is wrong with it.
pub type Refusal = (usize, String);

/// What the parser says of a line that is not deep enough.
const COMPLAINT: &str = "invalid indentation in multiline quoted scalar";
/// How many bytes are read again at most for the sake of such lines.
const MAX_READ_AGAIN: usize = 64 << 20;

/// The blanks that were put before lines for the parser's sake. They mean nothing: YAML folds them away.
#[derive(Debug, Default)]
pub struct Blanks {
    width: usize,
    /// Where they begin, in the text with all of them.
    starts: Vec<usize>,
}

impl Blanks {
    /// Where a byte of the text that was read stands in the text as it was given.
    #[must_use]
    pub fn origin(&self, offset: usize) -> usize {
        let before = self.starts.partition_point(|start| *start < offset);
        let Some(last) = before.checked_sub(1) else { return offset };
        let inside = (offset - self.starts[last]).min(self.width);
        offset - last * self.width - inside
    }

    /// Whether there are none: the text was read as it was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// Reads a text, and again with deeper lines where `read` refuses quoted text only because its next line is not deep
/// enough. Gives what was read, and the blanks that it was read with.
///
/// # Errors
/// What `read` refuses otherwise; its line is right, its column may count blanks of ours.
pub fn deepened<T>(text: &str, mut read: impl FnMut(&str) -> Result<T, Refusal>) -> Result<(T, Blanks), Refusal> {
    let mut deeper = Cow::Borrowed(text);
    let mut blanks = Blanks::default();
    loop {
        let (line, message) = match read(&deeper) {
            Ok(found) => return Ok((found, blanks)),
            Err(refusal) => refusal,
        };
        let start = line_start(&deeper, line);
        let is_done = blanks.starts.last().is_some_and(|last| start <= *last);
        if !message.contains(COMPLAINT) || is_done || blanks.starts.len() * deeper.len() > MAX_READ_AGAIN {
            return Err((line, message));
        }
        if blanks.is_empty() {
            blanks.width = deepest(text) + 1;
        }
        deeper.to_mut().insert_str(start, &" ".repeat(blanks.width));
        blanks.starts.push(start);
    }
}

/// Where a line begins, counted from 1.
fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

/// The column of the deepest key or entry, or one further right.
fn deepest(text: &str) -> usize {
    let lead = |line: &str| line.len() - line.trim_start_matches([' ', '-', '?']).len();
    text.lines().map(lead).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::manifest::{documents, parse, strictly};

    #[test]
    fn quoted_text_may_go_on_at_its_keys_indentation() {
        let text = "a:\n  b: 'one\n  two'\n  c: \"three\n\n  four\"\n  d: 1\n";
        assert_eq!(parse(text).unwrap(), json!({"a": {"b": "one two", "c": "three\nfour", "d": 1}}));
        assert_eq!(parse("- - a: 'one\ntwo'\n").unwrap(), json!([[{"a": "one two"}]]));
    }

    #[test]
    fn an_error_after_such_text_is_still_named_by_its_line() {
        let found = documents("kind: A\n---\nb: 'one\ntwo'\nc: [\n");
        assert!(found[1].as_ref().is_err_and(|error| error.line >= 5), "{:?}", found[1]);
        let open = parse("a: 'one\ntwo\n").unwrap_err();
        assert!(open.0 >= 1 && !open.1.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn an_offset_is_found_again(lines in proptest::collection::vec("[a-z ]{0,6}", 1..6)) {
            let text = format!("k: \"{}\"\nlast: 1\n", lines.join("\n"));
            let wanted = text.find("last").unwrap();
            let read = |deeper: &str| strictly(deeper).map(|_| deeper.find("last").unwrap());
            let (found, blanks) = super::deepened(&text, read).unwrap();
            proptest::prop_assert_eq!(blanks.origin(found), wanted);
        }
    }
}
