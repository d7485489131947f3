//! One file per verb; this one picks it.

mod canary;
mod check;
mod child;
pub mod choose;
mod completion;
mod describe;
mod events;
mod get;
mod image;
mod install;
pub mod kinds;
mod loadtester;
mod logs;
pub mod mark;
mod markers;
mod message;
mod notify;
mod objects;
mod receive;
mod reconcile;
mod run;
mod scan;
mod selector;
mod semver;
mod set;
pub mod streams;
mod suspend;
mod system;
mod table;
mod uninstall;
mod watch;

use std::process::ExitCode;

pub use self::streams::{print, print_json, read};
use crate::args::{Arguments, Output, Verb};

/// How a verb ended. The numbers are part of the command contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the answer is yes.
    Done = 0,
    /// The honest negative answer: nothing matches, the rollout failed.
    No = 1,
    /// The input is wrong.
    Wrong = 2,
    /// A registry, a server or the running slipway cannot be reached.
    Unreachable = 3,
    /// The cluster does not allow it.
    Forbidden = 4,
    /// Refused because of the object's state.
    Refused = 5,
    /// Waited in vain.
    TimedOut = 6,
    /// Told to stop while it watched.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the verb. An error means that the input is wrong; its chain is printed by `main`.
pub fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    mark::decide(arguments.color, arguments.ascii);
    match arguments.verb {
        Verb::Run(args) => run::run(*args),
        Verb::Demo(args) => run::demo(&args),
        Verb::Semver(args) => semver::run(&args),
        Verb::Image(args) => image::run(&args),
        Verb::Scan(args) => scan::run(&args),
        Verb::Get(args) => get::run(&args),
        Verb::Events(args) => events::run(&args),
        Verb::Reconcile(args) => reconcile::run(&args),
        Verb::Describe(args) => describe::run(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::Logs(args) => logs::run(&args),
        Verb::Suspend(args) => suspend::run(&args, suspend::Wish::Suspend),
        Verb::Resume(args) => suspend::run(&args, suspend::Wish::Resume),
        Verb::Choose(args) => choose::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Set(args) => set::run(&args),
        Verb::Markers(args) => markers::run(&args),
        Verb::Message(args) => message::run(&args),
        Verb::Notify(args) => notify::run(&args),
        Verb::Receive(args) => receive::run(&args),
        Verb::Loadtester(args) => loadtester::run(args),
        Verb::Canary(verb) => canary::run(&verb),
        Verb::Install(args) => install::run(&args),
        Verb::Uninstall(args) => uninstall::run(&args),
        Verb::Completion(args) => completion::run(&args),
        Verb::PodProcess(args) => child::pod_process(&args),
        Verb::DemoApp => child::demo_app(),
    }
}

/// What an error means to who called us: the input is wrong, unless a cluster could not or would not answer.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    let Some(kube) = error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>()).or_else(|| inner(error))
    else {
        return Exit::Wrong;
    };
    match kube {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Exit::Forbidden,
        kube::Error::Api(status) if status.code < 500 && status.code != 429 => Exit::Wrong,
        _ => Exit::Unreachable,
    }
}

/// The client's error within the store's.
fn inner(error: &anyhow::Error) -> Option<&kube::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref::<::reconcile::Error>() {
        Some(::reconcile::Error::Kube(error)) => Some(&**error),
        _ => None,
    })
}

/// What an error says, from the outside in. A cause that the error around it has told is left out.
pub fn told(error: &anyhow::Error) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    // The system's own words are told in one way, whoever met them.
    let plain = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map_or_else(|| cause.to_string(), streams::said)
    };
    for cause in error.chain().map(plain) {
        if !told.iter().any(|outer| outer.ends_with(&cause)) {
            told.push(cause);
        }
    }
    told
}

/// With `-o json`, says on standard output too what is wrong; `main` says it on standard error.
pub fn wrong(output: Output, error: anyhow::Error) -> anyhow::Error {
    if output == Output::Json {
        let _ = print_json(&object(&error));
    }
    error
}

/// The same for verbs that print JSON a line at a time.
pub fn wrong_in_a_line(output: Output, error: anyhow::Error) -> anyhow::Error {
    if output == Output::Json {
        streams::print_raw(&format!("{}\n", object(&error)));
    }
    error
}

/// An error as programs find it.
fn object(error: &anyhow::Error) -> serde_json::Value {
    serde_json::json!({ "error": told(error).join(": ") })
}

/// The address of the cluster that this process asks, once it knows.
pub fn asked_cluster() -> Option<&'static str> {
    system::asked_cluster()
}

/// Who gives the command, as it is noted with what was asked for.
pub fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok().filter(|user| !user.is_empty()));
    user.unwrap_or_else(|| "somebody".into())
}

/// Runs what waits for others, on this thread.
pub fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
