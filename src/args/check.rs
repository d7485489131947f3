//! `slipway check` as typed.

use std::path::PathBuf;

use super::Output;

/// `slipway check FILES…`
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Files of manifests, folders with `*.yaml` and `*.yml`, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Tags that the policies are tried on: one per line, or a JSON list.
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    pub tags: Option<String>,
    /// State file of a running slipway; each policy is tried on the tags that it keeps.
    #[arg(long, value_name = "FILE", env = "SLIPWAY_STATE")]
    pub state: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}
