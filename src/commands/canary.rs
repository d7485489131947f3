//! `slipway canary …`: what a Canary would do. One file per verb; this one picks it and reads the manifests.

mod back;
pub mod queries;
mod render;
mod simulate;
mod steer;
mod weights;

use ::canary::{metrics::Unaskable, router::Options};
use serde_json::{Value, json};

use super::{
    Exit,
    objects::{self, Placed},
};
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
    /// Where it stands.
    pub place: Placed,
    /// Everything else, in order.
    pub others: Vec<Placed>,
}

impl Manifests {
    /// The objects beside the Canary.
    pub fn beside(&self) -> Vec<Value> {
        self.others.iter().map(|other| other.object.clone()).collect()
    }

    /// An error about what the Canary asks for, with the place of the field that asks for it.
    pub fn refused(&self, field: &str, problem: impl ToString) -> anyhow::Error {
        self.refused_with(field, problem, None)
    }

    /// The same, with what to do about it.
    pub fn refused_with(&self, field: &str, problem: impl ToString, hint: Option<&'static str>) -> anyhow::Error {
        let place = format!("{}: Canary {}", self.place.place(field), self.canary.name());
        Refused { place, problem: problem.to_string(), hint }.into()
    }

    /// An error about a metric of the Canary.
    pub fn unaskable(&self, metric: Unaskable) -> anyhow::Error {
        self.refused(&format!("spec.analysis.metrics[{}]", metric.index), metric.problem)
    }

    /// The MetricTemplates beside the Canary.
    pub fn templates(&self) -> anyhow::Result<Vec<api::flagger::MetricTemplate>> {
        self.others.iter().filter(|other| other.is("MetricTemplate")).map(Placed::typed).collect()
    }
}

/// Why a Canary cannot have what it asks for.
#[derive(Debug)]
struct Refused {
    place: String,
    problem: String,
    hint: Option<&'static str>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Refused {}

/// Reads manifests which hold exactly one Canary. An error names file, line and field.
pub fn manifests(files: &[String]) -> anyhow::Result<Manifests> {
    let mut others = objects::read(files)?;
    let place = objects::only(&others, "Canary", files)?.clone();
    others.retain(|object| !object.is("Canary"));
    Ok(Manifests { canary: place.typed()?, place, others })
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
    Ok(objects::read(files)?.into_iter().map(|placed| placed.object).collect())
}

/// With `-o json`, says on standard output too what is wrong. Programs find the plain text there; the place is for people.
pub fn wrong(output: Output, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Refused>() {
        Some(refused) if output == Output::Json => {
            let _ = super::print_json(&json!({ "error": refused.problem }));
            error
        }
        _ => super::wrong(output, error),
    }
}
