//! A small unified diff: edits stay on their lines, so lines are compared in pairs.

/// The changed lines of a file, as `diff -U0` shows them.
pub fn lines(name: &str, before: &[u8], after: &[u8]) -> String {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut text = format!("--- a/{name}\n+++ b/{name}\n");
    if old.len() == new.len() {
        for (index, (old, new)) in old.iter().zip(&new).enumerate().filter(|(_, (old, new))| old != new) {
            let line = index + 1;
            text.push_str(&format!("@@ -{line} +{line} @@\n-{old}\n+{new}\n"));
        }
        return text;
    }
    // A scalar of several lines became one line: everything between the first and the last difference is one change.
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(old, new)| old == new).count();
    let (removed, added) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    text.push_str(&format!("@@ -{},{} +{},{} @@\n", start + 1, removed.len(), start + 1, added.len()));
    removed.iter().for_each(|line| text.push_str(&format!("-{line}\n")));
    added.iter().for_each(|line| text.push_str(&format!("+{line}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_shown_with_their_numbers() {
        let diff = lines("a.yaml", b"a\nb\nc\n", b"a\nB\nc\n");
        assert_eq!(diff, "--- a/a.yaml\n+++ b/a.yaml\n@@ -2 +2 @@\n-b\n+B\n");
        let diff = lines("a.yaml", b"a\nb\nc\nd\n", b"a\nX\nd\n");
        assert_eq!(diff, "--- a/a.yaml\n+++ b/a.yaml\n@@ -2,2 +2,1 @@\n-b\n-c\n+X\n");
    }
}
