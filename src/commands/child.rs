//! Verbs that slipway runs itself with: the guard around each pod's process, and the demo's application.

use anyhow::{Context as _, bail};

use super::Exit;
use crate::{args::child::PodProcess, demo_app};

/// Becomes the command, bound to the life of whoever started us. Returns only when that fails.
pub fn pod_process(args: &PodProcess) -> anyhow::Result<Exit> {
    let error = local::guard::become_command(&args.command, args.parent);
    bail!("cannot start {}: {error}", args.command.join(" "))
}

/// Serves the demo's application until told to stop.
pub fn demo_app() -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(demo_app::run())?;
    Ok(Exit::Done)
}
