//! `slipway canary queries`: the metric queries, fully rendered.

use crate::{args::canary::Queries, commands::Exit};

/// Runs the verb.
pub fn run(_args: &Queries) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
