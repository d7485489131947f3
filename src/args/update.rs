//! `slipway set` and `slipway message` as typed.

use std::path::PathBuf;

use super::Output;

/// `slipway set PATH -f POLICIES.yaml`
#[derive(Debug, clap::Args)]
pub struct Set {
    /// Folder or file whose markers are followed.
    pub path: PathBuf,
    /// ImagePolicies with their `status.latestRef`; `-` reads standard input.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub file: Vec<String>,
    /// ImageUpdateAutomation whose namespace, `policySelector`, `update.path` and message template are followed.
    #[arg(long, value_name = "FILE")]
    pub automation: Option<String>,
    /// Change no file.
    #[arg(long)]
    pub dry_run: bool,
    /// Show what changes, line by line.
    #[arg(long)]
    pub diff: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway message -f AUTOMATION.yaml --changes FILE`
#[derive(Debug, clap::Args)]
pub struct Message {
    /// ImageUpdateAutomation whose message template is rendered; `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: String,
    /// The list that `slipway set -o json` prints under `changes`.
    #[arg(long, value_name = "FILE")]
    pub changes: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}
