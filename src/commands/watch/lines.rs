//! A line of the screen: pieces of text, each in its colour, cut to the width.

use crate::commands::mark::{Paint, is_ascii, paint};

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(String, Option<Paint>)>);

impl Line {
    /// Text without colour.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![(text.into(), None)])
    }

    /// The line with more text.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.0.push((text.into(), None));
        self
    }

    /// The line with more text in a colour.
    #[must_use]
    pub fn in_colour(mut self, text: impl Into<String>, colour: Paint) -> Self {
        self.0.push((text.into(), Some(colour)));
        self
    }

    /// The line with blanks up to that column.
    #[must_use]
    pub fn up_to(self, column: usize) -> Self {
        let room = column.saturating_sub(self.width());
        self.and(" ".repeat(room))
    }

    /// Letters that it shows.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text.chars().count()).sum()
    }

    /// The beginning of the line that fits, with a sign where something is left out.
    #[must_use]
    pub fn cut(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut pieces = Vec::new();
        for (text, colour) in self.0 {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            pieces.push((piece, colour));
        }
        pieces.push((if is_ascii() { "~" } else { "…" }.to_owned(), None));
        Self(pieces)
    }

    /// As it is written, with a line end.
    pub fn text(&self) -> String {
        self.painted() + "\n"
    }

    /// As it is written.
    pub fn painted(&self) -> String {
        let piece = |(text, colour): &(String, Option<Paint>)| match colour {
            Some(colour) if !text.trim().is_empty() => paint(text, *colour),
            _ => text.clone(),
        };
        let text: String = self.0.iter().map(piece).collect();
        text.trim_end().to_owned()
    }
}

/// The text in lines of at most that width, broken at blanks.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("because there is always one");
        let room = last.chars().count() + 1 + word.chars().count() <= width;
        match last.is_empty() {
            true => last.push_str(word),
            false if room => last.extend([" ", word]),
            false => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_broken_to_the_width() {
        let line = Line::plain("abc").in_colour("def", Paint::Red).and("  ");
        assert_eq!((line.width(), line.clone().cut(8).painted().as_str()), (8, "abcdef"));
        assert_eq!(line.clone().cut(5).width(), 5);
        assert_eq!(Line::plain("ab").up_to(4).and("x").painted(), "ab  x");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("", 7), [""]);
    }
}
