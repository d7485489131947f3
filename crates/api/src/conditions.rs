//! Conditions in kstatus' sense: `Ready`, `Reconciling`, `Stalled`, and how one replaces another.

use crate::{Condition, Time};

/// The object is in the state its spec asks for.
pub const READY: &str = "Ready";
/// Work is under way; absent when it is not.
pub const RECONCILING: &str = "Reconciling";
/// Work cannot go on until somebody changes the object; absent when it can.
pub const STALLED: &str = "Stalled";

/// Longest message kept, in bytes. Source: reference image-automation.md section 2.1.
pub const MAX_MESSAGE_BYTES: usize = 32_768;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl Status {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The condition of that type, if present.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of that type is present with status `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Takes the condition of that type away.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// A condition to be set: everything but the time, which the change decides.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// `Ready`, `Reconciling`, `Stalled`, …
    pub kind: &'a str,
    /// Whether it holds.
    pub status: Status,
    /// One word in upper camel case.
    pub reason: &'a str,
    /// For people; cut at [`MAX_MESSAGE_BYTES`].
    pub message: &'a str,
    /// `metadata.generation` that the observation was made on.
    pub generation: i64,
}

/// Puts a condition in place of the one of its type. `lastTransitionTime` moves only when the status changes.
pub fn set(conditions: &mut Vec<Condition>, new: New<'_>, now: jiff::Timestamp) {
    let previous = find(conditions, new.kind);
    let since = match previous {
        Some(previous) if previous.status == new.status.as_str() => previous.last_transition_time.clone(),
        _ => Time(now),
    };
    let condition = Condition {
        type_: new.kind.to_owned(),
        status: new.status.as_str().to_owned(),
        reason: new.reason.to_owned(),
        message: cut(new.message, MAX_MESSAGE_BYTES).to_owned(),
        observed_generation: Some(new.generation),
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|existing| existing.type_ == new.kind) {
        Some(existing) => *existing = condition,
        None => conditions.push(condition),
    }
}

/// The longest prefix of at most `limit` bytes that ends between characters.
fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).expect("a valid second")
    }

    fn ready(status: Status, message: &str) -> New<'_> {
        New { kind: READY, status, reason: "Succeeded", message, generation: 1 }
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(Status::True, "first"), at(10));
        set(&mut conditions, ready(Status::True, "second"), at(20));
        assert_eq!(conditions.len(), 1);
        assert_eq!((conditions[0].message.as_str(), conditions[0].last_transition_time.0), ("second", at(10)));
        set(&mut conditions, ready(Status::False, "third"), at(30));
        assert_eq!(conditions[0].last_transition_time.0, at(30));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(Status::True, &"é".repeat(MAX_MESSAGE_BYTES)), at(1));
        assert_eq!(conditions[0].message.len(), MAX_MESSAGE_BYTES);
    }
}
