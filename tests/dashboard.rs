//! Every query of the Grafana dashboard gives an answer from a Prometheus that scrapes slipway.

use std::{net::SocketAddr, time::Duration};

use reconcile::{Http, clock};
use serde_json::Value;

/// What Grafana puts in the place of its variables.
const VARIABLES: [(&str, &str); 5] =
    [("$__rate_interval", "1m"), ("$__range", "5m"), ("$namespace", ".*"), ("$job", ".*"), ("${datasource}", "")];

/// Title and query of every panel, and the queries that fill the variables.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(include_str!("../deploy/grafana/slipway.json")).expect("it is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
    let lists = variables.filter_map(|variable| {
        let metric = text(&variable["definition"]);
        let metric = metric.strip_prefix("label_values(")?.split(',').next()?.to_owned();
        Some((text(&variable["label"]), metric))
    });
    targets.chain(lists).collect()
}

/// Asks until every query has an answer.
pub async fn every_query_answers(prometheus: SocketAddr) {
    // Sets up what the client needs.
    let _ = Http::new("test");
    let client = reqwest::Client::new();
    let mut left = queries();
    assert!(left.len() > 15, "{left:?}");
    let begun = clock::instant();
    loop {
        let mut silent = Vec::new();
        for (title, query) in left {
            let asked = VARIABLES.iter().fold(query.clone(), |text, (variable, value)| text.replace(variable, value));
            let url =
                reqwest::Url::parse_with_params(&format!("http://{prometheus}/api/v1/query"), [("query", &asked)]);
            let answer = client.get(url.expect("a URL")).send().await.expect("Prometheus answers");
            let answer: Value = answer.json().await.expect("JSON");
            assert_eq!(answer["status"], "success", "{title}: {asked}: {answer}");
            if answer["data"]["result"].as_array().is_none_or(Vec::is_empty) {
                silent.push((title, query));
            }
        }
        if silent.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no answer to {silent:#?}");
        left = silent;
        clock::sleep(Duration::from_millis(200)).await;
    }
}
