//! `slipway canary weights`: the weights that routing objects give.

use canary::router;
use serde_json::Value;

use crate::{
    args::{Output, canary::Weights},
    commands::{Exit, print, print_json},
};

/// Runs the verb.
pub fn run(args: &Weights) -> anyhow::Result<Exit> {
    let weights = read(args).map_err(|error| super::wrong(args.output, error))?;
    match args.output {
        Output::Json => print_json(&weights)?,
        Output::Table => print(&format!(
            "primary   {}\ncanary    {}\nmirrored  {}\n",
            weights.primary, weights.canary, weights.mirrored
        )),
    }
    Ok(Exit::Done)
}

fn read(args: &Weights) -> anyhow::Result<router::Weights> {
    let manifests = super::manifests(&args.files)?;
    let current: Vec<Value> = super::objects(&args.existing)?.into_iter().chain(manifests.beside()).collect();
    let options = super::options(&args.router);
    router::weights(&manifests.canary, &options, &current).map_err(|error| {
        let is_ungiven = args.existing.is_empty() && matches!(error, router::Error::NotFound { .. });
        let hint = is_ungiven.then_some("the routing objects as they are now are given by --existing FILE");
        manifests.refused_with("spec", error, hint)
    })
}
