//! `slipway check --ask`, with a real Prometheus.

use std::{fs, path::Path, time::Duration};

use reconcile::clock;
use serde_json::{Value, json};

use crate::{
    demo::parts,
    support::{SLIPWAY, client, slipway, slipway_with},
};

fn template(name: &str, address: &str, query: &str) -> Value {
    json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": name, "namespace": "apps"},
        "spec": {"provider": {"type": "prometheus", "address": address}, "query": query}})
}

#[tokio::test]
async fn check_tells_which_metrics_services_do_not_answer_and_what_has_no_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = parts::free_address().expect("a port");
    let (_prometheus, address) = parts::prometheus(Path::new(SLIPWAY), folder.path(), nobody).expect("Prometheus");
    let server = format!("http://{address}");
    let ready = format!("{server}/-/ready");
    while !client().get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        clock::sleep(Duration::from_millis(20)).await;
    }
    let names = ["good", "empty", "broken", "away"];
    let templates = names.iter().map(|name| json!({"name": name, "templateRef": {"name": name}, "threshold": 9}));
    let metrics: Vec<Value> = templates.chain([json!({"name": "request-success-rate", "threshold": 99})]).collect();
    let canary = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "app", "namespace": "apps"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}, "service": {"port": 80},
            "analysis": {"interval": "1m", "threshold": 2, "stepWeight": 10,
                "metrics": metrics}}});
    let objects = [
        template("good", &server, "vector(5)").to_string(),
        template("empty", &server, "nobody_counts{t=\"{{ target }}\"}").to_string(),
        template("broken", &server, "sum(").to_string(),
        template("away", &format!("http://{nobody}"), "vector(1)").to_string(),
        canary.to_string(),
    ];
    let file = folder.path().join("app.yaml");
    fs::write(&file, objects.join("\n---\n")).expect("a file");
    let file = file.display().to_string();
    let run = slipway(&["check", &file, "--ask", "--metrics-server", &server, "-o", "json"]);
    let findings = run.json()["findings"].as_array().cloned().unwrap_or_default();
    let about = |name: &str, words: &str| {
        let of = |finding: &&Value| {
            [&finding["name"], &finding["message"]].map(|text| text.as_str().unwrap_or_default().to_owned())
        };
        let found = findings.iter().find(|finding| {
            let [object, message] = of(finding);
            object == name && message.contains(words)
        });
        found.map(|finding| finding["severity"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(run.code, 1, "{run:?}");
    let (error, warning) = (Some("error".to_owned()), Some("warning".to_owned()));
    assert_eq!(about("away", "prometheus does not answer"), error, "{findings:#?}");
    assert_eq!(about("app", "away cannot be asked"), error, "{findings:#?}");
    assert_eq!(about("app", "broken cannot be asked: error response: Status 400"), error, "{findings:#?}");
    assert_eq!(about("app", "empty: there is no data"), warning, "{findings:#?}");
    assert_eq!(about("app", "request-success-rate: there is no data"), warning, "{findings:#?}");
    assert_eq!(about("broken", "1:5: expected an expression, found the end"), error, "{findings:#?}");
    assert_eq!(findings.len(), 6, "{findings:#?}");
    // Nobody is asked unless asked for; what is no query is found all the same.
    let run = slipway(&["check", &file, "-o", "json"]);
    assert_eq!((run.code, run.json()["findings"].as_array().map(Vec::len)), (1, Some(1)), "{run:?}");
}

#[test]
fn queries_are_read_as_prometheus_would_read_them() {
    let inline = |query: &str| json!({"name": "own", "interval": "1m", "thresholdRange": {"max": 1}, "query": query});
    let canary = |metric: Value| {
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}, "service": {"port": 80},
                "analysis": {"interval": "1m", "threshold": 2, "stepWeight": 10, "metrics": [metric]}}})
    };
    let of = |object: &Value| {
        let run = slipway_with(&["check", "-", "-o", "json"], &object.to_string());
        let finding = run.json()["findings"][0].clone();
        ["severity", "field", "message"].map(|name| finding[name].as_str().unwrap_or_default().to_owned()).join(" ")
    };
    assert_eq!(of(&canary(json!({"name": "request-success-rate", "interval": "1m", "threshold": 99}))), "  ");
    let refused = "error spec.analysis.metrics own: the query is refused by Prometheus: 1:12: expected";
    assert!(of(&canary(inline("sum(rate(x[]))"))).starts_with(refused), "{}", of(&canary(inline("sum(rate(x[]))"))));
    let unknown = template("t", "http://p", "average(x{n=\"{{ namespace }}\"})");
    let warned = "warning spec.query the query is refused by Prometheus: 1:1: Prometheus has no function \"average\"";
    assert_eq!(of(&unknown), warned);
    let wrong = of(&template("t", "http://p", "x{n=\"{{ nobody }}\"}"));
    assert!(wrong.starts_with("error spec.query") && wrong.contains("nobody"), "{wrong}");
    assert_eq!(of(&template("t", "http://p", "rate(x[{{ variables.window }}])")), "  ");
}
