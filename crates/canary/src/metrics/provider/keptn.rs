//! Keptn, which is asked with objects: a KeptnMetric is read, an Analysis is made, awaited and deleted.
//!
//! The query is `keptnmetric/NAMESPACE/NAME` or `analysis/NAMESPACE/NAME[/DURATION[/KEY=VALUE;…]]`.

use std::{collections::BTreeMap, time::Duration};

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::Error;

/// `spec.provider.type`.
pub const NAME: &str = "keptn";
/// Longest wait for an Analysis.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at it.
pub const LOOK: Duration = Duration::from_secs(1);

const API_VERSION: &str = "metrics.keptn.sh/v1beta1";

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// The value of a KeptnMetric.
    Metric(ObjectReference),
    /// Whether an Analysis passes. The object is complete but for its name, which [`analysis`] gives.
    Analysis(Value),
}

/// What a query asks for. Case does not count.
pub fn question(query: &str) -> Result<Question, Error> {
    let query = query.to_lowercase();
    let parts: Vec<_> = query.trim().split('/').collect();
    let [kind, namespace, name, rest @ ..] = parts.as_slice() else {
        let form = "<keptnmetric|analysis>/<namespace>/<resourceName>/<duration>/<arguments>";
        return Err(Error::Query(format!("unexpected query format. query must be in the format {form}")));
    };
    match *kind {
        "keptnmetric" | "keptnmetrics" => Ok(Question::Metric(reference("KeptnMetric", namespace, name))),
        "analysis" | "analyses" => {
            let recent = rest.first().copied().unwrap_or("1m");
            let pairs = rest.get(1).into_iter().flat_map(|list| list.split(';'));
            let pairs = pairs.filter_map(|pair| match pair.split('=').collect::<Vec<_>>().as_slice() {
                [key, value] => Some((*key, *value)),
                _ => None,
            });
            let arguments: BTreeMap<_, _> = pairs.collect();
            Ok(Question::Analysis(json!({
                "apiVersion": API_VERSION, "kind": "Analysis",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"analysisDefinition": {"name": name}, "timeframe": {"recent": recent}, "args": arguments},
            })))
        }
        _ => Err(Error::Query(
            "unexpected resource kind provided in the query. must be one of: ['keptnmetric', 'analysis']".into(),
        )),
    }
}

/// The Analysis to make, with a name of its own.
pub fn analysis(mut wanted: Value, random: u64) -> Value {
    let name = format!("{}-{:06x}", wanted["metadata"]["name"].as_str().unwrap_or_default(), random & 0x00ff_ffff);
    wanted["metadata"]["name"] = json!(name);
    wanted
}

/// The value of a KeptnMetric. That it has none yet is an error, not a lack of data.
pub fn value(metric: &Value) -> Result<f64, Error> {
    let text = metric["status"]["value"].as_str().ok_or_else(|| Error::Query("the KeptnMetric has no value".into()))?;
    let value: f64 = text.parse().map_err(|_| Error::NotANumber(text.to_owned()))?;
    if value.is_nan() { Err(Error::NoValues) } else { Ok(value) }
}

/// 1 for an Analysis that passed, 0 for one that failed; none while it runs.
pub fn verdict(analysis: &Value) -> Option<f64> {
    let status = &analysis["status"];
    let is_over = status["state"] == "Completed";
    status["pass"].as_bool().filter(|_| is_over).map(|passed| if passed { 1.0 } else { 0.0 })
}

fn reference(kind: &str, namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: API_VERSION.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_metric_or_an_analysis() {
        let metric = question("KeptnMetric/Default/my-metric\n").unwrap();
        assert_eq!(metric, Question::Metric(reference("KeptnMetric", "default", "my-metric")));
        let Question::Analysis(made) = question("analysis/default/a/5m/project=p;stage=s;odd").unwrap() else {
            panic!()
        };
        assert_eq!(made["spec"]["timeframe"]["recent"], "5m");
        assert_eq!(made["spec"]["args"], json!({"project": "p", "stage": "s"}));
        let Question::Analysis(made) = question("analyses/default/a").unwrap() else { panic!() };
        assert_eq!((&made["spec"]["timeframe"]["recent"], &made["spec"]["args"]), (&json!("1m"), &json!({})));
        assert_eq!(analysis(made, 0xabc_def0_1234)["metadata"]["name"], "a-f01234");
        assert!(question("keptnmetric/default").is_err() && question("other/default/a").is_err());
    }

    #[test]
    fn the_status_holds_the_value() {
        let metric = |text: &str| value(&json!({"status": {"value": text}}));
        assert_eq!((metric("3.0"), metric("NaN")), (Ok(3.0), Err(Error::NoValues)));
        assert!(metric("").is_err() && value(&json!({})).is_err());
        let state = |state: &str, pass: bool| verdict(&json!({"status": {"state": state, "pass": pass}}));
        assert_eq!((state("Completed", true), state("Completed", false)), (Some(1.0), Some(0.0)));
        assert_eq!((state("Progressing", true), verdict(&json!({"status": {"state": "Completed"}}))), (None, None));
    }
}
