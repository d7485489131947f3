//! `slipway canary promote` and its like: what people ask of a rollout, as annotations of the Canary that its controller obeys.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use api::flagger::{Canary, Phase};
use canary::{
    conditions,
    machine::{Action, PAUSED, REQUEST},
};
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
const LOOK: Duration = Duration::from_millis(50);

/// How a person agrees.
enum Consent {
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
        return request(&args.steer, Action::PromoteFull, |_| Consent::Name(question.clone()));
    }
    request(&args.steer, Action::Promote, |_| Consent::None)
}

/// `slipway canary rollback`
pub fn rollback(args: &Steer) -> anyhow::Result<Exit> {
    request(args, Action::Rollback, |canary| {
        Consent::Yes(format!("Take {}% of traffic back from {}?", canary.status().canary_weight, canary.name()))
    })
}

/// `slipway canary retry`
pub fn retry(args: &Steer) -> anyhow::Result<Exit> {
    request(args, Action::Retry, |canary| Consent::Yes(format!("Try the failed revision of {} again?", canary.name())))
}

/// `slipway canary skip`
pub fn skip(args: &Steer) -> anyhow::Result<Exit> {
    if args.reason.as_deref().is_none_or(str::is_empty) {
        eprintln!("error: skipping the analysis needs a reason");
        eprintln!("hint: add --reason \"why\"");
        return Ok(Exit::Wrong);
    }
    request(args, Action::Skip, |canary| Consent::Name(format!("Promote {} without analysis?", canary.name())))
}

/// `slipway canary pause`
pub fn pause(args: &Pause) -> anyhow::Result<Exit> {
    let steer = &args.steer;
    wait_for(async {
        let System { store, namespace, .. } = &system::open(&steer.place).await?;
        let Some(canary) = find(store, namespace, steer).await? else { return Ok(Exit::No) };
        let until = args.length.map(|length| format!(" until {}", clock::now() + length.get())).unwrap_or_default();
        annotate(store, namespace, steer, PAUSED, json!(format!("at {}{until}", signature(steer)))).await?;
        let weight = canary.status().canary_weight;
        print(&format!("{} is paused; the canary keeps {weight}% of traffic until resumed\n", steer.name));
        eprintln!("hint: to send it all back: slipway canary rollback {}", steer.name);
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

fn request(steer: &Steer, action: Action, consent: impl Fn(&Canary) -> Consent) -> anyhow::Result<Exit> {
    wait_for(async {
        let System { store, namespace, .. } = &system::open(&steer.place).await?;
        let Some(canary) = find(store, namespace, steer).await? else { return Ok(Exit::No) };
        if let Some(why) = refusal(&canary, action) {
            eprintln!("error: {} cannot be asked to {}: {why}", steer.name, action.as_str());
            if action == Action::Promote && canary.status().phase == Phase::Progressing {
                eprintln!("hint: to go straight to the end: slipway canary promote {} --full", steer.name);
            }
            return Ok(Exit::Refused);
        }
        if !steer.yes && !agrees(consent(&canary), steer, action)? {
            return Ok(Exit::Wrong);
        }
        let text = format!("{} at {}", action.as_str(), signature(steer));
        annotate(store, namespace, steer, REQUEST, json!(text)).await?;
        eprintln!("{} asked {} to {text}", mark::step(), steer.name);
        if steer.wait { follow((store, namespace), steer, action, &text).await } else { Ok(Exit::Done) }
    })
}

/// Why the rollout cannot be asked for that as it is.
fn refusal(canary: &Canary, action: Action) -> Option<String> {
    let status = canary.status();
    let wait = conditions::message(&status.conditions, conditions::WAITING);
    match action.refusal(status.phase) {
        Some(why) => Some(why.into()),
        None if action == Action::Promote && !wait.is_some_and(|wait| wait.contains("to approve")) => {
            Some(format!("it is not waiting for approval; it is at {}%", status.canary_weight))
        }
        None => None,
    }
}

async fn find(store: &Store, namespace: &str, steer: &Steer) -> anyhow::Result<Option<Canary>> {
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
fn signature(steer: &Steer) -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok()).filter(|user| !user.is_empty());
    let reason = steer.reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} by {}{reason}", clock::now(), user.as_deref().unwrap_or("somebody"))
}

fn agrees(consent: Consent, steer: &Steer, action: Action) -> anyhow::Result<bool> {
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
    eprint!("{question} {hint} ");
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
async fn follow((store, namespace): (&Store, &str), steer: &Steer, action: Action, text: &str) -> anyhow::Result<Exit> {
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
            let is_bad = status.phase == Phase::Failed && action != Action::Rollback;
            let mark = if is_bad { mark::bad() } else { mark::good() };
            print(&format!("{mark} {} after {:.1}s\n", status.phase, begun.elapsed().as_secs_f64()));
            return Ok(if is_bad { Exit::No } else { Exit::Done });
        }
        clock::sleep(LOOK).await;
    }
    eprintln!("error: {} has not ended within {}", steer.name, steer.timeout);
    Ok(Exit::TimedOut)
}
