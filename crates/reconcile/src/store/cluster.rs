//! The store of a cluster: the Kubernetes API through `kube`, with the same verbs.

mod cached;
mod events;
mod gate;
mod known;
mod watch;
mod whole;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use api::meta::ObjectReference;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::{
    Api, Client, Resource as _,
    api::{ApiResource, DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind, Request as Requests},
    discovery::{self, Scope as Reach},
};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

pub use gate::Rate;

use self::{cached::Followed, events::Told, gate::Gate, whole::Whole};
use crate::{Database, Error, Metrics, Result, object::effective_namespace, store::merge};

/// Objects asked for at once; longer lists come in pages.
const PAGE: u32 = 500;

/// Whether an apply is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    DryRun,
}

/// Which part of the cluster is this process's to work on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only objects of this namespace are listed and watched; none means all namespaces.
    pub namespace: Option<String>,
    /// Only objects with these labels are worked on: the shard. What they refer to may lie outside of it.
    pub selector: Option<String>,
}

/// A request, or why there can be none.
type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Where each kind is served, by API version and kind.
type Kinds = HashMap<(String, String), (ApiResource, Reach)>;

/// What all clones share.
struct Shared {
    gate: Gate,
    database: Database,
    scope: Scope,
    kinds: Mutex<Kinds>,
    /// Held by who asks where a kind is served.
    asking: tokio::sync::Mutex<()>,
    told: Mutex<Told>,
    /// Clients that act as a service account, by the account's user name.
    accounts: Mutex<HashMap<String, Client>>,
    /// What is known of kinds that are followed, by API version and kind.
    known: Mutex<HashMap<(String, String), Followed>>,
}

/// The Kubernetes API. Clones share the connection and what was learned.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    shared: Arc<Shared>,
    /// Whether this acts with other rights than our own.
    is_other: bool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// The store of the cluster this client talks to, not faster than the rate allows.
    /// The database keeps what has no place in the API, such as tags.
    pub fn new(client: Client, database: Database, scope: Scope, rate: Rate) -> Self {
        let gate = Gate::new(client, rate);
        let (kinds, asking, told, accounts, known) = Default::default();
        let client = gate.client(None);
        let shared = Arc::new(Shared { gate, database, scope, kinds, asking, told, accounts, known });
        Self { client, shared, is_other: false }
    }

    /// Has the requests to the API server counted among the metrics.
    pub fn measured(self, metrics: &Metrics) -> Self {
        let requests = self.shared.gate.requests();
        metrics.register(|registry| requests.register(registry));
        self
    }

    pub(crate) fn database(&self) -> &Database {
        &self.shared.database
    }

    /// The same store, acting with the rights of a service account. Errs on an empty name: nobody in particular would
    /// be us.
    pub(crate) fn acting_as(&self, namespace: &str, account: &str) -> Result<Self> {
        if namespace.is_empty() || account.is_empty() {
            let problem = "a service account to act as needs a namespace and a name".to_owned();
            return Err(Error::Invalid { object: format!("ServiceAccount/{namespace}/{account}"), problem });
        }
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let header = http::HeaderValue::from_str(&user)
            .map_err(|error| Error::Invalid { object: user.clone(), problem: error.to_string() })?;
        let mut accounts = self.shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let client = accounts.entry(user).or_insert_with(|| self.shared.gate.client(Some(header))).clone();
        Ok(Self { client, shared: self.shared.clone(), is_other: true })
    }

    /// Where objects of a kind are served. Asked once; a kind that is not there yet is asked for again.
    async fn kind(&self, id: &ObjectReference) -> Result<(ApiResource, Reach)> {
        let key = (id.api_version.clone(), id.kind.clone());
        let known = || self.shared.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known() {
            return Ok(known);
        }
        // Many objects of a kind ask at once when slipway starts.
        let _alone = self.shared.asking.lock().await;
        if let Some(known) = known() {
            return Ok(known);
        }
        let gvk = GroupVersionKind::gvk(id.group(), id.version(), &id.kind);
        let (resource, capabilities) = match discovery::pinned_kind(&self.client, &gvk).await {
            Ok(found) => found,
            Err(error) if matches!(error, kube::Error::Discovery(_)) || code(&error) == Some(404) => {
                return Err(Error::UnknownKind { api_version: id.api_version.clone(), kind: id.kind.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        let found = (resource, capabilities.scope);
        self.shared.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    /// Requests about objects of this one's kind, where it is.
    async fn requests(&self, id: &ObjectReference) -> Result<Requests> {
        let (resource, reach) = self.kind(id).await?;
        let namespace = (reach == Reach::Namespaced).then(|| effective_namespace("", &id.namespace));
        Ok(Requests::new(DynamicObject::url_path(&resource, namespace)))
    }

    /// The object that the API server answers with. `kube` would read it with code built for size.
    async fn answer(&self, id: &ObjectReference, request: Built) -> kube::Result<Value> {
        let text = self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
        api::manifest::stored(&text).map(|object| of_kind(id, object)).map_err(kube::Error::SerdeError)
    }

    /// Sends a request of which nobody needs the answer.
    async fn unread(&self, request: Built) -> kube::Result<()> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        self.client.request::<IgnoredAny>(request).await.map(drop)
    }

    pub(crate) async fn find(&self, id: &ObjectReference) -> Result<Option<Value>> {
        let request = self.requests(id).await?.get(&id.name, &GetParams::default());
        match self.answer(id, request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed(id, error)),
        }
    }

    pub(crate) async fn find_with_owners(&self, id: &ObjectReference) -> Result<Option<Value>> {
        let request = self.requests(id).await?.get(&id.name, &GetParams::default());
        let request = request.map_err(|error| failed(id, kube::Error::BuildRequest(error)))?;
        match self.client.request::<Value>(request).await {
            Ok(object) => Ok(Some(of_kind(id, object))),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed(id, error)),
        }
    }

    pub(crate) async fn list(&self, kind: &ObjectReference, namespace: Option<&str>) -> Result<Vec<Value>> {
        let (resource, reach) = self.kind(kind).await?;
        let api: Api<Whole> = match (namespace.or(self.shared.scope.namespace.as_deref()), reach) {
            (Some(namespace), Reach::Namespaced) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        };
        let mut parameters = ListParams::default().limit(PAGE);
        let mut listed = Vec::new();
        loop {
            let page = match api.list(&parameters).await {
                Ok(page) => page,
                // The snapshot that the pages are of is gone: once more, in one piece.
                Err(error) if code(&error) == Some(410) && parameters.continue_token.is_some() => {
                    listed.clear();
                    parameters = ListParams::default();
                    continue;
                }
                Err(error) => return Err(failed(kind, error)),
            };
            listed.extend(page.items.into_iter().map(|whole| of_kind(kind, whole.object)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(listed),
            }
        }
    }

    pub(crate) async fn apply(&self, manager: &str, id: &ObjectReference, object: &Value, mode: Mode) -> Result<Value> {
        let body = merge::applicable(object.clone());
        let parameters = PatchParams { dry_run: mode == Mode::DryRun, ..PatchParams::apply(manager).force() };
        let (requests, body) = (self.requests(id).await?, Patch::Apply(&body));
        let apply = insisted(id, || self.answer(id, requests.patch(&id.name, &parameters, &body)));
        if mode == Mode::Write { self.noted(id, apply).await } else { apply.await }
    }

    pub(crate) async fn patch(&self, id: &ObjectReference, manager: &str, merge: &Value) -> Result<Value> {
        let (requests, parameters, body) = (self.requests(id).await?, by(manager), Patch::Merge(merge));
        let patch = || self.answer(id, requests.patch(&id.name, &parameters, &body));
        self.noted(id, async {
            match merge.pointer("/metadata/resourceVersion") {
                Some(Value::String(_)) => patch().await.map_err(|error| failed(id, error)),
                _ => insisted(id, patch).await,
            }
        })
        .await
    }

    pub(crate) async fn write_status(&self, id: &ObjectReference, manager: &str, merge: &Value) -> Result<Value> {
        if let Some(unchanged) = self.unchanged_by(id, merge) {
            return Ok(unchanged);
        }
        let (parameters, body) = (by(manager), Patch::Merge(json!({ "status": merge })));
        let requests = self.requests(id).await?;
        let patch = || self.answer(id, requests.patch_subresource("status", &id.name, &parameters, &body));
        self.noted(id, insisted(id, patch)).await
    }

    pub(crate) async fn delete(&self, id: &ObjectReference) -> Result<bool> {
        let request = self.requests(id).await?.delete(&id.name, &DeleteParams::background());
        let deleted = self.unread(request).await;
        self.doubts(id);
        match deleted {
            Ok(()) => Ok(true),
            Err(error) if code(&error) == Some(404) => Ok(false),
            Err(error) => Err(failed(id, error)),
        }
    }

    pub(crate) async fn get_path(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new());
        let request =
            request.map_err(|error| Error::Invalid { object: path.to_owned(), problem: error.to_string() })?;
        Ok(self.client.request(request).await?)
    }

    /// Source: Kubernetes API, `TokenRequest`; ten minutes is the shortest life that it gives.
    pub(crate) async fn account_token(&self, namespace: &str, name: &str, audience: &str) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let spec = json!({"spec": {"audiences": [audience], "expirationSeconds": 600}});
        let asked: TokenRequest = serde_json::from_value(spec).expect("because these are its fields");
        let given = api.create_token_request(name, &PostParams::default(), &asked).await?;
        let token = given.status.map(|status| status.token).filter(|token| !token.is_empty());
        token.ok_or_else(|| Error::NotFound(format!("the API server gave no token for {namespace}/{name}")))
    }
}

/// Tries of a write that names no version and so has nothing to conflict with: others were just quicker.
const TRIES: u32 = 4;

/// A write that names no version, repeated when others were quicker.
async fn insisted<F>(id: &ObjectReference, write: impl Fn() -> F) -> Result<Value>
where
    F: Future<Output = kube::Result<Value>>,
{
    let mut tries = 1;
    loop {
        match write().await {
            Ok(object) => return Ok(object),
            Err(error) if code(&error) == Some(409) && tries < TRIES => tries += 1,
            Err(error) => return Err(failed(id, error)),
        }
    }
}

fn by(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() }
}

/// The object with its type, which lists leave out of their items.
fn of_kind(id: &ObjectReference, mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| id.api_version.clone().into());
        fields.entry("kind").or_insert_with(|| id.kind.clone().into());
    }
    object
}

/// The HTTP status that the API server answered with.
fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What a refusal means for the object.
fn failed(id: &ObjectReference, error: kube::Error) -> Error {
    let kube::Error::Api(status) = error else { return error.into() };
    match status.code {
        404 => Error::NotFound(id.to_string()),
        409 => Error::Conflict(id.to_string()),
        // The API server calls it an internal error when a field of an applied object has another type than its kind says.
        500 if status.message.contains("failed to create typed patch object") => {
            Error::Invalid { object: id.to_string(), problem: status.message.clone() }
        }
        400 | 422 => Error::Invalid { object: id.to_string(), problem: status.message.clone() },
        _ => Error::Refused { object: id.to_string(), problem: status.message.clone() },
    }
}
