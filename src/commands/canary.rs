//! `slipway canary …`: what a Canary would do. One file per verb; this one picks it and reads the manifests.

mod back;
pub mod queries;
mod render;
mod simulate;
mod steer;
mod weights;

use ::canary::router::Options;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::Exit;
use crate::args::{
    Output,
    canary::{Canary, Router},
};

/// Runs the verb.
pub fn run(verb: &Canary) -> anyhow::Result<Exit> {
    match verb {
        Canary::Render(args) => render::run(args),
        Canary::Weights(args) => weights::run(args),
        Canary::Queries(args) => queries::run(args),
        Canary::Simulate(args) => simulate::run(args),
        Canary::Promote(args) => steer::promote(args),
        Canary::Rollback(args) => match &args.to {
            Some(to) => back::run(&args.steer, to),
            None => steer::rollback(&args.steer),
        },
        Canary::Pause(args) => steer::pause(args),
        Canary::Resume(args) => steer::resume(args),
        Canary::Retry(args) => steer::retry(args),
        Canary::Skip(args) => steer::skip(args),
    }
}

/// A Canary and the other objects of the manifests it came with.
pub struct Manifests {
    /// The only Canary.
    pub canary: api::flagger::Canary,
    /// Everything else, in order.
    pub others: Vec<Value>,
}

/// Reads manifests which hold exactly one Canary. An error names file, line and field.
pub fn manifests(files: &[String]) -> anyhow::Result<Manifests> {
    let (mut canary, mut others) = (None, Vec::new());
    for file in files {
        for document in api::manifest::documents(&super::read(file)?) {
            let document = document.with_context(|| format!("{file} cannot be read"))?;
            if document.object["kind"] != "Canary" {
                others.push(document.object);
                continue;
            }
            let typed = api::manifest::typed(&document.object)
                .map_err(|problem| anyhow::anyhow!("{file}: line {}: Canary: {problem}", document.line))?;
            if canary.replace(typed).is_some() {
                bail!("{file}: line {}: more than one Canary is given; give one", document.line);
            }
        }
    }
    let canary = canary.with_context(|| format!("no Canary in {}", files.join(", ")))?;
    Ok(Manifests { canary, others })
}

/// What the options about routing mean.
pub fn options(args: &Router) -> Options {
    Options {
        mesh_provider: args.mesh_provider.clone(),
        ingress_class: args.ingress_class.clone(),
        ingress_annotations_prefix: args.ingress_annotations_prefix.clone(),
        ..Options::default()
    }
}

/// The objects of manifests, whatever their kinds.
pub fn objects(files: &[String]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for file in files {
        for document in api::manifest::documents(&super::read(file)?) {
            objects.push(document.with_context(|| format!("{file} cannot be read"))?.object);
        }
    }
    Ok(objects)
}

/// With `-o json`, says on standard output too what is wrong; `main` says it on standard error.
pub fn wrong(output: Output, error: anyhow::Error) -> anyhow::Error {
    if output == Output::Json {
        let _ = super::print_json(&json!({ "error": format!("{error:#}") }));
    }
    error
}
