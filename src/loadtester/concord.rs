//! Tasks of type `concord`: a process of Concord is started and followed to its end.
//!
//! Source: reference progressive-delivery.md D.5; Flagger's documentation, "Webhooks"; Concord's API, "Process".
//! Differs: a process that was cancelled or ran out of time has failed too, and `pollTimeout` limits the whole wait.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Method;
use reconcile::{Http, clock, http::escaped};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::remote;

/// Where processes are, whatever the path of the server's address.
const PROCESSES: &str = "/api/v1/process";
/// Waits in seconds where the metadata names none.
const POLL_INTERVAL: u64 = 5;
const POLL_TIMEOUT: u64 = 30;
/// What ends a process, apart from success.
const FAILURES: [&str; 3] = ["FAILED", "CANCELLED", "TIMED_OUT"];

/// A process to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Scheme, host and port.
    server: String,
    api_key_path: PathBuf,
    /// The form, in order.
    fields: Vec<(String, String)>,
    poll_interval: Duration,
    poll_timeout: Duration,
}

impl Process {
    /// Reads the metadata of a webhook. An error names the key.
    pub fn new(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let required = |key: &str| {
            let value = metadata.get(key).filter(|value| !value.is_empty());
            value.cloned().ok_or_else(|| format!("type concord needs `{key}` in the metadata"))
        };
        let seconds = |key: &str, usual: u64| match metadata.get(key) {
            None => Ok(usual),
            Some(text) => {
                text.parse().ok().filter(|&seconds| seconds > 0).ok_or(format!("`{key}` is no number of seconds"))
            }
        };
        let address: http::Uri = required("server")?.parse().map_err(|_| "`server` is not a URL".to_owned())?;
        let (scheme, host) = address.scheme_str().zip(address.authority()).ok_or("`server` is not a URL")?;
        let mut fields = Vec::new();
        for (key, name) in [
            ("org", "org"),
            ("project", "project"),
            ("repo", "repo"),
            ("entrypoint", "entryPoint"),
            ("endpoint", "arguments.endpoint"),
        ] {
            fields.push((name.to_owned(), required(key)?));
        }
        if metadata.contains_key("arguments.endpoint") {
            return Err("the endpoint is given by `endpoint`, not by `arguments.endpoint`".into());
        }
        let arguments = metadata.iter().filter(|(key, _)| key.starts_with("arguments."));
        fields.extend(arguments.map(|(key, value)| (key.clone(), value.clone())));
        let api_key_path = PathBuf::from(required("apiKeyPath")?);
        if !api_key_path.exists() {
            return Err(format!("`apiKeyPath` {}: no such file", api_key_path.display()));
        }
        Ok(Self {
            server: format!("{scheme}://{host}"),
            api_key_path,
            fields,
            poll_interval: Duration::from_secs(seconds("pollInterval", POLL_INTERVAL)?),
            poll_timeout: Duration::from_secs(seconds("pollTimeout", POLL_TIMEOUT)?),
        })
    }

    /// Starts the process and waits for its end. The error is what the caller is told.
    pub async fn run(&self, http: &Http) -> Result<(), String> {
        let (content_type, form) = multipart(&self.fields);
        let started = self.ask(http, Method::POST, PROCESSES, Some(&content_type), form).await?;
        let id = started["instanceId"].as_str().filter(|id| !id.is_empty()).ok_or("concord started no process")?;
        let path = format!("{PROCESSES}/{}", escaped(id));
        let finished = async {
            loop {
                clock::sleep(self.poll_interval).await;
                let process = self.ask(http, Method::GET, &path, None, Vec::new()).await?;
                match process["status"].as_str() {
                    Some("FINISHED") => return Ok(()),
                    Some(status) if FAILURES.contains(&status) => {
                        return Err(format!("concord process {id} ended: {status}"));
                    }
                    status => tracing::debug!(id, status, "concord process is under way"),
                }
            }
        };
        let late = || format!("concord process {id} took longer than {}s", self.poll_timeout.as_secs());
        tokio::time::timeout(self.poll_timeout, finished).await.unwrap_or_else(|_| Err(late()))
    }

    async fn ask(
        &self,
        http: &Http,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Value, String> {
        // Read each time: Kubernetes changes the file under a running process.
        let key = tokio::fs::read_to_string(&self.api_key_path).await;
        let key = key.map_err(|error| format!("`apiKeyPath` {}: {error}", self.api_key_path.display()))?;
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.server));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if !key.trim().is_empty() {
            request = request.header("authorization", key.trim());
        }
        remote::ask(http, request, Bytes::from(body)).await
    }
}

/// The fields as `multipart/form-data`: content type and body.
fn multipart(fields: &[(String, String)]) -> (String, Vec<u8>) {
    let mut all = Sha256::new();
    fields.iter().for_each(|(name, value)| all.update(format!("{name}={value}\n")));
    // Follows from what it must not occur in.
    let boundary = BASE64_URL_SAFE_NO_PAD.encode(all.finalize());
    let mut body = String::new();
    for (name, value) in fields {
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        body += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!("--{boundary}--\r\n");
    (format!("multipart/form-data; boundary={boundary}"), body.into_bytes())
}
