//! `slipway canary render`: the routing objects for given weights.

use canary::router::{self, Weights};
use serde_json::Value;

use crate::{
    args::{Output, canary::Render},
    commands::{Exit, print, print_json},
};

/// Members of `metadata` and of the object which only an API server writes.
const SERVERS: [&str; 5] = ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"];

/// Runs the verb.
pub fn run(args: &Render) -> anyhow::Result<Exit> {
    let objects = rendered(args).map_err(|error| super::wrong(args.output, error))?;
    match args.output {
        Output::Json => print_json(&objects)?,
        Output::Table => {
            for (index, object) in objects.iter().enumerate() {
                print(if index == 0 { "" } else { "---\n" });
                print(&serde_saphyr::to_string(object)?);
            }
        }
    }
    Ok(Exit::Done)
}

/// The objects as they are once the change is applied to the existing ones.
fn rendered(args: &Render) -> anyhow::Result<Vec<Value>> {
    let manifests = super::manifests(&args.files)?;
    let current: Vec<Value> = super::objects(&args.existing)?.into_iter().chain(manifests.beside()).collect();
    let (primary, canary) = args.weights;
    let options = super::options(&args.router);
    let weights = Weights { primary, canary, mirrored: args.mirror };
    let random = reconcile::clock::random();
    let change = router::routes(&manifests.canary, &options, weights, &current, random)
        .map_err(|error| manifests.refused("spec", error))?;
    Ok(change.apply.iter().map(|ours| without_servers(router::applied(&current, ours))).collect())
}

fn without_servers(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|member, _| !SERVERS.contains(&member.as_str()));
    }
    object
}
