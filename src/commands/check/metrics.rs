//! `--ask`: what the metrics services say just now to the MetricTemplates and Canaries of the manifests.

use api::flagger::{Canary, MetricTemplate};
use canary::{
    controller::{Asker, Options},
    machine::Measurement,
    metrics,
};
use reconcile::{Context, Directory, Http, Store};
use serde_json::Value;

use super::Complaint;
use crate::args::check::Check as Arguments;

/// Who writes into the store that holds the manifests for the time of the questions.
const WRITER: &str = "slipway-check";

/// Asks; complaints come with the place of their object in `all`. Secrets and templates are those of the manifests, or of
/// the running slipway whose state is given.
pub async fn ask(args: &Arguments, state: Option<Store>, all: &[Value]) -> anyhow::Result<Vec<(usize, Complaint)>> {
    let folder = tempfile::tempdir()?;
    let store = match state {
        Some(store) => store,
        None => {
            let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await?);
            for object in all {
                // What does not fit its kind is complained about by the other checks.
                let _ = store.apply(WRITER, object).await;
            }
            store
        }
    };
    let http = Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION")));
    let context = Context::new(store, http, WRITER);
    let options = Options {
        metrics_server: args.metrics_server.clone().unwrap_or_default(),
        mesh_provider: args.mesh_provider.clone(),
        gateway_metrics: args.gateway_metrics,
        ..Options::default()
    };
    let (asker, mut found) = (Asker::new(context, options), Vec::new());
    for (index, object) in all.iter().enumerate() {
        let complaints = match object["kind"].as_str() {
            Some("MetricTemplate") => template(&asker, object).await,
            Some("Canary") => canary(&asker, args, object, all).await,
            _ => Vec::new(),
        };
        found.extend(complaints.into_iter().map(|complaint| (index, complaint)));
    }
    Ok(found)
}

async fn template(asker: &Asker, object: &Value) -> Vec<Complaint> {
    let Ok(template) = api::manifest::typed::<MetricTemplate>(object) else { return Vec::new() };
    let field = "spec.provider";
    match asker.service(&template).await {
        Measurement::Value(_) => Vec::new(),
        Measurement::NoData(problem) | Measurement::Error(problem) => {
            vec![Complaint::error(field, format!("{} does not answer: {problem}", template.spec.provider.kind))]
        }
        Measurement::Invalid(problem) => vec![Complaint::error(field, problem)],
    }
}

async fn canary(asker: &Asker, args: &Arguments, object: &Value, all: &[Value]) -> Vec<Complaint> {
    let Ok(canary) = api::manifest::typed::<Canary>(object) else { return Vec::new() };
    let server = metrics::server(&canary, args.metrics_server.as_deref().unwrap_or_default());
    let mut complaints = Vec::new();
    for (index, metric) in canary.analysis().metrics.iter().enumerate() {
        let is_template = metric.template_ref.is_some();
        if !is_template && server.address.is_empty() {
            let message = format!(
                "{} is not asked: where its Prometheus is says neither the Canary nor --metrics-server URL",
                metric.name
            );
            complaints.push(Complaint::warning("spec.analysis.metrics", message));
            continue;
        }
        let (field, name) = ("spec.analysis.metrics", &metric.name);
        complaints.extend(match asker.metric(&canary, all, index).await {
            Measurement::Value(_) => None,
            Measurement::NoData(_) => Some(Complaint::warning(
                field,
                format!("{name}: there is no data for it now; without any, a check fails"),
            )),
            Measurement::Error(problem) => Some(Complaint::error(field, format!("{name} cannot be asked: {problem}"))),
            Measurement::Invalid(problem) => Some(Complaint::error(field, format!("{name}: {problem}"))),
        });
    }
    complaints
}
