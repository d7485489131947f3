//! Every marker of a file with what it names and whether that is as it should be. Pure.

use serde::Serialize;

use super::{Policies, Warning, has_marker, lines, marker, marker::Reading, read};

/// A marker, as `slipway markers` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The file.
    pub file: String,
    /// The line of the marker, from 1.
    pub line: usize,
    /// The marker's text; empty if it cannot be read.
    pub setter: String,
    /// The value that it marks; none if it marks nothing.
    pub value: Option<String>,
    /// The value that its policy stands for; none if no such policy is known.
    pub wanted: Option<String>,
    /// Why the marker is ignored even where its policy is known.
    pub problem: Option<String>,
}

impl Listed {
    /// Whether a policy that is known takes care of the value.
    pub fn is_covered(&self) -> bool {
        self.problem.is_none() && self.wanted.is_some()
    }
}

/// The markers of a file, in its order. Errs where the file cannot be read.
pub fn list(file: &str, content: &[u8], policies: &Policies) -> Result<Vec<Listed>, Warning> {
    if !has_marker(content) {
        return Ok(Vec::new());
    }
    let (text, scan) = read(file, content)?;
    let mut found = Vec::new();
    let mut counted = (1, 0);
    for comment in &scan.comments {
        let reading = marker::read(&comment.text);
        if reading == Reading::None {
            continue;
        }
        counted = lines::number(text, comment.span.start, counted);
        let empty = Listed {
            file: file.to_owned(),
            line: counted.0,
            setter: String::new(),
            value: None,
            wanted: None,
            problem: None,
        };
        found.push(match reading {
            Reading::Marker(marker) => {
                let scalar = scan.marked(text, comment);
                let value = scalar.as_ref().ok().map(|scalar| scalar.value.trim_end_matches('\n').to_owned());
                let wanted = policies.value(&marker);
                let problem = scalar.err().or_else(|| policies.invalid(&marker.policy));
                Listed { setter: marker.setter, value, wanted, problem, ..empty }
            }
            Reading::Malformed(problem) => Listed { problem: Some(format!("marker is ignored: {problem}")), ..empty },
            Reading::None => continue,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use api::image::ImageRef;

    use super::*;

    #[test]
    fn markers_are_listed_with_what_they_name_and_what_hinders_them() {
        let image = ImageRef { name: "a.io/i".into(), tag: "2".into(), digest: String::new() };
        let policies = Policies::new([("ns:p".to_owned(), image)]);
        let text = "a: x:1 # {\"$imagepolicy\": \"ns:p\"}\nb: y # {\"$imagepolicy\": \"ns:q:tag\"}\n\
                    c: # {\"$imagepolicy\": \"ns:p\"}\n  z\nd: v # {\"$imagepolicy\": 1}\n";
        let found = list("f.yaml", text.as_bytes(), &policies).unwrap();
        let short: Vec<_> = found
            .iter()
            .map(|one| (one.line, one.value.as_deref(), one.wanted.as_deref(), one.problem.is_some(), one.is_covered()))
            .collect();
        let expected = [
            (1, Some("x:1"), Some("a.io/i:2"), false, true),
            (2, Some("y"), None, false, false),
            (3, None, Some("a.io/i:2"), true, false),
            (5, None, None, true, false),
        ];
        assert_eq!(short, expected);
    }
}
