//! Starts processes from one thread that lives as long as slipway: the kernel ends them when that thread ends.

use std::{process::Stdio, sync::mpsc, thread};

use tokio::{
    process::{Child, Command},
    sync::oneshot,
};

use super::leftovers::MARK;
use crate::{Error, Result, supervisor::process::Launch};

/// A process to be started, and who waits for it.
type Job = (Launch, oneshot::Sender<std::io::Result<Child>>);

/// The thread that starts processes.
#[derive(Debug)]
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread. `guard` is the command line that becomes what follows it, bound to our life.
    pub fn start(guard: Vec<String>) -> Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let runtime = tokio::runtime::Handle::current();
        let serve = move || {
            let _entered = runtime.enter();
            for (launch, reply) in received {
                // A reply that nobody waits for ends the process: it is killed on drop.
                let _ = reply.send(spawn(&guard, launch));
            }
        };
        let failed = |source| Error::Process { act: "start the thread that starts processes".into(), source };
        thread::Builder::new().name("spawner".into()).spawn(serve).map_err(failed)?;
        Ok(Self { jobs })
    }

    /// Starts a process.
    pub async fn spawn(&self, launch: Launch) -> std::io::Result<Child> {
        let (reply, started) = oneshot::channel();
        let gone = || std::io::Error::other("the thread that starts processes has ended");
        self.jobs.send((launch, reply)).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}

fn spawn(guard: &[String], launch: Launch) -> std::io::Result<Child> {
    let (program, arguments) = guard.split_first().ok_or_else(|| std::io::Error::other("there is no guard"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg("--parent")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(&launch.program)
        .args(&launch.arguments)
        .env_clear()
        .envs(&launch.environment)
        .env(MARK, &launch.mark)
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(launch.output.try_clone()?)
        .stderr(launch.output)
        .process_group(0)
        .kill_on_drop(true);
    command.spawn()
}
