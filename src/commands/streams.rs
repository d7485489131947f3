//! What verbs read and write: files and standard input whole, answers on standard output, the rest on standard error.

use std::{
    fmt::Write as _,
    io::{self, Read, Write as _},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Most bytes that are read of one file: a larger one is hardly meant, and would have to be held whole.
const MOST: u64 = 256 << 20;

/// Standard input can be read once.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Why standard output takes no more.
static CLOSED: OnceLock<io::Error> = OnceLock::new();

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Standard input was read before.
    #[error("standard input can be read once, and - stands for it twice")]
    Taken,
    /// It cannot be had as a whole.
    #[error("cannot read {path}: {why}")]
    Whole { path: String, why: String },
    /// From a line on it is no text.
    #[error("{path}, line {line}: {problem}")]
    NoText { path: String, line: usize, problem: String },
}

/// The text of a file, or of standard input for `-`.
pub fn read(path: &str) -> Result<String, Unreadable> {
    if path == "-" && TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Unreadable::Taken);
    }
    let whole = |why| Unreadable::Whole { path: path.to_owned(), why };
    let bytes = match path {
        "-" => all(io::stdin().lock()),
        path => std::fs::File::open(path).and_then(all),
    };
    let bytes = bytes.map_err(|error| whole(said(&error)))?;
    if bytes.len() as u64 > MOST {
        return Err(whole(format!("it is larger than {} MiB", MOST >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let good = &bytes[..error.utf8_error().valid_up_to()];
        let (line, problem) = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (1, "UTF-8 is expected, and this is UTF-16".to_owned()),
            _ => (
                good.iter().filter(|byte| **byte == b'\n').count() + 1,
                format!("UTF-8 is expected, and byte 0x{:02x} is none", bytes[good.len()]),
            ),
        };
        Unreadable::NoText { path: path.to_owned(), line, problem }
    })
}

/// One byte more than may be read tells that there is too much.
fn all(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What went wrong, in lower case and without the system's number for it.
pub fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Prints an answer to standard output. What could move the terminal's cursor or hide text is made visible.
pub fn print(text: &str) {
    print_raw(&visible(text));
}

/// Prints what somebody else wrote for a terminal as it is.
pub fn print_raw(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        let _ = CLOSED.set(error);
    }
}

/// Prints an answer as JSON, one document, indented.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print_raw(&(serde_json::to_string_pretty(value)? + "\n"));
    Ok(())
}

/// Whether standard output still takes what is printed: a verb that goes on and on ends when it does not.
pub fn is_heard() -> bool {
    CLOSED.get().is_none()
}

/// Why an answer got lost. A reader that went away has what it wanted.
pub fn lost() -> Option<String> {
    CLOSED.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map(said)
}

/// Writes a line to standard error, which may be gone.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all((visible(text).into_owned() + "\n").as_bytes());
}

/// The text with control characters, but for line ends, tabs and our own colours, as escapes: what comes from files and
/// servers must not steer a terminal.
fn visible(text: &str) -> std::borrow::Cow<'_, str> {
    let is_clean = |byte: u8| (b' '..0x7f).contains(&byte) || matches!(byte, b'\n' | b'\t');
    if text.bytes().all(is_clean) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for (place, letter) in text.char_indices() {
        let rest = &text[place..];
        let is_hidden = match letter {
            '\n' | '\t' => false,
            '\r' => !rest.starts_with("\r\n"),
            '\x1b' => !is_colour(rest),
            letter => letter.is_control() || is_turning(letter),
        };
        match is_hidden {
            true => drop(write!(shown, "{}", letter.escape_unicode())),
            false => shown.push(letter),
        }
    }
    shown.into()
}

/// Whether the text begins with one of the colours that `mark` writes.
fn is_colour(text: &str) -> bool {
    let code = text.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m')).map(|(code, _)| code);
    code.is_some_and(|code| matches!(code, "0" | "1" | "2" | "31" | "32" | "33" | "34" | "35"))
}

/// Letters that turn the direction of what follows.
fn is_turning(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_made_visible() {
        for (text, shown) in [
            ("a\tb\r\nä ✔\n", "a\tb\r\nä ✔\n"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("\x1b[2Jx\x1b]0;title\x07", "\\u{1b}[2Jx\\u{1b}]0;title\\u{7}"),
            ("a\rb\u{202e}c\u{9b}8m", "a\\u{d}b\\u{202e}c\\u{9b}8m"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn the_systems_words_begin_small_and_have_no_number() {
        assert_eq!(said(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }
}
