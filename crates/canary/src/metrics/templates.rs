//! Rendering of metric queries. Source: reference progressive-delivery.md, C.2.

use std::collections::BTreeMap;

use api::flagger::{Canary, Metric};
use template::{Function, Functions, Map, MissingKey, Options, Stage, Template, Value};

/// What a query can speak of. Each is a function in templates: `{{ namespace }}`, `{{ variables.KEY }}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Of the Canary.
    pub name: String,
    /// Of the Canary.
    pub namespace: String,
    /// Name of the workload.
    pub target: String,
    /// Name of the apex service.
    pub service: String,
    /// Name of the Ingress, else of the workload.
    pub ingress: String,
    /// Name of the ApisixRoute, else of the workload; of the latest revision with Knative.
    pub route: String,
    /// Window of the query.
    pub interval: String,
    /// The metric's `templateVariables`.
    pub variables: BTreeMap<String, String>,
}

impl Model {
    /// The model of a Canary's metric. `revision` is the latest one of a Knative Service.
    pub fn of(canary: &Canary, metric: &Metric, revision: Option<&str>, interval: &str) -> Self {
        let target = &canary.spec.target_ref.name;
        let named = |reference: &Option<api::flagger::TargetReference>| {
            reference.as_ref().map_or_else(|| target.clone(), |reference| reference.name.clone())
        };
        Self {
            name: canary.name().to_owned(),
            namespace: canary.namespace().to_owned(),
            target: target.clone(),
            service: canary.service_name().to_owned(),
            ingress: named(&canary.spec.ingress_ref),
            route: revision.map_or_else(|| named(&canary.spec.route_ref), str::to_owned),
            interval: interval.to_owned(),
            variables: metric.template_variables.clone(),
        }
    }

    /// A query with the model filled in. A variable that is not there is an error.
    pub fn render(&self, query: &str) -> Result<String, super::Error> {
        let texts = [
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("target", &self.target),
            ("service", &self.service),
            ("ingress", &self.ingress),
            ("route", &self.route),
            ("interval", &self.interval),
        ];
        let variables =
            self.variables.iter().map(|(key, value)| (Value::from(key.as_str()), Value::from(value.as_str())));
        let variables = Map::new("map[string]string", Value::from(""), variables);
        let functions = Functions::builtin().with("variables", Function::constant(Value::Map(variables)));
        let functions = texts
            .into_iter()
            .fold(functions, |functions, (name, text)| functions.with(name, Function::constant(text.as_str())));
        let options = Options { missing_key: MissingKey::Error, ..Options::default() };
        let rendered =
            Template::parse("tmpl", query, functions).and_then(|template| template.render(&Value::Nil, &options));
        rendered.map_err(|error| {
            // The words, misspelt as they are, are the reference's.
            let act = if error.stage == Stage::Parse { "template parsing failed" } else { "template excution failed" };
            super::Error::Render(format!("{act}: {error}"))
        })
    }
}
