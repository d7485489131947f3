//! `slipway canary …`: what a Canary would do. One file per verb; this one picks it.

mod queries;
mod render;
mod weights;

use super::Exit;
use crate::args::canary::Canary;

/// Runs the verb.
pub fn run(verb: &Canary) -> anyhow::Result<Exit> {
    match verb {
        Canary::Render(args) => render::run(args),
        Canary::Weights(args) => weights::run(args),
        Canary::Queries(args) => queries::run(args),
    }
}
