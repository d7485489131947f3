//! `slipway canary weights`: the weights that routing objects give.

use crate::{args::canary::Weights, commands::Exit};

/// Runs the verb.
pub fn run(_args: &Weights) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
