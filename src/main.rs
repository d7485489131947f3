//! `slipway`: parse what was typed, run the verb, turn its outcome into an exit code. No domain logic.

/// Writes a line to standard error, as the standard library's macro does, which panics if nobody reads there.
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::commands::streams::tell(&format!($($argument)*)) };
}

mod args;
mod commands;
mod config;
mod dashboard;
mod demo;
#[path = "demo/app.rs"]
mod demo_app;
mod deploy;
mod gateway;
mod loadtester;
mod rollouts;
mod run;
mod serve;

use std::process::ExitCode;

use clap::error::ContextKind;
use tikv_jemallocator::Jemalloc;

/// Objects are many small maps that live a moment: the C library's allocator took more than a quarter of all time for
/// them, and more memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let arguments = args::parse().unwrap_or_else(|mut error| {
        let meant = args::meant(&error);
        if meant.is_some() {
            // One tip, the right one.
            error.remove(ContextKind::SuggestedSubcommand);
            error.remove(ContextKind::Suggested);
        }
        let _ = error.print();
        if let Some(meant) = meant {
            eprintln!("tip: {meant}");
        }
        std::process::exit(error.exit_code())
    });
    let exit = commands::run(arguments).unwrap_or_else(|error| {
        eprintln!("{} {}", commands::mark::error(), commands::told(&error).join("\n  because: "));
        let exit = commands::exit_of(&error);
        if let (commands::Exit::Unreachable, Some(server)) = (exit, commands::asked_cluster()) {
            eprintln!("hint: the cluster at {server} is asked; --kubeconfig FILE or --context NAME names another");
        }
        exit
    });
    match commands::streams::lost() {
        Some(problem) => {
            eprintln!("{} cannot write to standard output: {problem}", commands::mark::error());
            commands::Exit::Wrong.into()
        }
        None => exit.into(),
    }
}
