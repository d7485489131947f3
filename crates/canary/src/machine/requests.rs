//! What people ask of a rollout without editing its spec: annotations of the Canary, each obeyed once.
//!
//! A request is free text that begins with the word of its [`Action`] and goes on with when and who, as
//! `slipway canary promote` writes it: `promote at 2026-01-01T00:00:00Z by ada: looks good`. The text obeyed last is kept
//! in a condition, written together with what it led to; so a stop at any instant neither loses nor repeats it.

use std::fmt;

use api::flagger::{Canary, Phase};
use jiff::{Timestamp, Unit};
use serde::Serialize;

use super::{Flow, Target, Tick};
use crate::{alerts, conditions};

/// Annotation with what is asked for.
pub const REQUEST: &str = "slipway.dev/request";
/// Annotation that holds a rollout where it is, with when, who, and perhaps `until TIME`.
pub const PAUSED: &str = "slipway.dev/paused";

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open the gate that the rollout waits at.
    Promote,
    /// Promote without the remaining steps and checks; the primary is awaited before traffic goes back.
    PromoteFull,
    /// Promote as `spec.skipAnalysis` does.
    Skip,
    /// Send all traffic to the primary and give the revision up.
    Rollback,
    /// Try the revision that failed again.
    Retry,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [Self::Promote, Self::PromoteFull, Self::Skip, Self::Rollback, Self::Retry];

    /// The word a request begins with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Skip => "skip",
            Self::Rollback => "rollback",
            Self::Retry => "retry",
        }
    }

    /// Why the action makes no sense in that phase; nothing if it does.
    pub fn refusal(self, phase: Phase) -> Option<&'static str> {
        let is_in_flight = matches!(phase, Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion);
        match self {
            Self::Retry => (phase != Phase::Failed).then_some("the last rollout did not fail"),
            _ if is_in_flight => None,
            Self::Rollback if matches!(phase, Phase::Promoting | Phase::Finalising) => {
                Some("the promotion has begun; bring the former revision back to the target")
            }
            _ => Some("no rollout is in flight"),
        }
    }
}

/// When, who and why: what follows the word of a request, and the whole of a pause.
///
/// Written as `at TIME [until TIME] by WHO[: WHY]`; what cannot be read is left empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// When.
    pub at: Option<Timestamp>,
    /// Until when, of a pause that ends by itself.
    pub until: Option<Timestamp>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

impl Signed {
    /// Reads what [`Signed`] writes, with or without a word before it.
    pub fn parse(text: &str) -> Self {
        let (head, tail) = text.split_once("by ").unwrap_or((text, ""));
        let (by, reason) = tail.split_once(": ").map_or((tail, None), |(by, reason)| (by, Some(reason.to_owned())));
        let time = |word: &str| {
            let mut words = head.split_whitespace();
            words.find(|found| *found == word).and(words.next())?.parse().ok()
        };
        Self { at: time("at"), until: time("until"), by: by.trim().to_owned(), reason }
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, time) in [("at", self.at), ("until", self.until)] {
            if let Some(time) = time {
                write!(f, "{word} {} ", time.round(Unit::Millisecond).unwrap_or(time))?;
            }
        }
        write!(f, "by {}", self.by)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// A request that was not obeyed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub action: Option<Action>,
    pub text: String,
}

impl Request {
    /// The request in the Canary's annotations, unless its status says that it was obeyed.
    pub fn pending(canary: &Canary) -> Option<Self> {
        let text = annotation(canary, REQUEST)?;
        let word = text.split_whitespace().next().unwrap_or_default();
        let action = Action::ALL.into_iter().find(|action| action.as_str() == word);
        let is_obeyed = conditions::message(&canary.status().conditions, conditions::REQUESTED) == Some(text);
        (!is_obeyed).then(|| Self { action, text: text.to_owned() })
    }
}

fn annotation<'a>(canary: &'a Canary, key: &str) -> Option<&'a str> {
    let text = canary.metadata.annotations.as_ref()?.get(key)?.trim();
    (!text.is_empty()).then_some(text)
}

/// Who paused the rollout and when, if it is paused now. `until TIME` ends a pause by itself.
fn pause(canary: &Canary, now: Timestamp) -> Option<&str> {
    let text = annotation(canary, PAUSED)?;
    let mut words = text.split_whitespace();
    let until = words.find(|word| *word == "until").and(words.next());
    let end = until.and_then(|time| time.trim_end_matches(':').parse::<Timestamp>().ok());
    end.is_none_or(|end| now < end).then_some(text)
}

impl Tick<'_> {
    /// Whether that is asked for.
    pub(super) fn wants(&self, action: Action) -> bool {
        self.request.as_ref().is_some_and(|request| request.action == Some(action))
    }

    /// Holds everything while the rollout is paused.
    pub(super) fn heed_pause(&mut self) -> Flow {
        let pause = pause(self.canary, self.now);
        if conditions::message(&self.status.conditions, conditions::PAUSED) != pause {
            self.event(match pause {
                Some(text) => self.names.paused(text),
                None => self.names.resumed(),
            });
            self.is_retold |=
                conditions::tell(&mut self.status.conditions, conditions::PAUSED, "Paused", pause, self.now);
        }
        match pause {
            Some(text) => self.hold(format!("slipway canary resume; paused {text}")),
            None => Ok(()),
        }
    }

    /// Obeys what is asked for, if it can be done now and does more than open a gate.
    pub(super) fn obey(&mut self, target: &Target) -> Flow {
        let is_under_way = matches!(self.status.phase, Phase::Progressing | Phase::WaitingPromotion);
        match self.request.as_ref().and_then(|request| request.action) {
            Some(Action::Rollback) if is_under_way || self.status.phase == Phase::Waiting => {
                self.accept();
                self.alert(alerts::requested_rollback());
                if self.status.phase == Phase::Waiting {
                    self.note(target);
                }
                self.rollback()
            }
            Some(Action::PromoteFull | Action::Skip) if is_under_way => {
                self.canary_ready(target)?;
                let skips = self.wants(Action::Skip);
                self.accept();
                if skips { self.skip(target) } else { self.promote() }
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody opened the gate that the rollout is at, whatever its hooks say.
    pub(super) fn is_let_through(&mut self) -> bool {
        if self.wants(Action::Promote) {
            self.accept();
            return true;
        }
        // Who wants it promoted without checks wants it begun.
        self.wants(Action::PromoteFull) || self.wants(Action::Skip)
    }

    /// Whether the revision that failed is to be tried again.
    pub(super) fn retries(&self) -> bool {
        self.status.phase == Phase::Failed && self.wants(Action::Retry)
    }

    /// Notes the request as obeyed, in the status that this tick writes.
    pub(super) fn accept(&mut self) {
        if let Some(request) = self.request.take() {
            self.event(self.names.request_accepted(&request.text));
            self.close(&request);
        }
    }

    /// Refuses what cannot be done. What only has to wait for pods stays asked for.
    pub(super) fn conclude_request(&mut self) {
        let phase = self.canary.status().phase;
        let Some(request) = &self.request else { return };
        let why = match request.action {
            None => Some("it begins with none of promote, promote-full, skip, rollback, retry"),
            Some(Action::Promote) if self.is_full && phase == Phase::Progressing => {
                Some("no gate holds the rollout back")
            }
            Some(action) => action.refusal(phase),
        };
        if let (Some(why), Some(request)) = (why, self.request.take_if(|_| why.is_some())) {
            self.event(self.names.request_refused(&request.text, why));
            self.close(&request);
        }
    }

    fn close(&mut self, request: &Request) {
        let reason = request.action.map_or("Unknown", Action::as_str);
        let text = Some(request.text.as_str());
        self.is_retold |= conditions::tell(&mut self.status.conditions, conditions::REQUESTED, reason, text, self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for_depends_on_the_phase() {
        use Phase::{
            Failed, Finalising, Initialized, Initializing, Progressing, Promoting, Succeeded, Waiting, WaitingPromotion,
        };
        for action in Action::ALL {
            for phase in [
                Initializing,
                Initialized,
                Waiting,
                Progressing,
                WaitingPromotion,
                Promoting,
                Finalising,
                Succeeded,
                Failed,
            ] {
                let expected = match (action, phase) {
                    (Action::Retry, Failed) => None,
                    (Action::Retry, _) => Some("the last rollout did not fail"),
                    (_, Waiting | Progressing | WaitingPromotion) => None,
                    (Action::Rollback, Promoting | Finalising) => {
                        Some("the promotion has begun; bring the former revision back to the target")
                    }
                    _ => Some("no rollout is in flight"),
                };
                assert_eq!(action.refusal(phase), expected, "{action:?} {phase}");
            }
        }
    }

    #[test]
    fn who_when_and_why_read_back_as_written() {
        let time = |second| Timestamp::from_second(second).ok();
        for (signed, text) in [
            (
                Signed { at: time(0), until: None, by: "ada".into(), reason: Some("by: hand".into()) },
                "at 1970-01-01T00:00:00Z by ada: by: hand",
            ),
            (
                Signed { at: time(0), until: time(60), by: "ada".into(), reason: None },
                "at 1970-01-01T00:00:00Z until 1970-01-01T00:01:00Z by ada",
            ),
        ] {
            assert_eq!(signed.to_string(), text);
            assert_eq!(Signed::parse(text), signed);
            assert_eq!(Signed::parse(&format!("promote {text}")), signed);
        }
        assert_eq!(Signed::parse("promote").by, "");
    }
}
