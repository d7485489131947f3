//! What people can ask of a rollout now, and why not the rest; said by the server so that nobody is offered what it would
//! refuse.

use api::flagger::{Canary, Phase};
use serde::Serialize;

use super::{Asked, Row, State};
use crate::{
    conditions,
    machine::{Action, PAUSED, Request, Signed},
};

/// The ways to steer a rollout, as verbs and buttons name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steer {
    /// Hold it where it is.
    Pause,
    /// Let it go on.
    Resume,
    /// Send all traffic to the primary.
    Rollback,
    /// Open the gate.
    Promote,
    /// Leave out the remaining steps and checks.
    PromoteFull,
    /// Promote without analysis.
    Skip,
    /// Try the failed revision again.
    Retry,
}

impl Steer {
    /// In the order of buttons.
    pub const ALL: [Self; 7] =
        [Self::Pause, Self::Resume, Self::Retry, Self::Rollback, Self::Promote, Self::PromoteFull, Self::Skip];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Skip => "skip",
            Self::Retry => "retry",
        }
    }

    /// The one that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// The request that it makes; pause and resume are no requests but a state.
    pub const fn request(self) -> Option<Action> {
        match self {
            Self::Pause | Self::Resume => None,
            Self::Rollback => Some(Action::Rollback),
            Self::Promote => Some(Action::Promote),
            Self::PromoteFull => Some(Action::PromoteFull),
            Self::Skip => Some(Action::Skip),
            Self::Retry => Some(Action::Retry),
        }
    }

    /// What a person has to do beside asking.
    pub const fn consent(self) -> Consent {
        match self {
            Self::Pause | Self::Resume => Consent::None,
            Self::Rollback | Self::Promote | Self::Retry => Consent::Yes,
            Self::PromoteFull | Self::Skip => Consent::Name,
        }
    }
}

/// How a person agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Consent {
    /// Nothing is asked.
    None,
    /// One more click.
    Yes,
    /// The name typed, and a reason.
    Name,
}

/// One way to steer a rollout, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionState {
    /// Which.
    pub name: Steer,
    /// Whether it would be taken.
    pub allowed: bool,
    /// Why not.
    pub why: Option<String>,
    /// What a person has to do beside asking.
    pub consent: Consent,
    /// What it does, said before it is done.
    pub confirm: String,
}

/// Why the rollout cannot be asked for that as it is; nothing if it can.
pub fn refusal(canary: &Canary, steer: Steer) -> Option<String> {
    let status = canary.status();
    let wait = conditions::message(&status.conditions, conditions::WAITING);
    let is_paused = canary.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(PAUSED));
    match (steer, steer.request()) {
        (Steer::Resume, _) if !is_paused => Some("it is not paused".into()),
        (Steer::Pause, _) if is_paused => Some("it is paused already".into()),
        (_, None) => None,
        (_, Some(action)) => match action.refusal(status.phase) {
            Some(why) => Some(why.into()),
            None if action == Action::Promote && !wait.is_some_and(|wait| wait.contains("to approve")) => {
                Some(format!("it is not waiting for approval; it is at {}%", status.canary_weight))
            }
            None => None,
        },
    }
}

/// All of them.
pub(super) fn of(canary: &Canary, row: &Row) -> Vec<ActionState> {
    let state = |steer: Steer| {
        // Nobody who looks at a page wants to pause what does not move; the verb may be used in advance.
        let idle = steer == Steer::Pause && canary.status().phase.is_settled();
        let why = if idle { Some("no rollout is in flight".to_owned()) } else { refusal(canary, steer) };
        let why = why.or_else(|| (row.state == State::Suspended).then(|| "the Canary is suspended".to_owned()));
        ActionState { name: steer, allowed: why.is_none(), why, consent: steer.consent(), confirm: confirm(steer, row) }
    };
    Steer::ALL.into_iter().map(state).collect()
}

/// What was asked for and is not obeyed yet.
pub(super) fn pending(canary: &Canary) -> Option<Asked> {
    let request = Request::pending(canary)?;
    let action = request.action.map_or("unknown", Action::as_str).to_owned();
    Some(Asked { action, signed: Signed::parse(&request.text) })
}

fn confirm(steer: Steer, row: &Row) -> String {
    let to = row.to.as_deref().unwrap_or("the new revision");
    let from = row.from.as_deref().unwrap_or("the primary");
    let (weight, name) = (row.weight.asked, &row.name);
    let left = (row.step.of - row.step.n).max(0);
    match steer {
        Steer::Pause => format!("The canary keeps {weight}% of traffic until resumed."),
        Steer::Resume => "The rollout goes on with its next check.".into(),
        Steer::Rollback if row.phase == Phase::Waiting => format!("{to} is given up before it gets any traffic."),
        Steer::Rollback => format!("{weight}% of traffic returns to {from} now. {to} is marked failed."),
        Steer::Promote => format!("{name} goes from {from} to {to} once the remaining gates and checks pass."),
        Steer::PromoteFull => {
            format!("{to} becomes the primary now. {left} of {} steps and their checks will not run.", row.step.of)
        }
        Steer::Skip => {
            format!("{to} becomes the primary without analysis. {left} of {} steps will not run.", row.step.of)
        }
        Steer::Retry => format!("{to} is tried again, from no traffic on."),
    }
}
