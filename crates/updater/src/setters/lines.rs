//! The lines of a file. They end in LF, CR LF or a lone CR, as YAML 1.2 section 5.4 has it. Pure.

use std::ops::Range;

/// What lines end in.
pub(super) const ENDS: [char; 2] = ['\n', '\r'];

/// Where the line of an offset begins.
pub(super) fn start(text: &str, offset: usize) -> usize {
    text[..offset].rfind(ENDS).map_or(0, |at| at + 1)
}

/// Where the end of the line of an offset stands; none if the file ends before the line does.
pub(super) fn end(text: &str, offset: usize) -> Option<Range<usize>> {
    let at = offset + text[offset..].find(ENDS)?;
    let width = if text[at..].starts_with("\r\n") { 2 } else { 1 };
    Some(at..at + width)
}

/// The line above the one that begins at an offset, without its line end; empty if there is none.
pub(super) fn above(text: &str, begin: usize) -> &str {
    let above = text[..begin].strip_suffix('\n').unwrap_or(&text[..begin]);
    let above = above.strip_suffix('\r').unwrap_or(above);
    &above[start(above, above.len())..]
}

/// How many lines end in a part of the text.
pub(super) fn ended(text: &str, part: Range<usize>) -> usize {
    let bytes = text.as_bytes();
    part.filter(|at| match bytes[*at] {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    })
    .count()
}

/// The line of an offset, from 1, and the offset, counted on from an earlier answer if that lies before.
pub(super) fn number(text: &str, offset: usize, (line, known): (usize, usize)) -> (usize, usize) {
    let (line, known) = if known <= offset { (line, known) } else { (1, 0) };
    (line + ended(text, known..offset), offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_of_the_three_line_ends() {
        for end_of_line in ["\n", "\r\n", "\r"] {
            let text = ["one", "two", "", "four"].join(end_of_line);
            let (two, four) = (text.find("wo").unwrap(), text.find("four").unwrap());
            let found = end(&text, two).unwrap();
            assert_eq!((&text[start(&text, two)..found.start], &text[found]), ("two", end_of_line));
            assert_eq!((start(&text, four), end(&text, four)), (four, None), "{text:?}");
            assert_eq!((above(&text, start(&text, two)), above(&text, four), above(&text, 0)), ("one", "", ""));
            let counted = number(&text, two, (1, 0));
            assert_eq!((counted.0, number(&text, four, counted).0), (2, 4), "{text:?}");
            assert_eq!(number(&text, two, (4, four)).0, 2);
        }
    }
}
