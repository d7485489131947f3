//! Asks metrics providers: with their credentials, within bounds, and no question twice at the same time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::{
    flagger::MetricProvider,
    meta::{LocalReference, ObjectReference},
};
use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use k8s_openapi::api::core::v1::Secret;
use reconcile::{Context, Endpoint, Http, HttpError, Identities, Store, clock};
use tokio::sync::Semaphore;

use crate::{
    events::SOURCE,
    machine::Measurement,
    metrics::{
        Error,
        provider::{self, Ask, Credentials, Identity, Login, Request, Response, keptn},
    },
};

/// Requests on their way at the same time.
const IN_FLIGHT: usize = 32;
/// Most bytes of an answer.
const ANSWER_LIMIT: usize = 4 << 20;
/// Times that a request is sent again when the connection fails. A server that is slow or refuses is not asked again.
const RETRIES: u32 = 2;
/// Wait before the first of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// What Google's token must allow.
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/monitoring.read";
/// Shortest text of a Secret that is struck out of errors. Shorter ones are words like `admin`.
const SHORTEST_SECRET: usize = 5;

/// A question to a provider. Two that are equal have the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inquiry {
    /// Who is asked.
    pub provider: MetricProvider,
    /// Where its Secret is.
    pub namespace: String,
    /// The rendered query; none asks whether the provider works.
    pub query: Option<String>,
    /// The metric's interval as written.
    pub interval: String,
}

type Answer = Shared<BoxFuture<'static, Measurement>>;
/// Answers on their way, for as long as anybody waits for them.
type Asked = HashMap<Arc<Inquiry>, WeakShared<BoxFuture<'static, Measurement>>>;

/// The providers. Clones share what is on its way.
#[derive(Clone)]
pub(super) struct Providers {
    store: Store,
    http: Http,
    identities: Identities,
    in_flight: Arc<Semaphore>,
    asked: Arc<Mutex<Asked>>,
}

impl Providers {
    pub fn new(context: &Context) -> Self {
        Self {
            store: context.store.clone(),
            http: context.http.clone(),
            identities: Identities::new(context.http.clone()),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            asked: Arc::default(),
        }
    }

    /// The answer to an inquiry; the one on its way if somebody asks the same just now.
    pub async fn ask(&self, inquiry: Inquiry) -> Measurement {
        self.shared(Arc::new(inquiry)).await
    }

    fn shared(&self, inquiry: Arc<Inquiry>) -> Answer {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = asked.get(&inquiry).and_then(WeakShared::upgrade) {
            return answer;
        }
        asked.retain(|_, answer| answer.upgrade().is_some());
        let (this, question) = (self.clone(), inquiry.clone());
        let answer = async move { this.answer(&question).await }.boxed().shared();
        asked.extend(answer.downgrade().map(|weak| (inquiry, weak)));
        answer
    }

    async fn answer(&self, inquiry: &Inquiry) -> Measurement {
        let _permit = self.in_flight.acquire().await;
        let provider = &inquiry.provider;
        let secret = match &provider.secret_ref {
            None => None,
            Some(reference) => match credentials(&self.store, &inquiry.namespace, reference).await {
                Ok(credentials) => Some(credentials),
                Err(problem) => return Measurement::Invalid(problem),
            },
        };
        let outcome = match (&inquiry.query, provider.kind.as_str()) {
            // There is nothing to ask but the cluster itself.
            (None, keptn::NAME) => Ok(1.0),
            (Some(query), keptn::NAME) => self.ask_keptn(query).await,
            _ => self.ask_server(inquiry, secret.as_ref()).await,
        };
        match outcome {
            Ok(value) => Measurement::Value(value),
            Err(Problem::NoValues(text)) => Measurement::NoData(text),
            Err(Problem::Other(text)) => Measurement::Error(without_secrets(text, secret.as_ref())),
        }
    }

    /// A value, or 1 from a provider that works.
    async fn ask_server(&self, inquiry: &Inquiry, secret: Option<&Credentials>) -> Result<f64, Problem> {
        let provider = &inquiry.provider;
        let query = inquiry.query.as_deref();
        let make = |login: Option<&Login>| {
            let (now, interval) = (clock::now(), inquiry.interval.as_str());
            let ask = Ask { provider, secret, login, query: query.unwrap_or_default(), interval, now };
            if query.is_some() { provider::request(&ask) } else { provider::online(&ask) }
        };
        let request = match make(None) {
            Err(Error::NoLogin(identity)) => make(Some(&self.login(identity, provider, secret).await?))?,
            made => made?,
        };
        let response = self.send(request, provider, secret).await?;
        match query {
            Some(_) => Ok(provider::value(provider, &response)?),
            None => Ok(provider::is_online(provider, &response).map(|()| 1.0)?),
        }
    }

    async fn login(
        &self,
        identity: Identity,
        provider: &MetricProvider,
        secret: Option<&Credentials>,
    ) -> Result<Login, Problem> {
        let login = match identity {
            Identity::Aws => self.identities.aws(&provider.region).await.map(Login::Aws),
            Identity::Google => {
                let key = secret.and_then(|secret| secret.get("serviceAccountKey")).map(Vec::as_slice);
                self.identities.google(key, GOOGLE_SCOPE).await.map(Login::Google)
            }
        };
        login.map_err(|problem| Problem::Other(format!("login for {} failed: {problem}", provider.kind)))
    }

    async fn send(
        &self,
        request: Request,
        provider: &MetricProvider,
        secret: Option<&Credentials>,
    ) -> Result<Response, Problem> {
        if request.uri().authority().is_none() {
            let answer = self.store.get_path(&request.uri().to_string()).await;
            let body = answer.map_err(|error| Problem::Other(format!("request failed: {error}")))?;
            return Ok(http::Response::new(Bytes::from(body.to_string())));
        }
        let endpoint = Endpoint {
            timeout: provider::timeout(provider),
            limit: ANSWER_LIMIT,
            ca: pem(secret, &["ca.crt", "caFile"]),
            identity: pem(secret, &["tls.crt", "certFile"])
                .zip(pem(secret, &["tls.key", "keyFile"]))
                .map(|(certificate, key)| [certificate, b"\n".to_vec(), key].concat()),
            insecure_skip_verify: provider.insecure_skip_verify,
            ..Endpoint::default()
        };
        let (mut retries, mut wait) = (RETRIES, FIRST_WAIT);
        loop {
            match self.http.send(request.clone(), &endpoint).await {
                Err(HttpError::Unreachable(_)) if retries > 0 => {
                    clock::sleep(wait).await;
                    (retries, wait) = (retries - 1, wait * 2);
                }
                sent => return sent.map_err(|error| Problem::Other(format!("request failed: {error}"))),
            }
        }
    }

    async fn ask_keptn(&self, query: &str) -> Result<f64, Problem> {
        let wanted = match keptn::question(query)? {
            keptn::Question::Metric(id) => {
                let metric = self.store.find(&id).await.map_err(other)?;
                let metric = metric.ok_or_else(|| Problem::Other(format!("could not retrieve {id}: not found")))?;
                return Ok(keptn::value(&metric)?);
            }
            keptn::Question::Analysis(wanted) => keptn::analysis(wanted, clock::random()),
        };
        let made = self.store.apply(SOURCE, &wanted).await.map_err(other)?;
        let id = ObjectReference::of(&made).ok_or_else(|| Problem::Other("the Analysis has no name".into()))?;
        let until = clock::instant() + keptn::TIMEOUT;
        let verdict = loop {
            clock::sleep(keptn::LOOK).await;
            match self.store.find(&id).await.map(|found| found.as_ref().and_then(keptn::verdict)) {
                Ok(Some(verdict)) => break Ok(verdict),
                Ok(None) if clock::instant() < until => {}
                Ok(None) => break Err(Problem::Other(format!("timeout while waiting for {id} to be finished"))),
                Err(error) => break Err(other(error)),
            }
        };
        if let Err(error) = self.store.delete(&id).await {
            tracing::warn!(%error, analysis = %id, "finished Analysis was not deleted");
        }
        verdict
    }
}

/// Why there is no number.
enum Problem {
    NoValues(String),
    Other(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        if error == Error::NoValues { Self::NoValues(text) } else { Self::Other(text) }
    }
}

fn other(error: reconcile::Error) -> Problem {
    Problem::Other(error.to_string())
}

/// The data of a Secret.
pub(super) async fn credentials(
    store: &Store,
    namespace: &str,
    reference: &LocalReference,
) -> Result<Credentials, String> {
    let name = &reference.name;
    let secret: Secret = match store.get(namespace, name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return Err(format!("secret {name}.{namespace} error: not found")),
        Err(error) => return Err(format!("secret {name}.{namespace} error: {error}")),
    };
    let data = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0));
    let text = secret.string_data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    Ok(data.chain(text).collect::<BTreeMap<_, _>>())
}

/// A certificate or key under the first of these keys that is there.
fn pem(secret: Option<&Credentials>, keys: &[&str]) -> Option<Vec<u8>> {
    let secret = secret?;
    keys.iter().find_map(|key| secret.get(*key).cloned())
}

/// A server may repeat what it was sent; what people read must not.
fn without_secrets(mut text: String, secret: Option<&Credentials>) -> String {
    for value in secret.into_iter().flat_map(BTreeMap::values) {
        let value = String::from_utf8_lossy(value);
        let value = value.trim();
        if value.len() >= SHORTEST_SECRET {
            text = text.replace(value, "***");
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
