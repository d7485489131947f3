//! The page for scrapers, in pieces. That of thousands of objects has megabytes, and one text would be copied as it grows.

use std::fmt;

use bytes::Bytes;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

/// A text that is written once, from first to last.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<String>);

impl Page {
    /// What was written, in order.
    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.0.into_iter().map(Bytes::from).collect()
    }
}

impl fmt::Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.0.last_mut() {
            Some(piece) if piece.len() + text.len() <= PIECE => piece.push_str(text),
            _ => {
                let mut piece = String::with_capacity(PIECE.max(text.len()));
                piece.push_str(text);
                self.0.push(piece);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn pieces_hold_what_was_written_and_no_more_than_their_size_unless_one_text_does() {
        let mut page = Page::default();
        let texts = ["a".repeat(PIECE - 1), "bc".into(), "d".repeat(PIECE + 1), "e".into()];
        texts.iter().for_each(|text| page.write_str(text).expect("no text is refused"));
        let pieces = page.into_pieces();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE - 1, 2, PIECE + 1, 1]);
        assert_eq!(pieces.concat(), texts.concat().into_bytes());
        assert!(Page::default().into_pieces().is_empty());
    }
}
