//! Puts a marker beside the values that name an image, and changes no other byte. Pure.

use super::{Warning, lines, read};

/// A file with markers added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// The new content; none if no marker was added.
    pub content: Option<Vec<u8>>,
    /// The lines that have a marker now, from 1.
    pub lines: Vec<usize>,
    /// Values of the image that could not be marked.
    pub warnings: Vec<Warning>,
}

/// Marks the values `image`, `image:tag` and `image@digest` of a file. A line with a comment is left alone: one that has
/// a marker needs none, any other comment is somebody's.
pub fn add(file: &str, content: &[u8], image: &str, setter: &str) -> Result<Added, Warning> {
    let (text, scan) = read(file, content)?;
    let mut added = Added::default();
    let (mut result, mut done, mut counted) = (String::new(), 0, (1, 0));
    for scalar in scan.scalars.iter().filter(|scalar| !scalar.is_key() && names(&scalar.value, image)) {
        counted = lines::number(text, scalar.span.start, counted);
        let warn = |message: &str| Warning { file: file.to_owned(), line: counted.0, message: message.to_owned() };
        let behind = &text[scalar.span.end..];
        let rest = behind.split(lines::ENDS).next().unwrap_or_default();
        let blank = rest.trim();
        if blank.starts_with('#') {
            if !blank.contains("$imagepolicy") {
                added.warnings.push(warn("not marked: another comment stands beside the value"));
            }
            continue;
        }
        let is_alone = matches!(blank, "" | ",") && !scalar.is_block() && scalar.span.end > done;
        if !is_alone {
            added.warnings.push(warn("not marked: the value does not end its line"));
            continue;
        }
        let at = scalar.span.end + rest.trim_end().len();
        result.push_str(&text[done..at]);
        result.push_str(&format!(" # {{\"$imagepolicy\": \"{setter}\"}}"));
        done = at;
        added.lines.push(counted.0);
    }
    result.push_str(&text[done..]);
    added.content = (!added.lines.is_empty()).then(|| result.into_bytes());
    Ok(added)
}

/// Whether a value is the image, with or without tag and digest.
fn names(value: &str, image: &str) -> bool {
    value.strip_prefix(image).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']) && !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_names_the_image_gets_a_marker_and_nothing_else_changes() {
        let before = "# head\r\nimage: \"a.io/i:1\"  \r\nl: [\n  a.io/i@sha256:ab,\n  x]\nother: a.io/i/deep:1\n\
                      marked: a.io/i:1 # {\"$imagepolicy\": \"ns:p\"}\nnoted: a.io/i # why\nm: {image: a.io/i:1}\na.io/i: 1";
        let added = add("f.yaml", before.as_bytes(), "a.io/i", "ns:p").unwrap();
        let after = String::from_utf8(added.content.unwrap()).unwrap();
        let m = " # {\"$imagepolicy\": \"ns:p\"}";
        let expected = before
            .replace("\"a.io/i:1\"  \r\n", &format!("\"a.io/i:1\"{m}  \r\n"))
            .replace("sha256:ab,\n", &format!("sha256:ab,{m}\n"));
        assert_eq!((after, added.lines), (expected, vec![2, 4]));
        let told: Vec<_> = added.warnings.iter().map(|warning| warning.line).collect();
        assert_eq!(told, [8, 9]);
        assert_eq!(add("f.yaml", b"a: b\n", "a.io/i", "ns:p").unwrap(), Added::default());
        let carriage_returns = add("f.yaml", b"b: 1\ra: a.io/i:1\rc: 1\r", "a.io/i", "ns:p").unwrap();
        let expected = format!("b: 1\ra: a.io/i:1{m}\rc: 1\r").into_bytes();
        assert_eq!((carriage_returns.content, carriage_returns.lines), (Some(expected), vec![2]));
    }
}
