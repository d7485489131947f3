//! Whether Prometheus would take the queries of MetricTemplates and Canaries, without asking it.

use std::collections::BTreeMap;

use api::flagger::{Canary, Metric, MetricTemplate};
use canary::{
    lint::Surroundings,
    metrics::{self, Model, Scene, Source, promql},
};
use serde_json::Value;

use super::Complaint;
use crate::{args::check::Check as Arguments, commands::canary::queries};

/// What a template's own check puts in for names.
const NAME: &str = "app";

/// Complaints, each with the place of its object in `all`.
pub fn check(args: &Arguments, around: &Surroundings<'_>) -> Vec<(usize, Complaint)> {
    let of = |object: &Value| match object["kind"].as_str() {
        Some("MetricTemplate") => template(object).into_iter().collect(),
        Some("Canary") => canary(args, object, around),
        _ => Vec::new(),
    };
    let all = around.objects.iter().enumerate();
    all.flat_map(|(index, object)| of(object).into_iter().map(move |found| (index, found))).collect()
}

/// A template by itself, with names put in.
fn template(object: &Value) -> Option<Complaint> {
    let template = api::manifest::typed::<MetricTemplate>(object).ok()?;
    let name = || NAME.to_owned();
    let model = Model {
        name: name(),
        namespace: name(),
        target: name(),
        service: name(),
        ingress: name(),
        route: name(),
        interval: "1m".into(),
        variables: BTreeMap::new(),
    };
    if has_variables(&template) {
        return None;
    }
    match model.render(&template.spec.query) {
        Err(error) => Some(Complaint::error("spec.query", error.to_string())),
        Ok(query) if template.spec.provider.kind == "prometheus" => complaint("spec.query", "", &query),
        Ok(_) => None,
    }
}

/// Whether it depends on the Canary that uses it.
fn has_variables(template: &MetricTemplate) -> bool {
    template.spec.query.contains("variables")
}

/// The queries of a Canary: builtin ones, its own, and those of templates with its variables.
fn canary(args: &Arguments, object: &Value, around: &Surroundings<'_>) -> Vec<Complaint> {
    let Ok(canary) = api::manifest::typed::<Canary>(object) else { return Vec::new() };
    let observer = queries::observer(&canary, &args.mesh_provider, args.gateway_metrics, around);
    let target = &canary.spec.target_ref;
    let scene = Scene { observer, revision: metrics::revision(&canary, around.named(&target.kind, &target.name)) };
    let rendered = |metric: &Metric| -> Option<Complaint> {
        let found = match metrics::source(&canary, metric).ok()? {
            Source::Builtin | Source::Inline(_) => None,
            Source::Template(namespace, name) => {
                let found = around.template(namespace, name)?;
                // One without variables was looked at by itself.
                Some(found).filter(|found| has_variables(found) && found.spec.provider.kind == "prometheus")?.into()
            }
        };
        match metrics::query(&canary, metric, scene, found) {
            Err(error) => Some(Complaint::error(FIELD, format!("{}: {error}", metric.name))),
            Ok(query) => complaint(FIELD, &metric.name, &query),
        }
    };
    canary.analysis().metrics.iter().filter_map(rendered).collect()
}

const FIELD: &str = "spec.analysis.metrics";

/// A text that is no query is an error. Functions and types may be those of a server that speaks a dialect.
fn complaint(field: &str, metric: &str, query: &str) -> Option<Complaint> {
    let problem = promql::check(query).err()?;
    let colon = if metric.is_empty() { "" } else { ": " };
    let message = format!("{metric}{colon}the query is refused by Prometheus: {problem}");
    Some(if problem.is_syntax { Complaint::error(field, message) } else { Complaint::warning(field, message) })
}
