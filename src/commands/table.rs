//! Tables for people and pipes: aligned columns, on a terminal no wider than it; and times in two units.

use jiff::Timestamp;

use super::mark::sign;

/// Rows under titles, columns two blanks apart; the last column is not padded.
pub fn render(titles: Option<&[&str]>, rows: &[Vec<String>]) -> String {
    let header = titles.map(|titles| titles.iter().map(|title| (*title).to_owned()).collect());
    let lines: Vec<&Vec<String>> = header.iter().chain(rows).collect();
    let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let wide = |column: usize| lines.iter().filter_map(|line| Some(width(line.get(column)?))).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    lines.iter().map(|line| padded(line, &widths)).collect()
}

/// Fewest letters that are left of a last column.
const FEWEST: usize = 12;

/// The same, for that many columns: what does not fit is cut off the last one, unless hardly any of it would be left.
pub fn fitted(titles: Option<&[&str]>, mut rows: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let last = rows.iter().map(Vec::len).max().unwrap_or(0).saturating_sub(1);
    let header = titles.and_then(|titles| titles.get(..last)).unwrap_or_default();
    let before = |column: usize| {
        let cells = rows.iter().filter_map(|row| Some(width(row.get(column)?)));
        cells.chain(header.get(column).map(|title| width(title))).max().unwrap_or(0) + 2
    };
    let begins: usize = (0..last).map(before).sum();
    if let Some(columns) = columns {
        let room = columns.saturating_sub(begins).max(FEWEST);
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(last)).filter(|cell| width(cell) > room) {
            let end = sign("…", "...");
            // The last column has no colour.
            *cell = cell.chars().take(room - width(end)).collect::<String>() + end;
        }
    }
    render(titles, &rows)
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
    fn on_a_terminal_the_last_column_is_cut_to_fit() {
        let row = |message: &str| vec!["app".to_owned(), message.to_owned()];
        let told = "a message that goes on";
        let titles: &[&str] = &["NAME", "MESSAGE"];
        for (columns, expected) in [
            (None, told),
            (Some(80), told),
            (Some(28), told),
            (Some(27), "a message that goes …"),
            (Some(10), "a message t…"),
        ] {
            let text = fitted(Some(titles), vec![row(told), row("short")], columns);
            assert_eq!(text, format!("NAME  MESSAGE\napp   {expected}\napp   short\n"), "{columns:?}");
        }
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
