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

/// `slipway markers PATH`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Markers {
    /// Folder or file whose markers are listed.
    pub path: Option<PathBuf>,
    /// ImagePolicies with their `status.latestRef`: says which markers are covered; `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// What to do besides listing.
    #[command(subcommand)]
    pub act: Option<MarkersAct>,
}

/// What is done with markers besides listing them.
#[derive(Debug, clap::Subcommand)]
pub enum MarkersAct {
    /// Put a marker beside every value that names an image; no other byte changes.
    Add(MarkersAdd),
}

/// `slipway markers add PATH --image IMAGE --policy NAMESPACE:NAME`
#[derive(Debug, clap::Args)]
pub struct MarkersAdd {
    /// Folder or file with the values.
    pub path: PathBuf,
    /// Image without tag, as the values write it.
    #[arg(long)]
    pub image: String,
    /// Policy that the markers name: `namespace:name`, with `:tag`, `:name` or `:digest` for a part.
    #[arg(long, value_name = "NAMESPACE:NAME")]
    pub policy: String,
    /// Change no file.
    #[arg(long)]
    pub dry_run: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}
