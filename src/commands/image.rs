//! `slipway image`: how an image name is read, without asking anybody.

use oci::Name;
use serde_json::json;

use super::{Exit, print, print_json};
use crate::args::{self, Output};

/// Runs the verb.
pub fn run(args: &args::Image) -> anyhow::Result<Exit> {
    let outcome = Name::parse(&args.reference).map(|name| if args.insecure { name.insecure() } else { name });
    match (args.output, &outcome) {
        (Output::Json, _) => print_json(&json!({
            "canonical": outcome.as_ref().ok().map(Name::to_string),
            "registry": outcome.as_ref().ok().map(Name::registry),
            "repository": outcome.as_ref().ok().map(Name::repository),
            "scheme": outcome.as_ref().ok().map(|name| name.scheme().as_str()),
            "error": outcome.as_ref().err().map(ToString::to_string),
        }))?,
        (Output::Table, Ok(name)) => print(&format!(
            "canonical   {name}\nregistry    {}\nrepository  {}\nscheme      {}\n",
            name.registry(),
            name.repository(),
            name.scheme().as_str()
        )),
        (Output::Table, Err(error)) => anyhow::bail!("{error}"),
    }
    Ok(if outcome.is_ok() { Exit::Done } else { Exit::Wrong })
}
