//! Who we are to clouds: keys and tokens that the platform gives us, for stages that ask a cloud's interface.
//!
//! What is asked and what the answers say is in [`aws`], [`azure`], [`git`], [`github`] and [`google`]; here is the order
//! in which it is asked, and for how long an answer holds. Who a ServiceAccount is to clouds is in [`account`].

pub mod account;
pub mod aws;
pub mod azure;
pub mod git;
pub mod github;
pub mod google;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use rustls::{
    SignatureScheme,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Endpoint, Http, clock};

/// Metadata servers answer at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a login is used. Each of the services renews what it hands out at least five minutes before its end.
const KEPT: Duration = Duration::from_secs(240);
/// Logins kept at most.
const MAX_KEPT: usize = 100;

type Request = http::Request<Bytes>;
/// Reads a variable of the environment.
type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A login and when it is asked for anew.
type Kept<T> = HashMap<String, (T, Timestamp)>;

/// Our logins. Clones share them.
#[derive(Clone)]
pub struct Identities {
    http: Http,
    environment: Environment,
    aws: Arc<Mutex<Kept<aws::Keys>>>,
    tokens: Arc<Mutex<Kept<String>>>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities")
    }
}

impl Identities {
    /// Logins for the identity that the process' environment tells.
    pub fn new(http: Http) -> Self {
        Self::in_environment(http, |name| std::env::var(name).ok())
    }

    /// The same with an environment of the caller's.
    pub fn in_environment(http: Http, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { http, environment: Arc::new(environment), aws: Arc::default(), tokens: Arc::default() }
    }

    /// Amazon's keys: given ones, those of the workload's role, those of the pod's agent, those of the machine.
    pub async fn aws(&self, region: &str) -> Result<aws::Keys, String> {
        keep(&self.aws, region.to_owned(), self.aws_keys(region)).await
    }

    /// An access token of Google's for `scope`: of the account whose key is given, else of the machine's.
    pub async fn google(&self, account_key: Option<&[u8]>, scope: &str) -> Result<String, String> {
        let account = account_key.map(|key| format!("{:x}", Sha256::digest(key))).unwrap_or_default();
        let ask = async {
            let request = match account_key {
                Some(key) => google::ask(&google::Account::parse(key)?, scope, clock::now())?,
                None => return google::token(&self.google_machine().await?),
            };
            google::token(&self.ask(request).await?)
        };
        keep(&self.tokens, format!("google {account} {scope}"), ask).await
    }

    /// What Google's metadata server answers about the machine's own token.
    pub async fn google_machine(&self) -> Result<Value, String> {
        self.ask(google::ask_machine(self.variable("GCE_METADATA_HOST").as_deref())?).await
    }

    /// An access token of Azure's for `resource`: of the workload's identity if there is one, else of the machine's.
    pub async fn azure(&self, resource: &str) -> Result<String, String> {
        let ask = async { azure::token(&self.ask(self.azure_request(resource)?).await?) };
        keep(&self.tokens, format!("azure {resource}"), ask).await
    }

    fn azure_request(&self, resource: &str) -> Result<Request, String> {
        let client = self.variable("AZURE_CLIENT_ID");
        let assertion = self.file("AZURE_FEDERATED_TOKEN_FILE")?;
        match (client, self.variable("AZURE_TENANT_ID"), assertion) {
            (Some(client), Some(tenant), Some(assertion)) => {
                let authority = self.variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| azure::AUTHORITY.to_owned());
                azure::ask_workload(resource, &azure::Workload { authority, tenant, client, assertion })
            }
            (client, ..) => {
                let server = self.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                azure::ask_machine(resource, server.as_deref(), client.as_deref())
            }
        }
    }

    /// A token of an installation of a GitHub App.
    pub async fn github(&self, app: &github::App) -> Result<String, String> {
        let ask = async {
            let installation = match app.installation() {
                Ok(id) => id.to_owned(),
                Err(owner) => match self.ask(app.ask_installation("orgs", owner, clock::now())?).await {
                    Ok(answer) => github::found(&answer)?,
                    Err(_) => github::found(&self.ask(app.ask_installation("users", owner, clock::now())?).await?)?,
                },
            };
            github::token(&self.ask(app.ask(&installation, clock::now())?).await?)
        };
        keep(&self.tokens, app.key(), ask).await
    }

    /// Where one of Amazon's services is asked in the place of its own endpoint. Source: AWS SDKs, "Service-specific
    /// endpoints".
    pub fn aws_endpoint(&self, service: &str) -> Option<String> {
        self.variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| self.variable("AWS_ENDPOINT_URL"))
    }

    async fn aws_keys(&self, region: &str) -> Result<aws::Keys, String> {
        if let (Some(id), Some(secret)) = (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            return Ok(aws::Keys { id, secret, session: self.variable("AWS_SESSION_TOKEN") });
        }
        if let (Some(role), Some(token)) = (self.variable("AWS_ROLE_ARN"), self.file("AWS_WEB_IDENTITY_TOKEN_FILE")?) {
            let region = self.variable("AWS_REGION").unwrap_or_else(|| region.to_owned());
            let endpoint = self.aws_endpoint("STS");
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

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The content of the file that a variable names, if it names one.
    pub fn file(&self, variable: &str) -> Result<Option<String>, String> {
        let Some(path) = self.variable(variable) else { return Ok(None) };
        let content = std::fs::read_to_string(&path).map_err(|error| format!("{variable}: {path}: {error}"))?;
        Ok(Some(content.trim().to_owned()))
    }

    /// Sends a request to a cloud whose answer is JSON. The error repeats nothing that was sent.
    pub async fn ask(&self, request: Request) -> Result<Value, String> {
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

/// The kept login, else a fresh one, which is kept.
async fn keep<T: Clone>(
    kept: &Mutex<Kept<T>>,
    key: String,
    fresh: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let now = clock::now();
    let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get(&key).filter(|(_, until)| *until > now).map(|(login, _)| login.clone());
    if let Some(login) = known {
        return Ok(login);
    }
    let login = fresh.await?;
    let mut kept = lock();
    if kept.len() >= MAX_KEPT {
        kept.retain(|_, (_, until)| *until > now);
    }
    kept.insert(key, (login.clone(), now + KEPT));
    Ok(login)
}

/// Claims signed with an RSA key (RS256); none if the key cannot be read. Source: RFC 7519, RFC 7518 section 3.3.
fn jwt(claims: &Value, pem: &str) -> Option<String> {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({"alg": "RS256", "typ": "JWT"}).to_string();
    let text = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
    let signature = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?.sign(text.as_bytes()).ok()?;
    Some(format!("{text}.{}", encode(&signature)))
}

/// The text at a place in an answer.
fn text<'a>(answer: &'a Value, pointer: &str) -> Result<&'a str, String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.ok_or_else(|| format!("the answer has no {}", pointer.trim_start_matches('/').replace('/', ".")))
}

/// A request made of parts that are known to fit.
fn request(builder: http::request::Builder, body: impl Into<Bytes>) -> Result<Request, String> {
    builder.body(body.into()).map_err(|error| format!("the request cannot be made: {error}"))
}

/// Fields as a web form.
fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests;
