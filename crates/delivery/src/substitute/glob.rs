//! Shell patterns over short texts: `*`, `?`, and everything else for itself.

/// A pattern, by character.
pub(super) struct Glob(Vec<char>);

impl Glob {
    /// The pattern of a text.
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
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
                Some('*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(&wanted) if wanted == '?' || wanted == text[read] => {
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
        self.0[at..].iter().all(|wanted| *wanted == '*')
    }
}

/// Places between the characters of the text, its beginning and its end.
fn boundaries(text: &str) -> impl Iterator<Item = usize> + '_ {
    (0..=text.len()).filter(|&index| text.is_char_boundary(index))
}
