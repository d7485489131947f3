//! `slipway canary queries`: the metric queries, fully rendered.

use anyhow::Context as _;
use api::flagger::MetricTemplate;
use canary::metrics::{self, Observer, Query};

use crate::{
    args::{Output, canary::Queries},
    commands::{Exit, print, print_json},
};

/// Runs the verb.
pub fn run(args: &Queries) -> anyhow::Result<Exit> {
    let queries = rendered(args).map_err(|error| super::wrong(args.output, error))?;
    match args.output {
        Output::Json => print_json(&queries)?,
        Output::Table => {
            for Query { metric, provider, query } in &queries {
                print(&format!("# {metric} ({provider})\n{query}\n"));
            }
        }
    }
    Ok(Exit::Done)
}

fn rendered(args: &Queries) -> anyhow::Result<Vec<Query>> {
    let manifests = super::manifests(&args.files)?;
    let templates = manifests.others.iter().filter(|object| object["kind"] == "MetricTemplate").map(|object| {
        let template: Result<MetricTemplate, String> = api::manifest::typed(object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        template.map_err(anyhow::Error::msg).with_context(|| format!("MetricTemplate {name} cannot be read"))
    });
    let templates = templates.collect::<anyhow::Result<Vec<_>>>()?;
    let given = manifests.canary.spec.provider.as_deref();
    let observer = if args.standalone { Observer::Local } else { Observer::of(given, &args.mesh_provider) };
    let provider = given.unwrap_or(&args.mesh_provider);
    Ok(metrics::queries(&manifests.canary, observer, provider, &templates)?)
}
