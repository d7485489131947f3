//! The terminal: the other screen while it is watched, and only lines that changed written.

use std::{io::Write as _, num::NonZeroU16};

use super::Line;

/// Shown lines; the terminal is as it was before when this goes.
pub struct Screen {
    shown: Vec<String>,
    size: (usize, usize),
}

impl Screen {
    /// Takes the terminal.
    pub fn open() -> Self {
        // The other screen, no cursor.
        write("\x1b[?1049h\x1b[?25l\x1b[2J");
        Self { shown: Vec::new(), size: size() }
    }

    /// Writes the lines that differ from those shown. A terminal of another size is written anew.
    pub fn show(&mut self, lines: &[Line]) {
        let now = size();
        let mut text = String::from("\x1b[?2026h");
        if now != self.size {
            self.size = now;
            self.shown.clear();
            text.push_str("\x1b[2J");
        }
        let (width, height) = now;
        let lines: Vec<String> = lines.iter().take(height).map(|line| line.clone().cut(width).painted()).collect();
        for (place, line) in lines.iter().enumerate() {
            if self.shown.get(place) != Some(line) {
                text.push_str(&format!("\x1b[{};1H{line}\x1b[K", place + 1));
            }
        }
        if lines.len() < self.shown.len() {
            text.push_str(&format!("\x1b[{};1H\x1b[J", lines.len() + 1));
        }
        text.push_str("\x1b[?2026l");
        self.shown = lines;
        write(&text);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write("\x1b[?25h\x1b[?1049l");
    }
}

/// Columns and rows of the terminal; 80 and 24 where it does not say.
pub fn size() -> (usize, usize) {
    let found = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let or = |given: Option<u16>, default: usize| given.and_then(NonZeroU16::new).map_or(default, |n| n.get().into());
    (or(found.map(|size| size.ws_col), 80), or(found.map(|size| size.ws_row), 24))
}

/// A terminal that went away is no error: the signal that follows ends the verb.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
