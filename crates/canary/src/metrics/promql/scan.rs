//! The text of a query, and a place in it: words, texts, numbers, durations.

use super::Problem;

/// Reads on from a place; blanks and comments never matter.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// Units of durations, longest first, each with its milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("y", 31_536_000_000),
];

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut scan = Self { text, at: 0 };
        scan.blanks();
        scan
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Where the next part begins.
    pub(super) fn start(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn blanks(&mut self) {
        loop {
            let rest = self.rest().trim_start_matches([' ', '\t', '\n', '\r']);
            self.at = self.text.len() - rest.len();
            if !rest.starts_with('#') {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    /// Goes on by so many bytes, and over the blanks behind them.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        self.blanks();
    }

    pub(super) fn sees(&self, symbol: &str) -> bool {
        self.rest().starts_with(symbol)
    }

    pub(super) fn sees_any(&self, symbols: &[char]) -> bool {
        self.rest().starts_with(symbols)
    }

    /// Whether a word is next, in capitals or not, and not only the beginning of one.
    pub(super) fn sees_word(&self, word: &str) -> bool {
        let rest = self.rest();
        let head = rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        head && !rest[word.len()..].starts_with(|c| is_word(c) || c == ':')
    }

    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let found = self.sees(symbol);
        if found {
            self.skip(symbol.len());
        }
        found
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.sees_word(word);
        if found {
            self.skip(word.len());
        }
        found
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<(), Problem> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&format!("{symbol:?}"))) }
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.skip(end);
        Some(word)
    }

    /// The name of a metric or function.
    pub(super) fn metric(&mut self) -> Option<String> {
        self.word(|c| is_word(c) || c == ':')
    }

    /// The name of a label, in quotes or not.
    pub(super) fn label(&mut self) -> Result<String, Problem> {
        if self.sees_any(&['"', '\'', '`']) {
            return self.text();
        }
        self.word(is_word).ok_or_else(|| self.unexpected("a label"))
    }

    /// A text in quotes, without them.
    pub(super) fn text(&mut self) -> Result<String, Problem> {
        let start = self.at;
        let mut characters = self.rest().char_indices();
        let Some((_, quote)) = characters.next() else { return Err(self.unexpected("a text")) };
        while let Some((offset, character)) = characters.next() {
            match character {
                '\\' if quote != '`' => match characters.next() {
                    Some((_, c)) if c == quote || "abfnrtv\\xuU01234567".contains(c) => {}
                    _ => return Err(self.refused(start + offset, "the text holds an unknown escape sequence")),
                },
                '\n' if quote != '`' => break,
                c if c == quote => {
                    let inner = self.text[start + 1..start + offset].to_owned();
                    self.skip(offset + quote.len_utf8());
                    return Ok(inner);
                }
                _ => {}
            }
        }
        Err(self.refused(start, "the text in quotes does not end"))
    }

    /// Takes a number or a duration, which counts as one; whether there is one.
    pub(super) fn number(&mut self) -> Result<bool, Problem> {
        if ["inf", "nan"].iter().any(|word| self.take_word(word)) {
            return Ok(true);
        }
        let rest = self.rest();
        if !rest.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit()) || rest.starts_with("..") {
            return Ok(false);
        }
        let mut end = rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len());
        let exponent = rest[..end].ends_with(['e', 'E']) && !rest.starts_with("0x");
        if exponent && rest[end..].starts_with(['+', '-']) {
            let behind = &rest[end + 1..];
            end += 1 + behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        }
        let word = rest[..end].replace('_', "").to_ascii_lowercase();
        let is_hexadecimal = word.strip_prefix("0x").is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok());
        if is_hexadecimal || word.parse::<f64>().is_ok() || milliseconds(&word).is_some() {
            self.skip(end);
            return Ok(true);
        }
        Err(self.refused(self.at, &format!("{:?} is no number and no duration", &rest[..end])))
    }

    /// A duration, or a number of seconds; more than nothing unless it may be.
    pub(super) fn duration(&mut self, may_be_nothing: bool) -> Result<(), Problem> {
        let start = self.at;
        let rest = self.rest();
        let end = rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len());
        let word = &rest[..end];
        let length =
            milliseconds(word).map(|length| length > 0).or_else(|| word.parse::<f64>().ok().map(|length| length > 0.0));
        match length {
            None => Err(self.unexpected("a duration such as 5m")),
            Some(false) if !may_be_nothing => Err(self.refused(start, "a duration must be greater than 0")),
            Some(_) => {
                self.skip(end);
                Ok(())
            }
        }
    }

    fn problem(&self, at: usize, message: String, is_syntax: bool) -> Problem {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Problem { line: before.matches('\n').count() + 1, column: line.chars().count() + 1, message, is_syntax }
    }

    /// The text is no query because of what stands there.
    pub(super) fn refused(&self, at: usize, message: &str) -> Problem {
        self.problem(at, message.to_owned(), true)
    }

    /// It is a query that Prometheus does not run.
    pub(super) fn mistyped(&self, at: usize, message: String) -> Problem {
        self.problem(at, message, false)
    }

    /// Something else stands where we are.
    pub(super) fn unexpected(&self, wanted: &str) -> Problem {
        let rest = self.rest();
        let found: String = match rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()) {
            0 => rest.chars().take(1).collect(),
            end => rest[..end].to_owned(),
        };
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        self.refused(self.at, &format!("expected {wanted}, found {found}"))
    }
}

/// A duration such as `1h30m`, its units from large to small, each once.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        let (unit, length) = UNITS.into_iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        if length >= last {
            return None;
        }
        (total, last) = (total.checked_add(number.checked_mul(length)?)?, length);
        rest = &rest[digits + unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}
