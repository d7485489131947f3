//! `slipway canary queries`: the metric queries, fully rendered.

use api::{
    flagger::{Canary, Metric},
    meta::ObjectReference,
};
use canary::metrics::{self, GatewayMetrics, Implementation, Observer, Query, Scene, Source};
use serde_json::Value;

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
    let (templates, others) = (manifests.templates()?, manifests.beside());
    let canary = &manifests.canary;
    let provider = canary.provider_or(&args.mesh_provider);
    let observer = match args.standalone {
        true => Observer::Local,
        false => observer(canary, &args.mesh_provider, args.gateway_metrics, &others),
    };
    let scene = Scene { observer, revision: metrics::revision(canary, &others) };
    metrics::queries(canary, scene, provider, &templates).map_err(|error| {
        let is_wrong = |metric: &Metric| {
            let found = match metrics::source(canary, metric) {
                Ok(Source::Template(namespace, name)) => metrics::template(&templates, namespace, name),
                _ => None,
            };
            metrics::query(canary, metric, scene, found).is_err()
        };
        let place = canary.analysis().metrics.iter().position(is_wrong).unwrap_or_default();
        manifests.refused(&format!("spec.analysis.metrics[{place}]"), error)
    })
}

/// Whose series the builtin queries of a Canary read; its Gateway is looked for among `others`.
pub fn observer(canary: &Canary, mesh_provider: &str, gateway: GatewayMetrics, others: &[Value]) -> Observer {
    let is_gateway = canary.provider_or(mesh_provider).starts_with("gatewayapi");
    let named = Observer::of_canary(canary, mesh_provider);
    match gateway {
        GatewayMetrics::Of(observer) if is_gateway => observer,
        GatewayMetrics::Detect if named == Observer::Http && is_gateway => {
            implementation(canary, others).map_or(named, Observer::Gateway)
        }
        _ => named,
    }
}

/// What serves the Canary's Gateway, if the manifests hold that and its class.
fn implementation(canary: &Canary, others: &[Value]) -> Option<Implementation> {
    let find = |id: ObjectReference| {
        others
            .iter()
            .find(|object| object["kind"] == id.kind.as_str() && object["metadata"]["name"] == id.name.as_str())
    };
    let gateway = find(metrics::gateway_of(canary)?)?;
    Implementation::of_class(find(metrics::class_of(gateway)?)?)
}
