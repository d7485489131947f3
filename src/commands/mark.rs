//! Marks before lines of progress, and the one decision about colour.
//!
//! Colour never carries meaning alone: the mark or word is there without it.

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether standard output and standard error get colour.
static OUT: AtomicBool = AtomicBool::new(false);
static ERR: AtomicBool = AtomicBool::new(false);
/// Whether only plain letters are written.
static ASCII: AtomicBool = AtomicBool::new(false);

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set or `TERM=dumb`.
    #[default]
    Auto,
    /// Even in a pipe.
    Always,
    /// Not at all.
    Never,
}

/// What the environment says about the terminal.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE=1`.
    pub force: bool,
    /// `TERM=dumb`.
    pub dumb: bool,
    /// The locale can write more than ASCII.
    pub utf8: bool,
}

impl Environment {
    /// The environment of this process.
    pub fn read() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).into_iter().find(|value| !value.is_empty());
        Self {
            no_color: !variable("NO_COLOR").is_empty(),
            force: variable("CLICOLOR_FORCE") == "1",
            dumb: variable("TERM") == "dumb",
            // Without any locale the terminals of today still write UTF-8.
            utf8: locale.is_none_or(|locale| locale.to_lowercase().replace('-', "").contains("utf8")),
        }
    }
}

/// Whether a stream gets colour.
fn colored(asked: Color, environment: &Environment, is_terminal: bool) -> bool {
    match asked {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => environment.force || (is_terminal && !environment.no_color && !environment.dumb),
    }
}

/// Decides for this process.
pub fn decide(asked: Color, ascii: bool) {
    let environment = Environment::read();
    OUT.store(colored(asked, &environment, std::io::stdout().is_terminal()), Ordering::Relaxed);
    ERR.store(colored(asked, &environment, std::io::stderr().is_terminal()), Ordering::Relaxed);
    ASCII.store(ascii || !environment.utf8, Ordering::Relaxed);
}

/// Whether standard output is a terminal on which lines can be written over.
pub fn repaints() -> bool {
    moves(&Environment::read(), std::io::stdout().is_terminal())
}

/// Whether the cursor can be moved.
const fn moves(environment: &Environment, is_terminal: bool) -> bool {
    is_terminal && !environment.dumb
}

/// Columns of the terminal that standard output is; none in a pipe, and where the terminal does not say.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// The colours of the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Ready, done.
    Green,
    /// Waiting.
    Yellow,
    /// Failed.
    Red,
    /// On its way.
    Blue,
    /// Paused, suspended.
    Magenta,
    /// Titles.
    Bold,
    /// What matters less.
    Dim,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
        }
    }
}

/// Whether only plain letters are written.
pub fn is_ascii() -> bool {
    ASCII.load(Ordering::Relaxed)
}

/// The text in a colour, if standard output gets colour.
pub fn paint(text: &str, paint: Paint) -> String {
    painted(text, paint, OUT.load(Ordering::Relaxed))
}

fn painted(text: &str, paint: Paint, colored: bool) -> String {
    if colored { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
}

fn mark(sign: &'static str, ascii: &'static str, paint: Paint, colored: bool) -> String {
    painted(if ASCII.load(Ordering::Relaxed) { ascii } else { sign }, paint, colored)
}

/// A sign, or its plain letters where only such are written.
pub fn sign(sign: &'static str, ascii: &'static str) -> &'static str {
    if is_ascii() { ascii } else { sign }
}

/// Before a good end, on standard output.
pub fn good() -> String {
    mark("✔", "ok", Paint::Green, OUT.load(Ordering::Relaxed))
}

/// Before a bad end, on standard output.
pub fn bad() -> String {
    mark("✗", "!", Paint::Red, OUT.load(Ordering::Relaxed))
}

/// Before what is looked at next, on standard output.
pub fn look() -> String {
    mark("►", ">", Paint::Blue, OUT.load(Ordering::Relaxed))
}

/// Before what somebody should know, on standard output.
pub fn note() -> String {
    mark("◎", "?", Paint::Yellow, OUT.load(Ordering::Relaxed))
}

/// Before a step, on standard error.
pub fn step() -> String {
    mark("►", ">", Paint::Blue, ERR.load(Ordering::Relaxed))
}

/// Before a wait, on standard error.
pub fn busy() -> String {
    mark("◎", "?", Paint::Yellow, ERR.load(Ordering::Relaxed))
}

/// The word before a message about what went wrong.
pub fn error() -> String {
    painted("error:", Paint::Red, ERR.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let none = Environment::default();
        let no_color = Environment { no_color: true, ..none.clone() };
        let dumb = Environment { dumb: true, ..none.clone() };
        let force = Environment { force: true, ..none.clone() };
        for (asked, environment, is_terminal, expected) in [
            (Color::Auto, &none, true, true),
            (Color::Auto, &none, false, false),
            (Color::Auto, &no_color, true, false),
            (Color::Auto, &dumb, true, false),
            (Color::Auto, &force, false, true),
            (Color::Always, &no_color, false, true),
            (Color::Never, &force, true, false),
        ] {
            assert_eq!(colored(asked, environment, is_terminal), expected, "{asked:?} {environment:?} {is_terminal}");
        }
        assert_eq!(painted("x", Paint::Red, true), "\x1b[31mx\x1b[0m");
        assert!(moves(&none, true) && moves(&no_color, true) && !moves(&dumb, true) && !moves(&none, false));
    }
}
