//! Tasks of type `ngrinder`: a copy of a test of nGrinder is started and followed to its end.
//!
//! Source: reference progressive-delivery.md D.5; Flagger's documentation, "Load Testing Delegation"; nGrinder's API,
//! "PerfTest".

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Method;
use reconcile::{Http, clock};
use serde_json::Value;

use super::remote;

/// Wait between two questions where the metadata names none.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// What ends a test, apart from success.
const FAILURES: [&str; 3] = ["STOP_BY_ERROR", "CANCELED", "UNKNOWN"];

/// A test to be copied and started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Address of the server's tests, with a slash at its end.
    tests: String,
    /// The test that is copied.
    clone: u64,
    authorization: String,
    poll_interval: Duration,
}

impl Test {
    /// Reads the metadata of a webhook. An error names the key.
    pub fn new(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let required = |key: &str| {
            let value = metadata.get(key).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("type ngrinder needs server, clone, username and passwd: `{key}` is missing"))
        };
        let server = required("server")?;
        let address = server.parse::<http::Uri>().ok().filter(|address| address.authority().is_some());
        if address.is_none_or(|address| address.scheme().is_none()) {
            return Err("`server` is not a URL".into());
        }
        let clone = required("clone")?.parse().map_err(|_| "`clone` is not the number of a test")?;
        let username = required("username")?;
        let password = BASE64_STANDARD.decode(required("passwd")?).ok();
        let password =
            password.and_then(|password| String::from_utf8(password).ok()).ok_or("`passwd` is not in base64")?;
        let interval = metadata.get("pollInterval").and_then(|text| text.parse::<api::Duration>().ok());
        Ok(Self {
            tests: format!("{}/perftest/api/", server.trim_end_matches('/')),
            clone,
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))),
            poll_interval: interval.map(api::Duration::get).filter(|wait| !wait.is_zero()).unwrap_or(POLL_INTERVAL),
        })
    }

    /// What tells it from other tests of the same canary.
    pub fn key(&self) -> String {
        format!("{}{}", self.tests, self.clone)
    }

    /// Starts the copy and waits for its end; one that takes too long is stopped.
    pub async fn run(&self, http: &Http, timeout: Duration) -> Result<(), String> {
        let started = self.ask(http, Method::POST, &format!("{}/clone_and_start", self.clone)).await?;
        let id = started["id"].as_u64().ok_or("ngrinder started no test")?;
        let finished = async {
            loop {
                clock::sleep(self.poll_interval).await;
                // A question that fails is asked again: the test goes on meanwhile.
                let Ok(answer) = self.ask(http, Method::GET, &format!("{id}/status")).await else { continue };
                match answer["status"][0]["status_id"].as_str() {
                    Some("FINISHED") => return Ok(()),
                    Some(status) if FAILURES.contains(&status) => {
                        return Err(format!("ngrinder test {id} ended: {status}"));
                    }
                    status => tracing::debug!(id, status, "ngrinder test is under way"),
                }
            }
        };
        match tokio::time::timeout(timeout, finished).await {
            Ok(ended) => ended,
            Err(_) => {
                let stopped = self.ask(http, Method::PUT, &format!("{id}?action=stop")).await.map(drop);
                Err(format!("ngrinder test {id} took too long, {}", stopped.err().unwrap_or("it is stopped".into())))
            }
        }
    }

    async fn ask(&self, http: &Http, method: Method, path: &str) -> Result<Value, String> {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.tests));
        let answer = remote::ask(http, request.header("authorization", &self.authorization), Bytes::new()).await?;
        if answer["success"] == false {
            return Err("ngrinder refused".into());
        }
        Ok(answer)
    }
}
