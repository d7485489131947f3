//! Asks cloud providers for logins and keeps them for most of their life.
//!
//! Who we are comes from the environment: keys or tokens that the platform puts there, else the machine's metadata server.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::image::ImageProvider;
use jiff::Timestamp;
use oci::{Credential, Name};
use reconcile::{Endpoint, Http, clock};
use serde_json::Value;

use crate::{
    Error,
    login::{Login, Request, Target, aws, azure, gcp, target},
};

/// Metadata servers answer at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How logins are kept. Source: reference image-automation.md section 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginCache {
    /// Logins kept at most, `--token-cache-max-size`; 0 keeps none.
    pub size: usize,
    /// Longest life of a kept login, `--token-cache-max-duration`.
    pub longest: Duration,
}

impl Default for LoginCache {
    fn default() -> Self {
        Self { size: 100, longest: Duration::from_secs(3600) }
    }
}

/// Reads a variable of the environment.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What is kept for a registry, and until when.
type Kept = HashMap<(ImageProvider, String), (Credential, Timestamp)>;

/// The logins.
pub(super) struct Logins {
    http: Http,
    environment: Environment,
    cache: LoginCache,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

impl Logins {
    /// Logins for the identity that the environment tells.
    pub(super) fn new(http: Http, environment: Environment, cache: LoginCache) -> Self {
        Self { http, environment, cache, kept: Mutex::default() }
    }

    /// The login for a registry.
    pub(super) async fn credential(&self, provider: ImageProvider, name: &Name) -> Result<Credential, Error> {
        let key = (provider, name.registry().to_owned());
        let now = clock::now();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((credential, _)) = kept.filter(|(_, until)| *until > now) {
            return Ok(credential);
        }
        let login = self.login(provider, name).await.map_err(|problem| Error::Login {
            provider: provider.as_str(),
            registry: name.registry().to_owned(),
            problem,
        })?;
        // Four fifths of its life, so that it does not end in the middle of a scan.
        let lasts = Duration::from_secs(login.lasts_seconds * 4 / 5).min(self.cache.longest);
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= self.cache.size {
            all.retain(|_, (_, until)| *until > now);
        }
        if all.len() < self.cache.size {
            all.insert(key, (login.credential.clone(), now + lasts));
        }
        Ok(login.credential)
    }

    async fn login(&self, provider: ImageProvider, name: &Name) -> Result<Login, String> {
        let cloud = match self.file("AZURE_ENVIRONMENT_FILEPATH")? {
            Some(content) => azure::Cloud::parse(&content)?,
            None => azure::Cloud::default(),
        };
        match target(provider, name.registry(), &cloud).ok_or("the registry does not belong to the provider")? {
            Target::Aws(registry) => {
                let keys = self.keys(registry.region()).await?;
                let endpoint = self.endpoint(registry.service());
                registry.login(&self.ask(registry.ask(&keys, endpoint.as_deref(), clock::now())?).await?)
            }
            Target::Azure => {
                let token = self.ask(self.azure_identity(&cloud)?).await?;
                azure::login(&self.ask(azure::exchange(name.scheme(), name.registry(), &token)?).await?)
            }
            Target::Gcp => gcp::login(&self.ask(gcp::ask(self.variable("GCE_METADATA_HOST").as_deref())?).await?),
        }
    }

    /// Where one of Amazon's services is asked in the place of its own endpoint. Source: AWS SDKs, "Service-specific
    /// endpoints".
    fn endpoint(&self, service: &str) -> Option<String> {
        self.variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| self.variable("AWS_ENDPOINT_URL"))
    }

    /// Amazon's keys: given ones, those of a role, those of the pod's agent, those of the machine.
    async fn keys(&self, region: &str) -> Result<aws::Keys, String> {
        if let (Some(id), Some(secret)) = (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            return Ok(aws::Keys { id, secret, session: self.variable("AWS_SESSION_TOKEN") });
        }
        if let (Some(role), Some(token)) = (self.variable("AWS_ROLE_ARN"), self.file("AWS_WEB_IDENTITY_TOKEN_FILE")?) {
            let region = self.variable("AWS_REGION").unwrap_or_else(|| region.to_owned());
            let endpoint = self.endpoint("STS");
            return aws::role_keys(&self.ask(aws::ask_role(&region, &role, &token, endpoint.as_deref())?).await?);
        }
        let relative = || self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| aws::agent(&path));
        if let Some(address) = self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").or_else(relative) {
            let token = self.file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?;
            let token = token.or_else(|| self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
            return aws::machine_keys(&self.ask(aws::ask_agent(&address, token.as_deref())?).await?);
        }
        let server = self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let server = server.as_deref();
        let token = self.send(aws::ask_metadata_token(server)?).await?;
        let role = self.send(aws::ask_metadata(server, &token, "")?).await?;
        aws::machine_keys(&self.ask(aws::ask_metadata(server, &token, role.trim())?).await?)
    }

    /// The request for a token of Azure's workload identity if there is one, else of the machine's.
    fn azure_identity(&self, cloud: &azure::Cloud) -> Result<Request, String> {
        let client = self.variable("AZURE_CLIENT_ID");
        let assertion = self.file("AZURE_FEDERATED_TOKEN_FILE")?;
        match (client, self.variable("AZURE_TENANT_ID"), assertion) {
            (Some(client), Some(tenant), Some(assertion)) => {
                let authority = self.variable("AZURE_AUTHORITY_HOST");
                let authority = authority.unwrap_or_else(|| "https://login.microsoftonline.com/".to_owned());
                azure::ask_workload(cloud, &azure::Workload { authority, tenant, client, assertion })
            }
            (client, ..) => {
                let server = self.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                azure::ask_machine(cloud, server.as_deref(), client.as_deref())
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The content of the file that a variable names.
    fn file(&self, variable: &str) -> Result<Option<String>, String> {
        let Some(path) = self.variable(variable) else { return Ok(None) };
        let content = std::fs::read_to_string(&path).map_err(|error| format!("{variable}: {path}: {error}"))?;
        Ok(Some(content.trim().to_owned()))
    }

    /// Sends a request whose answer is JSON.
    async fn ask(&self, request: Request) -> Result<Value, String> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let body = self.send(request).await?;
        serde_json::from_str(&body).map_err(|_| format!("the answer of {host} is not readable JSON"))
    }

    /// Sends a request; the body of its answer.
    async fn send(&self, request: Request) -> Result<String, String> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let endpoint = Endpoint { timeout: TIMEOUT, limit: 1 << 20, ..Endpoint::default() };
        let answer = self.http.send(request, &endpoint).await.map_err(|error| format!("{host}: {error}"))?;
        match answer.status() {
            status if status.is_success() => Ok(String::from_utf8_lossy(answer.body()).into_owned()),
            // The body may repeat what was sent, so only the status is told.
            status => Err(format!("{host} answered {status}")),
        }
    }
}

#[cfg(test)]
mod tests;
