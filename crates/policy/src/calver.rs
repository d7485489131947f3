//! Calendar versions: a format such as `YYYY.0M.MICRO`, and what a tag says under it.
//!
//! Differs: Flux has no such order. Source of the field names: calver.org, "Scheme".

/// A format, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    written: String,
    pieces: Vec<Piece>,
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(char),
    Field(Field),
}

/// A number of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    /// As formats write it.
    name: &'static str,
    fewest_digits: usize,
    most_digits: usize,
    least: u64,
    greatest: u64,
    is_padded: bool,
}

/// Longer names before those they begin with.
const FIELDS: [Field; 12] = [
    Field { name: "YYYY", fewest_digits: 4, most_digits: 4, least: 0, greatest: 9999, is_padded: true },
    Field { name: "MAJOR", fewest_digits: 1, most_digits: 19, least: 0, greatest: u64::MAX, is_padded: false },
    Field { name: "MINOR", fewest_digits: 1, most_digits: 19, least: 0, greatest: u64::MAX, is_padded: false },
    Field { name: "MICRO", fewest_digits: 1, most_digits: 19, least: 0, greatest: u64::MAX, is_padded: false },
    Field { name: "YY", fewest_digits: 1, most_digits: 3, least: 0, greatest: 999, is_padded: false },
    Field { name: "0Y", fewest_digits: 2, most_digits: 3, least: 0, greatest: 999, is_padded: true },
    Field { name: "MM", fewest_digits: 1, most_digits: 2, least: 1, greatest: 12, is_padded: false },
    Field { name: "0M", fewest_digits: 2, most_digits: 2, least: 1, greatest: 12, is_padded: true },
    Field { name: "WW", fewest_digits: 1, most_digits: 2, least: 1, greatest: 53, is_padded: false },
    Field { name: "0W", fewest_digits: 2, most_digits: 2, least: 1, greatest: 53, is_padded: true },
    Field { name: "DD", fewest_digits: 1, most_digits: 2, least: 1, greatest: 31, is_padded: false },
    Field { name: "0D", fewest_digits: 2, most_digits: 2, least: 1, greatest: 31, is_padded: true },
];

impl Format {
    /// Reads a format; `None` if it has no field.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            match FIELDS.iter().find(|field| rest.starts_with(field.name)) {
                Some(field) => {
                    pieces.push(Piece::Field(*field));
                    rest = &rest[field.name.len()..];
                }
                None => {
                    pieces.push(Piece::Text(char));
                    rest = &rest[char.len_utf8()..];
                }
            }
        }
        let has_field = pieces.iter().any(|piece| matches!(piece, Piece::Field(_)));
        has_field.then(|| Self { written: text.to_owned(), pieces })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The numbers of a version, from left to right; they compare in this order. `None` if it has another form.
    pub fn read(&self, version: &str) -> Option<Vec<u64>> {
        let mut numbers = Vec::with_capacity(self.pieces.len());
        let mut rest = version;
        for piece in &self.pieces {
            match piece {
                Piece::Text(char) => rest = rest.strip_prefix(*char)?,
                Piece::Field(field) => {
                    let (number, after) = field.take(rest)?;
                    numbers.push(number);
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(numbers)
    }
}

impl Field {
    /// The number at the start of a text, and what follows it.
    fn take(self, text: &str) -> Option<(u64, &str)> {
        let digits = text.bytes().take(self.most_digits).take_while(u8::is_ascii_digit).count();
        if digits < self.fewest_digits || (!self.is_padded && digits > 1 && text.starts_with('0')) {
            return None;
        }
        let (number, rest) = text.split_at(digits);
        let number = number.parse().ok().filter(|number| (self.least..=self.greatest).contains(number))?;
        Some((number, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, version: &str) -> Option<Vec<u64>> {
        Format::parse(format).expect(format).read(version)
    }

    #[test]
    fn versions_are_read_by_their_format() {
        for (format, version, expected) in [
            ("YYYY.0M.0D", "2026.03.09", Some(vec![2026, 3, 9])),
            ("YYYY.0M.0D", "2026.3.9", None),
            ("YYYY.MM.MICRO", "2026.3.114", Some(vec![2026, 3, 114])),
            ("YYYY.MM.MICRO", "2026.03.1", None),
            ("YYYY.MM.MICRO", "2026.13.1", None),
            ("YY.MM", "26.10", Some(vec![26, 10])),
            ("YY.MM", "26.10.1", None),
            ("YYYY0M0D-MICRO", "20260309-7", Some(vec![2026, 3, 9, 7])),
            ("vYYYY.WW", "v2026.53", Some(vec![2026, 53])),
            ("vYYYY.WW", "2026.53", None),
            ("YYYY", "latest", None),
            ("YYYY", "", None),
        ] {
            assert_eq!(read(format, version), expected, "{version} as {format}");
        }
        assert_eq!(Format::parse("v1"), None);
        assert_eq!(Format::parse(""), None);
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(format in "(YYYY|0M|MICRO|DD|[.v-]|\\PC){0,8}", version in "([0-9.-]|\\PC){0,20}") {
            if let Some(format) = Format::parse(&format) {
                let _ = format.read(&version);
            }
        }
    }
}
