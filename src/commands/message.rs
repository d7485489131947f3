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
        // Programs find the template's own words; the place is for people, on standard error.
        let plain = error.downcast_ref::<message::Error>().map(ToString::to_string);
        let error = plain.unwrap_or_else(|| super::told(error).join(": "));
        super::print_json(&Answer { message: String::new(), error: Some(error) })?;
    }
    outcome
}

fn render(args: &Message) -> anyhow::Result<Exit> {
    let read = objects::read(&[&args.file])?;
    let placed = objects::only(&read, "ImageUpdateAutomation", &[&args.file])?;
    let automation: ImageUpdateAutomation = placed.typed()?;
    let text = super::read(&args.changes)?;
    let changes: Vec<Change> =
        serde_json::from_str(&text).with_context(|| format!("{}: a JSON list of changes is expected", args.changes))?;
    let field = "spec.git.commit.messageTemplate";
    let message = message::render(&automation, &changes, clock::now())
        .map_err(|error| anyhow::Error::new(error).context(format!("{}: {field}", placed.place(field))))?;
    match args.output {
        Output::Json => super::print_json(&Answer { message, error: None })?,
        Output::Table if message.ends_with('\n') => super::print(&message),
        Output::Table => super::print(&(message + "\n")),
    }
    Ok(Exit::Done)
}
