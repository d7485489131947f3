//! Shell patterns over short texts: `*`, `?`, `[a-z]`, `[^a-z]`, and everything else for itself.

/// A pattern, piece by piece.
pub(super) struct Glob(Vec<Piece>);

/// What stands at one place of a pattern.
enum Piece {
    /// `*`
    Any,
    /// `?`
    One,
    /// A character for itself.
    Char(char),
    /// `[a-z_]`: one of the ranges; with `[^` none of them.
    Set { excludes: bool, ranges: Vec<(char, char)> },
}

impl Piece {
    /// Whether it stands for that one character.
    fn takes(&self, found: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Char(wanted) => *wanted == found,
            Self::Set { excludes, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&found)) != *excludes
            }
        }
    }

    /// What stands between the brackets; a bracket that nobody closes stands for itself.
    fn set(rest: &[char]) -> Option<(Self, usize)> {
        let excludes = rest.first() == Some(&'^');
        let begin = usize::from(excludes);
        let end = rest.iter().skip(begin + 1).position(|&c| c == ']')? + begin + 1;
        let mut members = &rest[begin..end];
        let mut ranges = Vec::new();
        while let [first, others @ ..] = members {
            let (last, others) = match others {
                ['-', last, others @ ..] => (last, others),
                _ => (first, others),
            };
            ranges.push((*first, *last));
            members = others;
        }
        Some((Self::Set { excludes, ranges }, end + 1))
    }
}

impl Glob {
    /// The pattern of a text.
    pub(super) fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut pieces = Vec::with_capacity(chars.len());
        let mut rest = chars.as_slice();
        while let [first, others @ ..] = rest {
            rest = others;
            pieces.push(match first {
                '*' => Piece::Any,
                '?' => Piece::One,
                '[' => match Piece::set(others) {
                    Some((set, length)) => {
                        rest = &others[length..];
                        set
                    }
                    None => Piece::Char('['),
                },
                other => Piece::Char(*other),
            });
        }
        Self(pieces)
    }

    /// End of the shortest beginning that matches; 0 if none does.
    pub(super) fn shortest_prefix(&self, text: &str) -> usize {
        boundaries(text).find(|&end| self.matches(&text[..end])).unwrap_or(0)
    }

    /// End of the longest beginning that matches; 0 if none does.
    pub(super) fn longest_prefix(&self, text: &str) -> usize {
        boundaries(text).filter(|&end| self.matches(&text[..end])).last().unwrap_or(0)
    }

    /// Start of the shortest ending that matches; the length of the text if none does.
    pub(super) fn shortest_suffix(&self, text: &str) -> usize {
        boundaries(text).filter(|&start| self.matches(&text[start..])).last().unwrap_or(text.len())
    }

    /// Start of the longest ending that matches; the length of the text if none does.
    pub(super) fn longest_suffix(&self, text: &str) -> usize {
        boundaries(text).find(|&start| self.matches(&text[start..])).unwrap_or(text.len())
    }

    /// Whether the whole text matches. Goes back to the last star only, so it takes no more than the product of both lengths.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut read) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while read < text.len() {
            match self.0.get(at) {
                Some(Piece::Any) => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(wanted) if wanted.takes(text[read]) => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((start, taken)) = star else { return false };
                    star = Some((start, taken + 1));
                    (at, read) = (start + 1, taken + 1);
                }
            }
        }
        self.0[at..].iter().all(|wanted| matches!(wanted, Piece::Any))
    }
}

/// Places between the characters of the text, its beginning and its end.
fn boundaries(text: &str) -> impl Iterator<Item = usize> + '_ {
    (0..=text.len()).filter(|&index| text.is_char_boundary(index))
}
