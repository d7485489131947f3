//! Verbs that slipway runs itself with, as typed.

/// `slipway pod-process -- COMMAND…`
#[derive(Debug, clap::Args)]
pub struct PodProcess {
    /// Process that must be our parent; if it is not any more, nothing is started.
    #[arg(long)]
    pub parent: Option<u32>,
    /// What to become.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}
