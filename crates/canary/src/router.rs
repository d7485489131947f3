//! Which objects send which share of requests where: one file per provider, each two pure functions,
//! `routes` (weights in, objects out) and `weights` (objects in, weights out).
//!
//! Pure. The shell fetches what [`objects`] names, hands it in as `current`, and applies what comes out.

mod contour;
mod cookie;
mod gatewayapi;
mod istio;
mod kubernetes;
mod nginx;
mod provider;
mod traefik;

use std::collections::BTreeMap;

use api::{flagger::Canary, meta::ObjectReference};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use cookie::Cookies;
pub use provider::Provider;

/// Annotations that keep Flux from undoing what a rollout does to an object.
pub const UNMANAGED: [(&str, &str); 2] =
    [("helm.toolkit.fluxcd.io/driftDetection", "disabled"), ("kustomize.toolkit.fluxcd.io/reconcile", "disabled")];

/// Shares of requests in percent, and whether the canary also gets a copy of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct Weights {
    /// To the primary.
    pub primary: u32,
    /// To the canary.
    pub canary: u32,
    /// Whether requests are copied to the canary.
    pub mirrored: bool,
}

impl Weights {
    /// All to the primary: how every route begins and ends.
    pub const PRIMARY: Self = Self { primary: 100, canary: 0, mirrored: false };
}

/// What the controller's options say about routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Provider of Canaries that name none (`--mesh-provider`).
    pub mesh_provider: String,
    /// Whether routing objects are owned by their Canary; not if they live in another cluster.
    pub owned: bool,
    /// `ingressClassName` of the routing objects that have one (`--ingress-class`); empty leaves it out.
    pub ingress_class: String,
    /// Prefix of ingress-nginx's annotations (`--ingress-annotations-prefix`).
    pub ingress_annotations_prefix: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mesh_provider: "istio".into(),
            owned: true,
            ingress_class: String::new(),
            ingress_annotations_prefix: "nginx.ingress.kubernetes.io".into(),
        }
    }
}

/// What to write so that traffic goes as wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Objects to apply; each holds only the fields that are ours.
    pub apply: Vec<Value>,
    /// The session cookies to remember in the Canary's status, if it has session affinity.
    pub cookies: Option<Cookies>,
}

/// Why a route cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The Canary asks for what the provider cannot do, or leaves out what it needs. The text is the reference's.
    #[error("{0}")]
    Invalid(String),
    /// A routing object is not there.
    #[error("{kind} {name}.{namespace} get error: not found")]
    NotFound {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// A routing object does not have the shape that we gave it.
    #[error("{kind} {name}.{namespace} {problem}")]
    Unreadable {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What is wrong.
        problem: String,
    },
    /// No such router is built in.
    #[error(
        "provider {0:?} is not supported; use gatewayapi:v1, gatewayapi:v1beta1, istio, nginx, contour, traefik or kubernetes"
    )]
    Unsupported(String),
}

/// The objects whose present state [`routes`], [`reconcile()`] and [`weights`] need.
pub fn objects(canary: &Canary, options: &Options) -> Result<Vec<ObjectReference>, Error> {
    match Provider::of(canary, options) {
        Provider::Kubernetes => Ok(Vec::new()),
        Provider::GatewayApi(version) => Ok(vec![gatewayapi::reference(canary, version)]),
        Provider::Istio => Ok(istio::references(canary)),
        Provider::Nginx => nginx::references(canary).map(Vec::from),
        Provider::Contour => Ok(vec![contour::reference(canary)]),
        Provider::Traefik => Ok(vec![traefik::reference(canary)]),
        other => Err(Error::Unsupported(other.to_string())),
    }
}

/// The objects that send requests by `weights`. `random` makes up session cookies and nothing else.
///
/// What a user or another controller put on the objects is kept where the provider's form allows it.
pub fn routes(
    canary: &Canary,
    options: &Options,
    weights: Weights,
    current: &[Value],
    random: u64,
) -> Result<Change, Error> {
    match Provider::of(canary, options) {
        Provider::Kubernetes => Ok(Change::default()),
        Provider::GatewayApi(version) => gatewayapi::routes(canary, options, version, weights, current, random),
        Provider::Istio => istio::routes(canary, options, weights, current, random),
        Provider::Nginx => nginx::routes(canary, options, weights, current),
        Provider::Contour => contour::routes(canary, options, weights, current),
        Provider::Traefik => Ok(traefik::routes(canary, options, weights, current)),
        other => Err(Error::Unsupported(other.to_string())),
    }
}

/// What brings the objects in line with the Canary's spec while traffic stays as it is; nothing if they are.
///
/// Differs: the original goes back to 100/0 whenever anything about the object changed, in the middle of a run too
/// (reference progressive-delivery.md, B.8 defect 5). Here only an object that is missing or unreadable starts at 100/0.
pub fn reconcile(canary: &Canary, options: &Options, current: &[Value], random: u64) -> Result<Option<Change>, Error> {
    let present = match Provider::of(canary, options) {
        // A route that is not accepted yet has weights too.
        Provider::GatewayApi(version) => gatewayapi::read(canary, version, current).ok(),
        _ => weights(canary, options, current).ok(),
    };
    let change = routes(canary, options, present.unwrap_or(Weights::PRIMARY), current, random)?;
    let settled = change.apply.iter().all(|ours| is_settled(current, ours));
    Ok((!settled).then_some(change))
}

/// The shares in effect, as the objects say. An error means that they cannot be relied on yet: the run waits.
pub fn weights(canary: &Canary, options: &Options, current: &[Value]) -> Result<Weights, Error> {
    match Provider::of(canary, options) {
        Provider::Kubernetes => Ok(kubernetes::weights(canary)),
        Provider::GatewayApi(version) => gatewayapi::weights(canary, version, current),
        Provider::Istio => istio::weights(canary, current),
        Provider::Nginx => nginx::weights(canary, options, current),
        Provider::Contour => contour::weights(canary, current),
        Provider::Traefik => traefik::weights(canary, current),
        other => Err(Error::Unsupported(other.to_string())),
    }
}

/// What to apply when a Canary that asks for it is deleted: the route that was there before, where it is known.
/// Source: reference progressive-delivery.md, A.9.
pub fn finalize(canary: &Canary, options: &Options, current: &[Value]) -> Vec<Value> {
    match Provider::of(canary, options) {
        Provider::Istio => istio::finalize(canary, current),
        _ => Vec::new(),
    }
}

/// The object as it will be once `ours` is applied to the one of its name among `current`.
pub fn applied(current: &[Value], ours: &Value) -> Value {
    let live = ObjectReference::of(ours).and_then(|wanted| find(current, &wanted));
    let mut merged = merged(live, ours);
    if nginx::is_copy(ours) {
        // Labels, annotations and spec of a copy are all ours: what is no longer in them goes.
        merged["spec"] = ours["spec"].clone();
        for member in ["labels", "annotations"] {
            merged["metadata"][member] = ours["metadata"][member].clone();
        }
    }
    merged
}

/// Whether applying `ours` would change nothing.
fn is_settled(current: &[Value], ours: &Value) -> bool {
    let live = ObjectReference::of(ours).and_then(|wanted| find(current, &wanted));
    live.is_some_and(|live| same(&applied(current, ours), live))
}

/// The object as it will be once `ours` is applied to `live`: maps are merged, everything else is replaced.
pub fn merged(live: Option<&Value>, ours: &Value) -> Value {
    let (Some(Value::Object(live)), Value::Object(ours)) = (live, ours) else { return ours.clone() };
    let mut merged = live.clone();
    for (key, value) in ours {
        let value = self::merged(live.get(key), value);
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}

/// The current object that `wanted` names; its API version does not matter.
fn find<'a>(current: &'a [Value], wanted: &ObjectReference) -> Option<&'a Value> {
    current.iter().find(|object| {
        ObjectReference::of(object).is_some_and(|found| {
            let namespace = if found.namespace.is_empty() { "default" } else { &found.namespace };
            found.kind == wanted.kind
                && found.group() == wanted.group()
                && found.name == wanted.name
                && namespace == wanted.namespace
        })
    })
}

/// Whether two objects are equal but for empty members, which an API server leaves out.
fn same(a: &Value, b: &Value) -> bool {
    fn pruned(value: &Value) -> Value {
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::Object(members) => members.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(key, value)| (key.clone(), pruned(value)))
                .filter(|(_, value)| !empty(value))
                .collect::<Map<_, _>>()
                .into(),
            Value::Array(items) => items.iter().map(pruned).collect::<Vec<_>>().into(),
            other => other.clone(),
        }
    }
    pruned(a) == pruned(b)
}

/// The names of the apex, primary and canary services.
pub fn service_names(canary: &Canary) -> (String, String, String) {
    let apex = canary.service_name();
    (apex.to_owned(), format!("{apex}-primary"), format!("{apex}-canary"))
}

/// A routing object in the Canary's namespace.
fn reference(canary: &Canary, api_version: &str, kind: &str, name: &str) -> ObjectReference {
    let namespace = canary.namespace().into();
    ObjectReference { api_version: api_version.into(), kind: kind.into(), namespace, name: name.into() }
}

/// The current object that `wanted` names, or why there is none.
fn existing<'a>(current: &'a [Value], wanted: &ObjectReference, kind: &'static str) -> Result<&'a Value, Error> {
    let missing = || Error::NotFound { kind, name: wanted.name.clone(), namespace: wanted.namespace.clone() };
    find(current, wanted).ok_or_else(missing)
}

fn unreadable(canary: &Canary, kind: &'static str, problem: &str) -> Error {
    let (name, namespace) = (canary.service_name().into(), canary.namespace().into());
    Error::Unreadable { kind, name, namespace, problem: problem.into() }
}

/// A member that is a list; nothing when it is not there.
fn list<'a>(object: &'a Value, member: &str) -> &'a [Value] {
    object.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The weight of the service of that name in a list of weighted services; 0 when it gives none.
fn share(services: &[Value], name: &str) -> Option<u32> {
    let found = services.iter().find(|service| service["name"] == name)?;
    Some(found["weight"].as_u64().map_or(0, |weight| u32::try_from(weight).unwrap_or(u32::MAX)))
}

/// The owner references of a routing object. One that was there before us is not ours to be deleted with the Canary.
fn owners(canary: &Canary, options: &Options, live: Option<&Value>) -> Option<Value> {
    let is_own = |live: &Value| {
        let owners = live.get("metadata").map_or(&[] as &[Value], |metadata| list(metadata, "ownerReferences"));
        owners.iter().any(|owner| owner["kind"] == "Canary" && owner["name"] == canary.name())
    };
    let owner = owner(canary).filter(|_| options.owned && live.is_none_or(is_own))?;
    Some(json!([owner]))
}

/// Metadata of a routing object: named after the apex service, with its labels and annotations, owned by the Canary.
fn metadata(canary: &Canary, options: &Options, live: Option<&Value>) -> Value {
    let apex = canary.spec.service.apex.clone().unwrap_or_default();
    let mut metadata = json!({
        "name": canary.service_name(),
        "namespace": canary.namespace(),
        "annotations": annotations(&apex.annotations),
    });
    if !apex.labels.is_empty() {
        metadata["labels"] = json!(apex.labels);
    }
    if let Some(owners) = owners(canary, options, live) {
        metadata["ownerReferences"] = owners;
    }
    metadata
}

/// A user's annotations without Flux's own, which belong to the object they were copied from, and with [`UNMANAGED`].
pub fn annotations(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = given.iter().filter(|(key, _)| !key.contains("toolkit.fluxcd.io"));
    let kept = kept.map(|(key, value)| (key.clone(), value.clone()));
    kept.chain(UNMANAGED.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

/// The controller owner reference to the Canary, once the API server gave it a uid.
pub fn owner(canary: &Canary) -> Option<Value> {
    let uid = canary.metadata.uid.as_deref().filter(|uid| !uid.is_empty())?;
    Some(json!({
        "apiVersion": api::flagger::API_VERSION,
        "kind": "Canary",
        "name": canary.name(),
        "uid": uid,
        "controller": true,
        "blockOwnerDeletion": true,
    }))
}

#[cfg(test)]
mod tests;
