//! `slipway semver`: which versions a range accepts.

use super::Exit;
use crate::args::Semver;

/// Runs the verb.
pub fn run(_args: &Semver) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
