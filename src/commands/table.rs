//! Tables for people and pipes: aligned columns, no cutting; and times in two units.

use jiff::Timestamp;

/// Rows under titles, columns two blanks apart; the last column is not padded.
pub fn render(titles: Option<&[&str]>, rows: &[Vec<String>]) -> String {
    let header = titles.map(|titles| titles.iter().map(|title| (*title).to_owned()).collect());
    let lines: Vec<&Vec<String>> = header.iter().chain(rows).collect();
    let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let wide = |column: usize| lines.iter().filter_map(|line| Some(width(line.get(column)?))).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    lines.iter().map(|line| padded(line, &widths)).collect()
}

/// One line, its cells padded to these widths.
pub fn padded(cells: &[String], widths: &[usize]) -> String {
    let mut row = String::new();
    for (cell, wanted) in cells.iter().zip(widths) {
        row.push_str(cell);
        row.push_str(&" ".repeat(wanted.saturating_sub(width(cell)) + 2));
    }
    row.truncate(row.trim_end().len());
    row + "\n"
}

/// Letters that a terminal shows: colour takes no room.
pub fn width(text: &str) -> usize {
    let mut shown = 0;
    let mut escaped = false;
    for letter in text.chars() {
        match (escaped, letter) {
            (false, '\x1b') => escaped = true,
            (true, 'm') => escaped = false,
            (true, _) => {}
            (false, _) => shown += 1,
        }
    }
    shown
}

/// One line of text for a cell: breaks become blanks, nothing becomes `-`.
pub fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { "-".into() } else { words.join(" ") }
}

/// `1 marker`, `2 markers`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// How long ago, in two units: `4m12s`, `14d`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_secs().max(0).unsigned_abs())
}

/// A time span in two units; days stand alone from ten on.
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let two = |big: u64, unit: char, small: u64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    match (days, hours, minutes) {
        (10.., ..) => format!("{days}d"),
        (1.., ..) => two(days, 'd', hours, 'h'),
        (0, 1.., _) => two(hours, 'h', minutes, 'm'),
        (0, 0, 1..) => two(minutes, 'm', rest, 's'),
        (0, 0, 0) => format!("{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let rows = [vec!["podinfo".to_owned(), "10%".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(render(Some(&["NAME", "WEIGHT"]), &rows), "NAME     WEIGHT\npodinfo  10%\na\n");
        assert_eq!(render(None, &rows), "podinfo  10%\na\n");
        assert_eq!(width("\x1b[31mred\x1b[0m"), 3);
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (252, "4m12s"),
            (3600, "1h"),
            (3780, "1h3m"),
            (86_400, "1d"),
            (90_000, "1d1h"),
            (14 * 86_400 + 5, "14d"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn cells_are_one_line() {
        assert_eq!(cell("a\n b"), "a b");
        assert_eq!(cell(" \n"), "-");
    }
}
