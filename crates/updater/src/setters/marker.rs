//! The marker in a comment: `{"$imagepolicy": "ns:policy[:tag|:name|:digest]"}`.
//! Source: reference image-automation.md section 8.2.

use serde_json::{Map, Value};

/// Before the policy in the older form of a marker.
const OLD_PREFIX: &str = "#/definitions/io.k8s.cli.setters.";

/// What of the image is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `name:tag`, or `name:tag@digest`.
    Image,
    Tag,
    Name,
    Digest,
}

/// A marker as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// `namespace:policy`.
    pub(super) policy: String,
    pub(super) part: Part,
    /// The text of the marker.
    pub(super) setter: String,
}

/// What a comment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// No marker.
    None,
    /// Something meant as one; why it is none.
    Malformed(String),
    Marker(Marker),
}

/// Reads a comment's text, with or without its `#`.
pub(super) fn read(comment: &str) -> Reading {
    let text = comment.trim_start_matches('#').trim();
    let meant = text.contains("$imagepolicy") || text.contains(OLD_PREFIX);
    if !meant {
        return Reading::None;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Reading::Malformed("the comment must be one JSON object and nothing else".into());
    };
    if let Some((key, _)) = fields.iter().find(|(_, value)| !value.is_string()) {
        return Reading::Malformed(format!("the value of {key:?} must be a string"));
    }
    match setter(&fields) {
        None => Reading::None,
        Some(setter) => parse(setter),
    }
}

fn setter(fields: &Map<String, Value>) -> Option<&str> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    text("$imagepolicy").or_else(|| text("$ref")?.strip_prefix(OLD_PREFIX))
}

fn parse(setter: &str) -> Reading {
    let malformed = |problem: &str| Reading::Malformed(format!("{setter:?} {problem}"));
    let parts: Vec<&str> = setter.split(':').collect();
    let part = match parts.as_slice() {
        [_, _] => Part::Image,
        [_, _, "tag"] => Part::Tag,
        [_, _, "name"] => Part::Name,
        [_, _, "digest"] => Part::Digest,
        [_] => return malformed("names no policy; write <namespace>:<policy>"),
        _ => return malformed("ends in an unknown part; write :tag, :name or :digest"),
    };
    if parts[..2].iter().any(|part| part.is_empty()) {
        return malformed("names no policy; write <namespace>:<policy>");
    }
    Reading::Marker(Marker { policy: parts[..2].join(":"), part, setter: setter.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(comment: &str) -> Option<(String, Part)> {
        match read(comment) {
            Reading::Marker(marker) => Some((marker.policy, marker.part)),
            _ => None,
        }
    }

    #[test]
    fn markers_are_read_in_all_their_forms() {
        let full = |part| Some(("ns:p".to_owned(), part));
        assert_eq!(part(r#" {"$imagepolicy": "ns:p"}"#), full(Part::Image));
        assert_eq!(part(r#"{"$imagepolicy":"ns:p:tag"}"#), full(Part::Tag));
        assert_eq!(part(r##"## {"$imagepolicy": "ns:p:name", "other": "x"}"##), full(Part::Name));
        assert_eq!(part(r##"{"$ref":"#/definitions/io.k8s.cli.setters.ns:p:digest"}"##), full(Part::Digest));
    }

    #[test]
    fn what_is_meant_as_a_marker_and_is_none_is_told() {
        for comment in [
            r#"pinned {"$imagepolicy": "ns:p"}"#,
            r#"{"$imagepolicy": "ns:p"} pinned"#,
            r#"{"$imagepolicy": "ns:p", "n": 1}"#,
            r#"{"$imagepolicy": "ns/p"}"#,
            r#"{"$imagepolicy": "ns:p:version"}"#,
            r#"{"$imagepolicy": ":p"}"#,
            r#"{"$imagepolicy": "ns:p"#,
        ] {
            assert!(matches!(read(comment), Reading::Malformed(_)), "{comment}");
        }
        assert_eq!(read("an ordinary comment"), Reading::None);
    }
}
