//! Webhooks: finds the Receiver of a path, has the call judged, and wakes what the Receiver names.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use api::{
    conditions,
    meta::ObjectReference,
    notification::{Receiver, ReceiverResource},
};
use expression::Expression;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Context, Shutdown, clock, object, watcher};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Settings,
    identity::Identities,
    poke::{self, Poke, Poker},
};
use crate::receiver::{
    self, Hook, SecretData,
    confirm::{self, Confirm},
    jwt::Token,
    payload,
    readiness::{self, Network},
    resources::{self, Target},
};

/// Most bytes of a body that is read. Source: reference image-automation.md section 9.3.
pub const MAX_BODY_BYTES: usize = 3 << 20;

/// A Receiver as calls meet it.
#[derive(Debug)]
pub struct Known {
    receiver: Receiver,
    filters: Vec<Option<Result<Expression, String>>>,
    networks: Vec<Network>,
    confirm: Option<Confirm>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status that the caller gets.
    pub status: StatusCode,
    /// Objects that were asked for a reconcile.
    pub woken: Vec<ObjectReference>,
    /// What went wrong; for the log, never for the caller.
    pub problems: Vec<String>,
}

impl Answer {
    fn refusing(status: StatusCode, problem: impl Into<String>) -> Self {
        Self { status, woken: Vec::new(), problems: vec![problem.into()] }
    }
}

impl Known {
    /// A Receiver with its filters read.
    pub fn new(receiver: Receiver) -> Self {
        let spec = &receiver.spec;
        let filter = |resource: &ReceiverResource| {
            let own = Some(&resource.filter).filter(|filter| !filter.is_empty()).unwrap_or(&spec.resource_filter);
            (!own.is_empty()).then(|| readiness::filter(own, spec.kind).map_err(|error| error.to_string()))
        };
        let filters = spec.resources.iter().map(filter).collect();
        // An annotation that cannot be read keeps the Receiver from being Ready.
        let networks = readiness::networks(&receiver).unwrap_or_default();
        let confirm = confirm::read(&receiver).unwrap_or_default();
        Self { receiver, filters, networks, confirm }
    }

    /// Whether calls are taken at all, told before a body is read.
    pub fn is_open(&self, peer: Option<IpAddr>) -> Result<(), Answer> {
        let ready = self
            .receiver
            .status
            .as_ref()
            .is_some_and(|status| conditions::is_true(&status.conditions, conditions::READY));
        if self.receiver.spec.suspend || !ready {
            return Err(Answer::refusing(StatusCode::SERVICE_UNAVAILABLE, "the receiver is suspended or not ready"));
        }
        let is_allowed = peer.is_none_or(|peer| self.networks.iter().any(|network| network.holds(peer)));
        if !self.networks.is_empty() && !is_allowed {
            return Err(Answer::refusing(StatusCode::FORBIDDEN, "the caller's address is not on the receiver's list"));
        }
        Ok(())
    }
}

/// The Receivers by path, and what is needed to answer their calls.
pub struct Hooks {
    context: Context,
    no_cross_namespace_refs: bool,
    identities: Identities,
    known: RwLock<HashMap<String, Arc<Known>>>,
    poker: Poker,
    pokes: Mutex<Option<mpsc::Receiver<Poke>>>,
}

impl Hooks {
    /// Knows no Receiver before [`Hooks::run`].
    pub fn new(context: Context, settings: &Settings) -> Arc<Self> {
        let (poker, pokes) = Poker::new();
        Arc::new(Self {
            identities: Identities::new(context.http.clone(), settings.google_keys.clone()),
            no_cross_namespace_refs: settings.no_cross_namespace_refs,
            context,
            known: RwLock::default(),
            poker,
            pokes: Mutex::new(Some(pokes)),
        })
    }

    /// Follows the Receivers and wakes objects, until told to stop.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let pokes = self.pokes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let follow = self.follow();
        let wake = async {
            if let Some(pokes) = pokes {
                poke::run(self.context.store.clone(), pokes).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(follow, wake); } => {}
        }
    }

    async fn follow(&self) {
        let mut changes = self.context.store.watch::<Receiver>();
        let mut fresh = HashMap::new();
        while let Some(change) = changes.next().await {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            match change {
                Ok(watcher::Event::Init) => fresh.clear(),
                Ok(watcher::Event::InitApply(receiver)) => drop(put(&mut fresh, receiver)),
                Ok(watcher::Event::InitDone) => *known = std::mem::take(&mut fresh),
                Ok(watcher::Event::Apply(receiver)) => {
                    known.retain(|_, known| !is_same(&known.receiver, &receiver));
                    put(&mut known, receiver);
                }
                Ok(watcher::Event::Delete(receiver)) => known.retain(|_, known| !is_same(&known.receiver, &receiver)),
                Err(error) if error.is_interruption() => {}
                Err(error) => tracing::warn!(%error, "receivers are not followed for a moment"),
            }
        }
    }

    /// The Receiver that listens on the path, the whole of the request's URI.
    pub async fn find(&self, uri: &str) -> Result<Arc<Known>, Answer> {
        let unknown = || Answer::refusing(StatusCode::NOT_FOUND, "no receiver listens on this path");
        let found = self.known.read().unwrap_or_else(PoisonError::into_inner).get(uri).cloned();
        if let Some(found) = found {
            return Ok(found);
        }
        // Its status may just have been written; on one machine a look costs next to nothing.
        if !self.context.store.is_standalone() || !uri.starts_with("/hook/") {
            return Err(unknown());
        }
        let all = self.context.store.list::<Receiver>(None).await;
        let all = all.map_err(|error| Answer::refusing(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let found = all.into_iter().find(|receiver| path(receiver) == Some(uri));
        found.map(|receiver| Arc::new(Known::new(receiver))).ok_or_else(unknown)
    }

    /// Judges a call and wakes the Receiver's resources.
    pub async fn answer(&self, known: &Known, headers: &HeaderMap, body: &[u8]) -> Answer {
        let spec = &known.receiver.spec;
        let hook = Hook { headers, body };
        let claims = match self.judge(known, hook).await {
            Ok(claims) => claims,
            Err(problem) => return Answer::refusing(StatusCode::BAD_REQUEST, problem),
        };
        let announced = known.confirm.as_ref().map(|confirm| confirm.names(spec.kind, hook)).transpose();
        let announced = match announced {
            Ok(announced) => announced,
            Err(refusal) => return Answer::refusing(StatusCode::BAD_REQUEST, refusal.to_string()),
        };
        let mut answer = Answer { status: StatusCode::OK, woken: Vec::new(), problems: Vec::new() };
        let mut seen = None;
        if known.filters.iter().any(Option::is_some) {
            match payload::request(spec.kind, hook) {
                Ok(request) => seen = Some((request, claims.unwrap_or_else(|| json!({})))),
                Err(problem) => return Answer::refusing(StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()),
            }
        }
        for (resource, filter) in spec.resources.iter().zip(&known.filters) {
            let filter = match filter {
                Some(Ok(filter)) => seen.as_ref().map(|(request, claims)| Filter { filter, request, claims }),
                Some(Err(problem)) => {
                    answer.problems.push(problem.clone());
                    continue;
                }
                None => None,
            };
            let call = Call { filter, announced: announced.as_deref() };
            if let Err(problem) = self.wake(known, resource, call, &mut answer.woken).await {
                answer.problems.push(problem);
            }
        }
        if !answer.problems.is_empty() {
            answer.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        answer
    }

    async fn judge(&self, known: &Known, hook: Hook<'_>) -> Result<Option<Value>, String> {
        let spec = &known.receiver.spec;
        let secret = self.secret(&known.receiver).await?;
        let keys = match receiver::issuer(spec, hook).map_err(|refusal| refusal.to_string())? {
            Some(issuer) => {
                let bearer = std::str::from_utf8(hook.header("authorization")).unwrap_or_default();
                let token = Token::parse(bearer.trim_start_matches("Bearer ").trim());
                let key = token.as_ref().ok().and_then(Token::key);
                Some(self.identities.keys(&issuer, key).await?)
            }
            None => None,
        };
        receiver::verify(spec, &secret, hook, keys.as_deref(), clock::now()).map_err(|refusal| refusal.to_string())
    }

    async fn secret(&self, receiver: &Receiver) -> Result<SecretData, String> {
        let Some(reference) = &receiver.spec.secret_ref else { return Ok(SecretData::new()) };
        let namespace = receiver.namespace().unwrap_or_default();
        let found = self.context.store.get::<Secret>(&namespace, &reference.name).await;
        let missing = || format!("unable to read token from secret '{namespace}/{}': not found", reference.name);
        let secret = found.map_err(|error| error.to_string())?.ok_or_else(missing)?;
        Ok(secret.data.unwrap_or_default())
    }

    async fn wake(
        &self,
        known: &Known,
        resource: &ReceiverResource,
        call: Call<'_>,
        woken: &mut Vec<ObjectReference>,
    ) -> Result<(), String> {
        let own = known.receiver.namespace().unwrap_or_default();
        let store = &self.context.store;
        let found = match resources::target(resource, &own, self.no_cross_namespace_refs)? {
            // Nothing but its name is needed: that it is there is seen when it is written.
            Target::One(id) if call.filter.is_none() => {
                self.poker.poke(id.clone(), call.announced).await?;
                woken.push(id);
                return Ok(());
            }
            Target::One(id) => {
                let found = store.find(&id).await.map_err(|error| format!("unable to read {id}: {error}"))?;
                vec![found.ok_or_else(|| format!("unable to read {id}: not found"))?]
            }
            Target::Labelled(kind, labels) => {
                let all = store.list_values(&kind, Some(&kind.namespace)).await;
                let mut all = all.map_err(|error| format!("unable to list {}: {error}", kind.kind))?;
                all.retain(|object| resources::carries(object, &labels));
                all
            }
        };
        for object in found {
            if let Some(filter) = &call.filter
                && !filter.passes(&object)?
            {
                continue;
            }
            let id = object::require_reference(&object).map_err(|error| error.to_string())?;
            self.poker.poke(id.clone(), call.announced).await?;
            woken.push(id);
        }
        Ok(())
    }
}

/// What a call means for a resource.
struct Call<'a> {
    filter: Option<Filter<'a>>,
    /// Tags and digests that the registry is to confirm; none if the call is believed.
    announced: Option<&'a [String]>,
}

/// A filter with what it is told of the call.
struct Filter<'a> {
    filter: &'a Expression,
    request: &'a Value,
    claims: &'a Value,
}

impl Filter<'_> {
    fn passes(&self, object: &Value) -> Result<bool, String> {
        let resource = resources::seen_by_filters(object);
        let holds = self.filter.holds(&[("req", self.request), ("res", &resource), ("claims", self.claims)]);
        holds.map_err(|error| error.to_string())
    }
}

fn path(receiver: &Receiver) -> Option<&str> {
    receiver.status.as_ref().map(|status| status.webhook_path.as_str()).filter(|path| !path.is_empty())
}

fn put(known: &mut HashMap<String, Arc<Known>>, receiver: Receiver) -> Option<Arc<Known>> {
    let path = path(&receiver)?.to_owned();
    known.insert(path, Arc::new(Known::new(receiver)))
}

fn is_same(one: &Receiver, other: &Receiver) -> bool {
    one.name_any() == other.name_any() && one.namespace() == other.namespace()
}
