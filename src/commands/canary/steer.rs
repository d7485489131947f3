//! `slipway canary promote` and its like: what people ask of a rollout, as annotations of the Canary that its controller obeys.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use api::flagger::{Canary, Phase};
use canary::{
    conditions,
    machine::{PAUSED, REQUEST, Signed},
    report::{self, refusal},
};
use jiff::Timestamp;
use reconcile::{Store, clock};
use serde_json::{Value, json};

use crate::{
    args::canary::{Pause, Promote, Steer},
    commands::{
        Exit, get, kinds, mark, print,
        system::{self, System},
        wait_for,
    },
};

/// How often the Canary is looked at. The state file is local; nothing tells another process of changes.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// How a person agrees.
pub(super) enum Consent {
    /// Nothing is asked.
    None,
    /// y or n.
    Yes(String),
    /// The Canary's name.
    Name(String),
}

/// `slipway canary promote`
pub fn promote(args: &Promote) -> anyhow::Result<Exit> {
    let name = &args.steer.name;
    if args.full {
        let question = format!("Leave out the remaining steps and checks of {name}?");
        return request(&args.steer, report::Steer::PromoteFull, |_| Consent::Name(question.clone()));
    }
    request(&args.steer, report::Steer::Promote, |_| Consent::None)
}

/// `slipway canary rollback`
pub fn rollback(args: &Steer) -> anyhow::Result<Exit> {
    request(args, report::Steer::Rollback, |canary| {
        Consent::Yes(format!("Take {}% of traffic back from {}?", canary.status().canary_weight, canary.name()))
    })
}

/// `slipway canary retry`
pub fn retry(args: &Steer) -> anyhow::Result<Exit> {
    request(args, report::Steer::Retry, |canary| {
        Consent::Yes(format!("Try the failed revision of {} again?", canary.name()))
    })
}

/// `slipway canary skip`
pub fn skip(args: &Steer) -> anyhow::Result<Exit> {
    if args.reason.as_deref().is_none_or(str::is_empty) {
        eprintln!("error: skipping the analysis needs a reason");
        eprintln!("hint: add --reason \"why\"");
        return Ok(Exit::Wrong);
    }
    request(args, report::Steer::Skip, |canary| Consent::Name(format!("Promote {} without analysis?", canary.name())))
}

/// `slipway canary pause`
pub fn pause(args: &Pause) -> anyhow::Result<Exit> {
    let steer = &args.steer;
    wait_for(async {
        let System { store, namespace, .. } = &system::open(&steer.place).await?;
        let Some(canary) = find(store, namespace, steer).await? else { return Ok(Exit::No) };
        let until = args.length.map(|length| clock::now() + length.get());
        annotate(store, namespace, steer, PAUSED, json!(signature(steer, until).to_string())).await?;
        let status = canary.status();
        if status.phase.is_settled() {
            print(&format!("{} is paused; no rollout begins until it is resumed\n", steer.name));
            return Ok(Exit::Done);
        }
        let weight = status.canary_weight;
        print(&format!("{} is paused; the canary keeps {weight}% of traffic until resumed\n", steer.name));
        eprintln!("hint: to send it all back: slipway canary rollback {} -n {namespace}", steer.name);
        Ok(Exit::Done)
    })
}

/// `slipway canary resume`
pub fn resume(steer: &Steer) -> anyhow::Result<Exit> {
    wait_for(async {
        let System { store, namespace, .. } = &system::open(&steer.place).await?;
        let Some(canary) = find(store, namespace, steer).await? else { return Ok(Exit::No) };
        if !canary.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(PAUSED)) {
            eprintln!("error: {} is not paused", steer.name);
            return Ok(Exit::Refused);
        }
        annotate(store, namespace, steer, PAUSED, Value::Null).await?;
        print(&format!("{} goes on\n", steer.name));
        Ok(Exit::Done)
    })
}

fn request(steer: &Steer, action: report::Steer, consent: impl Fn(&Canary) -> Consent) -> anyhow::Result<Exit> {
    wait_for(async {
        let System { store, namespace, .. } = &system::open(&steer.place).await?;
        let Some(canary) = find(store, namespace, steer).await? else { return Ok(Exit::No) };
        if let Some(why) = refusal(&canary, action) {
            eprintln!("error: {} {}: {why}", steer.name, cannot(action));
            if action == report::Steer::Rollback {
                eprintln!(
                    "hint: after a promotion, to an earlier image: slipway canary rollback {} -n {namespace} --to VERSION",
                    steer.name
                );
            }
            if action == report::Steer::Promote && canary.status().phase == Phase::Progressing {
                eprintln!(
                    "hint: to go straight to the end: slipway canary promote {} -n {namespace} --full",
                    steer.name
                );
            }
            return Ok(Exit::Refused);
        }
        if !steer.yes && !agrees(consent(&canary), steer, action)? {
            return Ok(Exit::Wrong);
        }
        let text = format!("{} {}", action.as_str(), signature(steer, None));
        annotate(store, namespace, steer, REQUEST, json!(text)).await?;
        eprintln!("{} asked {} to {text}", mark::step(), steer.name);
        if steer.wait { follow((store, namespace), steer, action, &text).await } else { Ok(Exit::Done) }
    })
}

/// What is refused, as the beginning of a sentence.
const fn cannot(action: report::Steer) -> &'static str {
    match action {
        report::Steer::Promote | report::Steer::PromoteFull => "cannot be promoted",
        report::Steer::Rollback => "cannot be rolled back",
        report::Steer::Retry => "cannot be tried again",
        report::Steer::Skip => "cannot skip its analysis",
        report::Steer::Pause => "cannot be paused",
        report::Steer::Resume => "cannot be resumed",
    }
}

/// The Canary; says what is alike if there is none.
pub(super) async fn find(store: &Store, namespace: &str, steer: &Steer) -> anyhow::Result<Option<Canary>> {
    let found = store.get::<Canary>(namespace, &steer.name).await?;
    if found.is_none()
        && let Some(kind) = kinds::find("canary")
    {
        get::missing(store, kind, namespace, &steer.name).await?;
    }
    Ok(found)
}

async fn annotate(store: &Store, namespace: &str, steer: &Steer, key: &str, value: Value) -> anyhow::Result<()> {
    let id = reconcile::object::named::<Canary>(namespace, &steer.name);
    store.patch(&id, "slipway", &json!({"metadata": {"annotations": {key: value}}})).await?;
    Ok(())
}

/// When, who, and why.
fn signature(steer: &Steer, until: Option<Timestamp>) -> Signed {
    Signed {
        at: Some(clock::now()),
        until,
        by: crate::commands::who(),
        reason: steer.reason.clone().filter(|reason| !reason.is_empty()),
    }
}

/// Asks, unless nothing is to be asked; without a terminal nobody agrees.
pub(super) fn agrees(consent: Consent, steer: &Steer, action: report::Steer) -> anyhow::Result<bool> {
    let (question, hint) = match &consent {
        Consent::None => return Ok(true),
        Consent::Yes(question) => (question, "[y/N]".to_owned()),
        Consent::Name(question) => (question, format!("Type {} to go on:", steer.name)),
    };
    if !std::io::stdin().is_terminal() {
        eprintln!("error: {} needs a yes and there is no terminal", action.as_str());
        eprintln!("hint: add --yes");
        return Ok(false);
    }
    write!(std::io::stderr(), "{question} {hint} ")?;
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim();
    let agrees = match consent {
        Consent::Name(_) => answer == steer.name,
        _ => matches!(answer, "y" | "Y" | "yes"),
    };
    if !agrees {
        eprintln!("nothing was asked for");
    }
    Ok(agrees)
}

/// Waits until the rollout that the request was for has ended.
async fn follow(
    (store, namespace): (&Store, &str),
    steer: &Steer,
    action: report::Steer,
    text: &str,
) -> anyhow::Result<Exit> {
    let begun = clock::instant();
    let mut told = None;
    while begun.elapsed() < steer.timeout.get() {
        let Some(canary) = find(store, namespace, steer).await? else { return Ok(Exit::No) };
        let status = canary.status();
        let is_heard = conditions::message(&status.conditions, conditions::REQUESTED) == Some(text);
        if told != Some(status.phase) {
            eprintln!("{} {} {}%", mark::busy(), status.phase, status.canary_weight);
            told = Some(status.phase);
        }
        if is_heard && status.phase.is_settled() {
            let is_bad = status.phase == Phase::Failed && action != report::Steer::Rollback;
            let mark = if is_bad { mark::bad() } else { mark::good() };
            print(&format!("{mark} {} after {:.1}s\n", status.phase, begun.elapsed().as_secs_f64()));
            return Ok(if is_bad { Exit::No } else { Exit::Done });
        }
        clock::sleep(LOOK).await;
    }
    eprintln!("error: {} has not ended within {}", steer.name, steer.timeout);
    Ok(Exit::TimedOut)
}
