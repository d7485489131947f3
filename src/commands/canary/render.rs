//! `slipway canary render`: the routing objects for given weights.

use crate::{args::canary::Render, commands::Exit};

/// Runs the verb.
pub fn run(_args: &Render) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
