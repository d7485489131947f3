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
use oci::Credential;
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
    pub(super) async fn credential(&self, provider: ImageProvider, registry: &str) -> Result<Credential, Error> {
        let key = (provider, registry.to_owned());
        let now = clock::now();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((credential, _)) = kept.filter(|(_, until)| *until > now) {
            return Ok(credential);
        }
        let login = self.login(provider, registry).await.map_err(|problem| Error::Login {
            provider: provider.as_str(),
            registry: registry.to_owned(),
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

    async fn login(&self, provider: ImageProvider, registry: &str) -> Result<Login, String> {
        match target(provider, registry).ok_or("the registry does not belong to the provider")? {
            Target::Aws(registry) => {
                let keys = self.keys(registry.region()).await?;
                registry.login(&self.ask(registry.ask(&keys, clock::now())?).await?)
            }
            Target::Azure => {
                let token = self.ask(self.azure_identity()?).await?;
                azure::login(&self.ask(azure::exchange(registry, &token)?).await?)
            }
            Target::Gcp => gcp::login(&self.ask(gcp::ask()?).await?),
        }
    }

    /// Amazon's keys: given ones, those of a role, those of the pod's agent, those of the machine.
    async fn keys(&self, region: &str) -> Result<aws::Keys, String> {
        if let (Some(id), Some(secret)) = (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            return Ok(aws::Keys { id, secret, session: self.variable("AWS_SESSION_TOKEN") });
        }
        if let (Some(role), Some(token)) = (self.variable("AWS_ROLE_ARN"), self.file("AWS_WEB_IDENTITY_TOKEN_FILE")?) {
            let region = self.variable("AWS_REGION").unwrap_or_else(|| region.to_owned());
            return aws::role_keys(&self.ask(aws::ask_role(&region, &role, &token)?).await?);
        }
        if let Some(address) = self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let token = self.file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?;
            return aws::machine_keys(&self.ask(aws::ask_agent(&address, token.as_deref())?).await?);
        }
        let token = self.send(aws::ask_metadata_token()?).await?;
        let role = self.send(aws::ask_metadata(&token, "")?).await?;
        aws::machine_keys(&self.ask(aws::ask_metadata(&token, role.trim())?).await?)
    }

    /// The request for a token of Azure's workload identity if there is one, else of the machine's.
    fn azure_identity(&self) -> Result<Request, String> {
        let client = self.variable("AZURE_CLIENT_ID");
        let assertion = self.file("AZURE_FEDERATED_TOKEN_FILE")?;
        match (client, self.variable("AZURE_TENANT_ID"), assertion) {
            (Some(client), Some(tenant), Some(assertion)) => {
                let authority = self.variable("AZURE_AUTHORITY_HOST");
                let authority = authority.unwrap_or_else(|| "https://login.microsoftonline.com/".to_owned());
                azure::ask_workload(&azure::Workload { authority, tenant, client, assertion })
            }
            (client, ..) => azure::ask_machine(client.as_deref()),
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
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// A cloud that answers by host and path, in the place of the network that tests do not have.
    fn logins(
        answers: &'static [(&'static str, &'static str)],
        variables: &'static [(&'static str, &'static str)],
    ) -> (Logins, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let http = Http::to_handler(move |request| {
            counter.fetch_add(1, Ordering::SeqCst);
            let place = format!("{}{}", request.uri().host().unwrap_or_default(), request.uri().path());
            let answer = answers.iter().find(|(known, _)| *known == place).map_or("", |(_, answer)| answer);
            let status = if answer.is_empty() { 404 } else { 200 };
            async move { Ok(http::Response::builder().status(status).body(answer.into()).expect("an answer")) }
        });
        let environment =
            move |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        (Logins::new(http, Box::new(environment), LoginCache::default()), asked)
    }

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.into(), password: password.into() }
    }

    #[tokio::test]
    async fn a_login_is_kept_while_it_lasts() {
        let token = "metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
        let answers = Box::leak(Box::new([(token, "{\"access_token\": \"t\", \"expires_in\": 3600}")]));
        let (logins, asked) = logins(answers, &[]);
        for _ in 0..2 {
            let login = logins.credential(ImageProvider::Gcp, "eu.gcr.io").await.expect("a login");
            assert_eq!(login, basic("oauth2accesstoken", "t"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn amazons_machine_is_asked_where_the_environment_says_nothing() {
        let (logins, _) = logins(
            &[
                ("169.254.169.254/latest/api/token", "T"),
                ("169.254.169.254/latest/meta-data/iam/security-credentials/", "role"),
                (
                    "169.254.169.254/latest/meta-data/iam/security-credentials/role",
                    "{\"AccessKeyId\": \"I\", \"SecretAccessKey\": \"S\", \"Token\": \"T\"}",
                ),
                (
                    "api.ecr.eu-west-1.amazonaws.com/",
                    "{\"authorizationData\": [{\"authorizationToken\": \"QVdTOnBhc3N3b3Jk\"}]}",
                ),
            ],
            &[],
        );
        let registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let login = logins.credential(ImageProvider::Aws, registry).await.expect("a login");
        assert_eq!(login, basic("AWS", "password"));
    }

    #[tokio::test]
    async fn a_registry_of_somebody_else_gets_no_login() {
        let (logins, asked) = logins(&[], &[("AWS_ACCESS_KEY_ID", "I"), ("AWS_SECRET_ACCESS_KEY", "S")]);
        let error = logins.credential(ImageProvider::Aws, "ghcr.io").await.expect_err("not Amazon's");
        assert_eq!(
            error.to_string(),
            "login with provider 'aws' for ghcr.io: the registry does not belong to the provider"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        let error = logins.credential(ImageProvider::Aws, "public.ecr.aws").await.expect_err("no answer");
        assert!(error.to_string().ends_with("answered 404 Not Found"), "{error}");
    }
}
