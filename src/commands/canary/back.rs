//! `slipway canary rollback --to`: after a promotion, a rollout of an image that the primary ran before.
//!
//! The target gets that image, so the machine tries it like any new revision. First the ImagePolicies that chose what came
//! after it hold those tags back, or the next commit would bring them again.

use anyhow::Context as _;
use api::{flagger::Canary, image::ImagePolicy, meta::ObjectReference};
use canary::{
    report, router,
    trail::{self, Earlier, Run},
};
use policy::rules::HOLD;
use reconcile::{Store, clock, object::named};
use serde_json::{Value, json};

use super::steer::{self, Consent, LOOK};
use crate::{
    args::canary::Steer,
    commands::{
        Exit, mark, print,
        system::{self, System},
        wait_for,
    },
    rollouts::Rollouts,
};

/// Runs the verb.
pub fn run(steer: &Steer, to: &str) -> anyhow::Result<Exit> {
    wait_for(async {
        let System { store, namespace, .. } = &system::open(&steer.place).await?;
        let Some(canary) = steer::find(store, namespace, steer).await? else { return Ok(Exit::No) };
        let name = &steer.name;
        if !canary.status().phase.is_settled() {
            eprintln!("error: {name} cannot go back to {to} while a rollout is in flight");
            eprintln!("hint: to end that one: slipway canary rollback {name} -n {namespace}");
            return Ok(Exit::Refused);
        }
        let (id, target) = target(store, &canary).await?;
        let Some(current) = image(&target) else {
            eprintln!("error: {} {} has no image to bring back", id.kind, id.name);
            return Ok(Exit::Refused);
        };
        let runs = Rollouts::new(store.clone(), router::Options::default()).runs(&canary).await?;
        let Some(earlier) = chosen(&runs, current, to) else {
            eprintln!("error: no rollout of {name} that is kept left {to} behind; it runs {current}");
            eprintln!("hint: kept: {}", trail::kept(&runs, current).join(", "));
            return Ok(Exit::No);
        };
        let primary = store.find(&ObjectReference { name: canary.primary_name(), ..id.clone() }).await?;
        if primary.as_ref().and_then(image) == Some(&earlier.image) {
            eprintln!("error: the primary of {name} runs {} already", earlier.image);
            return Ok(Exit::Refused);
        }
        let policies = policies(store, &earlier).await?;
        let held: Vec<String> = policies.iter().map(|(policy, tags)| format!("{policy} holds back {tags}")).collect();
        let notes = held.iter().map(|note| format!("; {note}")).collect::<String>();
        let question = format!("Roll {name} out again from {current} to {}{notes}?", earlier.image);
        if !steer.yes && !steer::agrees(Consent::Name(question), steer, report::Steer::Rollback)? {
            return Ok(Exit::Wrong);
        }
        for (policy, tags) in &policies {
            let id = named::<ImagePolicy>(&policy.namespace, &policy.name);
            store.patch(&id, "slipway", &json!({"metadata": {"annotations": {HOLD: tags}}})).await?;
        }
        store.patch(&id, "slipway", &with_image(&target, &earlier.image)).await?;
        told(name, current, &earlier, &held);
        let before = canary.status().last_applied_spec.clone();
        if steer.wait { follow((store, namespace), steer, &before).await } else { Ok(Exit::Done) }
    })
}

async fn target(store: &Store, canary: &Canary) -> anyhow::Result<(ObjectReference, Value)> {
    let reference = &canary.spec.target_ref;
    let id = ObjectReference {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        namespace: canary.namespace().into(),
        name: reference.name.clone(),
    };
    let target = store.find(&id).await?.with_context(|| format!("{id} is not there"))?;
    Ok((id, target))
}

fn image(target: &Value) -> Option<&str> {
    target.pointer("/spec/template/spec/containers/0/image")?.as_str()
}

/// The merge patch that gives the first container an image. Lists are replaced whole.
fn with_image(target: &Value, image: &str) -> Value {
    let mut containers = target.pointer("/spec/template/spec/containers").cloned().unwrap_or_default();
    containers[0]["image"] = json!(image);
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

/// The earlier image. Where no run can be seen, as without the right to read ConfigMaps, a tag of the image that runs now is
/// believed.
fn chosen(runs: &[Run], current: &str, to: &str) -> Option<Earlier> {
    if !runs.is_empty() {
        return trail::earlier(runs, current, to);
    }
    let (name, tag) = trail::parts(current);
    let (other, other_tag) = trail::parts(to);
    let wanted = if other_tag.is_some() && other == name { other_tag? } else { to };
    let is_tag = tag != Some(wanted) && !wanted.is_empty() && !wanted.contains(['/', ':', '@']);
    is_tag.then(|| Earlier { image: format!("{name}:{wanted}"), since: vec![current.into()] })
}

/// The policies that chose one of the images that came after, each with all the tags that it is to hold back.
async fn policies(store: &Store, earlier: &Earlier) -> anyhow::Result<Vec<(Named, String)>> {
    let mut found = Vec::new();
    for policy in store.list::<ImagePolicy>(None).await? {
        let Some(latest) = policy.status.as_ref().and_then(|status| status.latest_ref.as_ref()) else { continue };
        let since = earlier.since.iter().map(|image| trail::parts(image));
        let tags: Vec<&str> = since.filter(|(name, _)| *name == latest.name).filter_map(|(_, tag)| tag).collect();
        if !tags.contains(&latest.tag.as_str()) {
            continue;
        }
        let held = policy.metadata.annotations.as_ref().and_then(|all| all.get(HOLD)).map_or("", String::as_str);
        let mut all: Vec<&str> = held.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
        all.extend(tags.iter().filter(|tag| !held.split(',').any(|known| known.trim() == **tag)));
        let named = Named {
            namespace: policy.metadata.namespace.clone().unwrap_or_default(),
            name: policy.metadata.name.clone().unwrap_or_default(),
        };
        found.push((named, all.join(",")));
    }
    Ok(found)
}

/// An ImagePolicy.
struct Named {
    namespace: String,
    name: String,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImagePolicy {}/{}", self.namespace, self.name)
    }
}

fn told(name: &str, current: &str, earlier: &Earlier, held: &[String]) {
    eprintln!("{} a rollout of {name} begins, from {current} back to {}", mark::step(), earlier.image);
    match held {
        [] => {
            eprintln!("hint: no ImagePolicy chose {current}; whatever applies the target's manifest may bring it back")
        }
        _ => held.iter().for_each(|note| eprintln!("{note}, until the annotation {HOLD} says otherwise")),
    }
}

/// Waits until the rollout that the new image started has ended.
async fn follow((store, namespace): (&Store, &str), steer: &Steer, before: &str) -> anyhow::Result<Exit> {
    let begun = clock::instant();
    while begun.elapsed() < steer.timeout.get() {
        let Some(canary) = steer::find(store, namespace, steer).await? else { return Ok(Exit::No) };
        let status = canary.status();
        if status.last_applied_spec != before && status.phase.is_settled() {
            let has_failed = status.phase == api::flagger::Phase::Failed;
            let mark = if has_failed { mark::bad() } else { mark::good() };
            print(&format!("{mark} {} after {:.1}s\n", status.phase, begun.elapsed().as_secs_f64()));
            return Ok(if has_failed { Exit::No } else { Exit::Done });
        }
        clock::sleep(LOOK).await;
    }
    eprintln!("error: {} has not ended within {}", steer.name, steer.timeout);
    Ok(Exit::TimedOut)
}
