//! `slipway`: parse what was typed, run the verb, turn its outcome into an exit code. No domain logic.

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

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{} {}", commands::mark::error(), commands::told(&error).join("\n  because: "));
            commands::exit_of(&error).into()
        }
    }
}
