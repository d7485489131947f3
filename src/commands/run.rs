//! `slipway run` and `slipway demo`.

use anyhow::{Context as _, ensure};

use super::Exit;
use crate::{
    args::run::{Demo, Run},
    config::Config,
    demo, run,
};

/// Runs the controllers until told to stop.
pub fn run(args: Run) -> anyhow::Result<Exit> {
    let config = Config::new(args)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(run::run(config));
    // Whatever a thread is still busy with ends with the process: it had its time, or the lead is another's.
    runtime.shutdown_background();
    match ended {
        Err(error) if error.is::<reconcile::leader::Lost>() => {
            eprintln!("error: {error}; another one may lead now, so this process ends");
            Ok(Exit::No)
        }
        ended => ended.map(|()| Exit::Done),
    }
}

/// Runs the demo. It either all happens, or the first thing that did not is the error.
pub fn demo(args: &Demo) -> anyhow::Result<Exit> {
    demo::parts::require_tools()?;
    let binary = std::env::current_exe().context("cannot tell where the slipway binary is")?;
    let temporary = match &args.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let mut entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
            ensure!(
                entries.next().is_none(),
                "--folder {}: is not empty; name a folder that is, or none",
                folder.display()
            );
            None
        }
        None => Some(tempfile::Builder::new().prefix("slipway-demo-").tempdir()?),
    };
    let folder = args.folder.clone().or_else(|| temporary.as_ref().map(|folder| folder.path().to_owned()));
    let folder = folder.context("no folder to work in")?;
    let outcome = runtime()?.block_on(demo::run(&folder, &binary, args.router.as_str(), args.keep));
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            // What went wrong can be looked into.
            let kept = temporary.map(tempfile::TempDir::keep).unwrap_or(folder);
            eprintln!("error: {error:#}\nhint: logs and state are kept in {}", kept.display());
            Ok(Exit::No)
        }
    }
}

/// Two threads do: the work is waiting.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}
