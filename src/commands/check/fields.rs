//! Fields of any kind: wrong ones, which are refused, and unknown ones, which are silently ignored.

use serde::de::DeserializeOwned;

use super::{Complaint, Subject};

/// Whether the object is one of its kind, and has no field that its kind does not know.
pub fn check<K: DeserializeOwned>(subject: &Subject<'_>) -> Vec<Complaint> {
    if let Err(problem) = api::manifest::typed::<K>(subject.object) {
        let (field, message) = match problem.split_once(": ") {
            Some((field, message)) if !field.contains(' ') => (field, message),
            _ => ("", problem.as_str()),
        };
        return vec![Complaint::error(field, message)];
    }
    let mut unknown = Vec::new();
    let _ = serde_ignored::deserialize::<_, _, K>(subject.object, |path| unknown.push(path.to_string()));
    // The status is ours, and older versions had other fields.
    unknown.retain(|field| field.starts_with("spec."));
    let complaint = |field: String| {
        // Optional parts are written as `?` in the path.
        let field = field.replace(".?", "");
        Complaint::warning(field, "the field is unknown and ignored")
    };
    unknown.into_iter().map(complaint).collect()
}
