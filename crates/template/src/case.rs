//! Letter case as Go maps it: one character to one. Rust follows Unicode's full mappings, in which `ß` becomes `SS`.
//!
//! Source: Go 1.26 `unicode.ToUpper`, `ToLower`, `ToTitle`; letters that are newer than its Unicode 15.0 have case here too.

/// Greek letters with an iota below, whose capitals are one character only in the simple mapping: range and distance.
const IOTAS: [(u32, u32, u32); 6] = [
    (0x1f80, 0x1f87, 8),
    (0x1f90, 0x1f97, 8),
    (0x1fa0, 0x1fa7, 8),
    (0x1fb3, 0x1fb3, 9),
    (0x1fc3, 0x1fc3, 9),
    (0x1ff3, 0x1ff3, 9),
];

/// In upper case.
pub(crate) fn upper(c: char) -> char {
    let mut full = c.to_uppercase();
    if let (Some(upper), None) = (full.next(), full.next()) {
        return upper;
    }
    let code = u32::from(c);
    let iota = IOTAS.iter().find(|(first, last, _)| (*first..=*last).contains(&code));
    iota.and_then(|(_, _, distance)| char::from_u32(code + distance)).unwrap_or(c)
}

/// In lower case. Only `İ` has more than one character there, of which the first is its simple mapping.
pub(crate) fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// As the first letter of a title: upper case but for digraphs, and for Georgian, which has no titles.
pub(crate) fn title(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        '\u{10d0}'..='\u{10ff}' => c,
        _ => upper(c),
    }
}

/// A text with each of its characters mapped.
pub(crate) fn each(text: &str, map: fn(char) -> char) -> String {
    text.chars().map(map).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: Go 1.26.8.
    #[test]
    fn characters_stay_one_character() {
        for (text, [upper_text, lower_text, title_text]) in [
            ("aBé", ["ABÉ", "abé", "ABÉ"]),
            ("ßŉǰΐﬁև", ["ßŉǰΐﬁև", "ßŉǰΐﬁև", "ßŉǰΐﬁև"]),
            ("ᾀᾈᾗᾧᾳῃῳᾼ", ["ᾈᾈᾟᾯᾼῌῼᾼ", "ᾀᾀᾗᾧᾳῃῳᾳ", "ᾈᾈᾟᾯᾼῌῼᾼ"]),
            ("İıſKÅ", ["İISKÅ", "iıſkå", "İISKÅ"]),
            ("ΑΣςσ", ["ΑΣΣΣ", "ασςσ", "ΑΣΣΣ"]),
            ("ǄǅǆǇǈǉǊǋǌǱǲǳ", ["ǄǄǄǇǇǇǊǊǊǱǱǱ", "ǆǆǆǉǉǉǌǌǌǳǳǳ", "ǅǅǅǈǈǈǋǋǋǲǲǲ"]),
            ("აჿᲐ", ["ᲐᲿᲐ", "აჿა", "აჿᲐ"]),
        ] {
            let found = [upper, lower, title].map(|map| each(text, map));
            assert_eq!(found, [upper_text, lower_text, title_text], "{text}");
        }
    }
}
