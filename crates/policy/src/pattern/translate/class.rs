//! Bracketed classes, `[…]`, of Go's dialect.

use super::Translator;
use crate::pattern::InvalidPattern;

impl Translator<'_> {
    /// Rewrites a bracketed class item by item, so that nothing in it is read as a set operation.
    pub(super) fn class(&mut self) -> Result<(), InvalidPattern> {
        let start = self.at;
        self.copy(1);
        if self.next() == Some('^') {
            self.copy(1);
        }
        let mut is_first = true;
        loop {
            match self.next() {
                None => return Err(self.error("missing closing ]", start, self.pattern.len())),
                Some(']') if !is_first => break,
                Some(_) => self.class_item(start)?,
            }
            is_first = false;
        }
        self.copy(1);
        Ok(())
    }

    /// Rewrites one item of a class: a named class, a character or a range.
    fn class_item(&mut self, class: usize) -> Result<(), InvalidPattern> {
        let rest = self.rest();
        if let Some(end) = rest.strip_prefix("[:").and_then(|name| name.find(":]")) {
            let length = end + 4;
            if !is_posix_class(&rest[2..end + 2]) {
                return Err(self.error("invalid character class range", self.at, self.at + length));
            }
            self.copy(length);
            return Ok(());
        }
        if let Some(kind) = rest.strip_prefix('\\').and_then(|after| after.chars().next()) {
            if matches!(kind, 'p' | 'P') {
                return self.unicode_class();
            }
            if let Some(items) = perl_class(kind) {
                let brackets = if items.starts_with('^') { ("[", "]") } else { ("", "") };
                self.out.push_str(&format!("{}{items}{}", brackets.0, brackets.1));
                self.at += 2;
                return Ok(());
            }
        }
        let start = self.at;
        let low = self.class_char(class)?;
        let is_range = self.rest().strip_prefix('-').is_some_and(|after| !after.starts_with(']') && !after.is_empty());
        let high = if is_range {
            self.at += 1;
            self.class_char(class)?
        } else {
            low
        };
        if high < low {
            return Err(self.error("invalid character class range", start, self.at));
        }
        self.out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high)));
        Ok(())
    }

    /// Takes one character of a class.
    fn class_char(&mut self, class: usize) -> Result<char, InvalidPattern> {
        match self.next() {
            None => Err(self.error("missing closing ]", class, self.pattern.len())),
            Some('\\') => self.escape(),
            Some(char) => {
                self.at += char.len_utf8();
                Ok(char)
            }
        }
    }
}

/// The characters of `\d`, `\s`, `\w` and their opposites: ASCII only in Go.
pub(super) fn perl_class(kind: char) -> Option<&'static str> {
    Some(match kind {
        'd' => "0-9",
        'D' => "^0-9",
        's' => r"\t\n\f\r\x20",
        'S' => r"^\t\n\f\r\x20",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        _ => return None,
    })
}

/// Whether `[:name:]` is known; `^` turns it round.
fn is_posix_class(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
        "word", "xdigit",
    ];
    NAMES.contains(&name.strip_prefix('^').unwrap_or(name))
}
