//! Fields of any kind that are wrong, so that the object is refused.

use serde::de::DeserializeOwned;

use super::{Complaint, Subject};

/// Whether the object is one of its kind.
pub fn check<K: DeserializeOwned>(subject: &Subject<'_>) -> Vec<Complaint> {
    let Err(problem) = api::manifest::typed::<K>(subject.object) else { return Vec::new() };
    let (field, message) = match problem.split_once(": ") {
        Some((field, message)) if !field.contains(' ') => (field, message),
        _ => ("", problem.as_str()),
    };
    vec![Complaint::error(field, message)]
}
