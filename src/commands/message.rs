//! `slipway message`: the commit message that an automation would write.

use anyhow::Context as _;
use api::image::ImageUpdateAutomation;
use reconcile::clock;
use serde::Serialize;
use updater::{message, setters::Change};

use super::{Exit, objects};
use crate::args::{Output, update::Message};

/// The answer. Field names are part of the command contract.
#[derive(Debug, Serialize)]
struct Answer {
    message: String,
    error: Option<String>,
}

/// Runs the verb. Input that cannot be read is an error, and with JSON the answer's too.
pub fn run(args: &Message) -> anyhow::Result<Exit> {
    let outcome = render(args);
    if let (Err(error), Output::Json) = (&outcome, args.output) {
        super::print_json(&Answer { message: String::new(), error: Some(super::told(error).join(": ")) })?;
    }
    outcome
}

fn render(args: &Message) -> anyhow::Result<Exit> {
    let automation: ImageUpdateAutomation = objects::one(&args.file)?;
    let text = super::read(&args.changes)?;
    let changes: Vec<Change> =
        serde_json::from_str(&text).with_context(|| format!("{}: a JSON list of changes is expected", args.changes))?;
    let message = message::render(&automation, &changes, clock::now())?;
    match args.output {
        Output::Json => super::print_json(&Answer { message, error: None })?,
        Output::Table if message.ends_with('\n') => super::print(&message),
        Output::Table => super::print(&(message + "\n")),
    }
    Ok(Exit::Done)
}
