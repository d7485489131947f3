//! `slipway completion`: what a shell needs to complete verbs and flags.

use clap::CommandFactory as _;

use super::{Exit, print};
use crate::args::{Arguments, Completion};

/// Runs the verb.
pub fn run(args: &Completion) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "slipway", &mut text);
    print(&String::from_utf8_lossy(&text));
    Ok(Exit::Done)
}
