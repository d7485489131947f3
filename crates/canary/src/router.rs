//! Which objects send which share of requests where: one file per router, each a `Router` of pure functions, `routes`
//! (weights in, objects out) and `weights` (objects in, weights out).
//!
//! Pure. The shell fetches what [`objects`] names, hands it in as `current`, and applies what comes out. A new router is
//! one file beside this one and one line in `provider.rs`.

mod apisix;
mod contour;
mod cookie;
mod existing;
mod gatewayapi;
mod gloo;
mod ingress;
mod istio;
mod knative;
mod kubernetes;
mod kuma;
mod nginx;
mod ownership;
mod provider;
mod skipper;
mod smi;
mod traefik;

use std::{collections::BTreeMap, time::Duration};

use api::{flagger::Canary, meta::ObjectReference};
use serde::Serialize;
use serde_json::{Value, json};

pub use cookie::Cookies;
pub(crate) use knative::PRIMARY as KNATIVE_PRIMARY;
pub use ownership::{is_named, keeps, merged};
pub use provider::{matches_requests, mirrors};

use crate::path::at;
use ownership::{find, same};

/// Annotations that keep Flux from undoing what a rollout does to an object.
pub const UNMANAGED: [(&str, &str); 2] =
    [("helm.toolkit.fluxcd.io/driftDetection", "disabled"), ("kustomize.toolkit.fluxcd.io/reconcile", "disabled")];

/// Annotation in which kubectl remembers the object that it applied.
pub const KUBECTL: &str = "kubectl.kubernetes.io/last-applied-configuration";

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
    /// Shortest interval between two steps (`--min-analysis-interval`): the primary's session cookie lasts for one.
    pub min_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mesh_provider: "istio".into(),
            owned: true,
            ingress_class: String::new(),
            ingress_annotations_prefix: "nginx.ingress.kubernetes.io".into(),
            min_interval: api::flagger::MIN_INTERVAL,
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

/// What gives traffic back when a Canary that asks for it is deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// Objects to apply.
    pub apply: Vec<Value>,
    /// Objects to delete.
    pub delete: Vec<ObjectReference>,
    /// JSON merge patches.
    pub patch: Vec<(ObjectReference, Value)>,
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
        kind: String,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// A routing object does not have the shape that we gave it.
    #[error("{kind} {name}.{namespace} {problem}")]
    Unreadable {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What is wrong.
        problem: String,
    },
    /// The product has come to its end.
    #[error("provider {provider:?} is not supported: {why}")]
    Retired {
        /// The name given.
        provider: String,
        /// What happened to it, and what to use instead.
        why: &'static str,
    },
}

/// What a router works with.
#[derive(Clone, Copy, Debug)]
struct Given<'a> {
    canary: &'a Canary,
    options: &'a Options,
    /// The objects that the router named, those of them that exist.
    current: &'a [Value],
    /// Makes up session cookies and nothing else.
    random: u64,
}

/// How one product is told where requests go. The functions are pure.
#[derive(Clone, Copy, Debug)]
struct Router {
    /// The objects whose present state the others need.
    objects: fn(&Given<'_>) -> Result<Vec<ObjectReference>, Error>,
    /// The objects that send requests by weights, with what others put on them kept.
    routes: fn(&Given<'_>, Weights) -> Result<Change, Error>,
    /// The shares as the objects ask for them.
    written: fn(&Given<'_>) -> Result<Weights, Error>,
    /// The shares in effect. Another function than `written` only where the product tells what it has done.
    weights: fn(&Given<'_>) -> Result<Weights, Error>,
    /// What gives traffic back at the end.
    finalize: fn(&Given<'_>) -> End,
}

/// The objects whose present state [`routes`], [`reconcile()`] and [`weights`] need.
pub fn objects(canary: &Canary, options: &Options) -> Result<Vec<ObjectReference>, Error> {
    let given = Given { canary, options, current: &[], random: 0 };
    (given.router()?.objects)(&given)
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
    let given = Given { canary, options, current, random };
    (given.router()?.routes)(&given, weights)
}

/// What brings the objects in line with the Canary's spec while traffic stays as it is; nothing if they are.
///
/// Differs: the original goes back to 100/0 whenever anything about the object changed, in the middle of a run too
/// (reference progressive-delivery.md, B.8 defect 5). Here only an object that is missing or unreadable starts at 100/0.
pub fn reconcile(canary: &Canary, options: &Options, current: &[Value], random: u64) -> Result<Option<Change>, Error> {
    let given = Given { canary, options, current, random };
    let router = given.router()?;
    let change = (router.routes)(&given, (router.written)(&given).unwrap_or(Weights::PRIMARY))?;
    let settled = change.apply.iter().all(|ours| is_settled(current, ours));
    Ok((!settled).then_some(change))
}

/// The shares in effect, as the objects say. An error means that they cannot be relied on yet: the run waits.
pub fn weights(canary: &Canary, options: &Options, current: &[Value]) -> Result<Weights, Error> {
    let given = Given { canary, options, current, random: 0 };
    (given.router()?.weights)(&given)
}

/// What gives traffic back when a Canary that asks for it is deleted: the route that was there before, where it is known.
/// Source: reference progressive-delivery.md, A.9.
pub fn finalize(canary: &Canary, options: &Options, current: &[Value]) -> End {
    let given = Given { canary, options, current, random: 0 };
    given.router().map(|router| (router.finalize)(&given)).unwrap_or_default()
}

/// Whether nobody routes: the apex service always points at the primary.
pub fn is_kubernetes(canary: &Canary, options: &Options) -> bool {
    canary.provider_or(&options.mesh_provider) == "kubernetes"
}

/// Whether the routes are those of the Gateway API.
pub fn is_gateway_api(canary: &Canary, options: &Options) -> bool {
    provider::base(canary.provider_or(&options.mesh_provider)) == "gatewayapi"
}

/// The object as it will be once `ours` is applied to the one of its name among `current`.
pub fn applied(current: &[Value], ours: &Value) -> Value {
    let live = ObjectReference::of(ours).and_then(|wanted| find(current, &wanted));
    let mut merged = merged(live, ours);
    ingress::drop_stale(ours, &mut merged);
    istio::drop_stale(ours, &mut merged);
    merged
}

/// Whether an object is there for the rollout alone, so that what is no longer said of it goes: a copied Ingress, a
/// DestinationRule.
pub fn is_whole(ours: &Value) -> bool {
    ours.get("spec").is_some() && (ingress::is_copy(ours) || istio::is_rule(ours))
}

/// Whether applying `ours` would change nothing.
fn is_settled(current: &[Value], ours: &Value) -> bool {
    let live = ObjectReference::of(ours).and_then(|wanted| find(current, &wanted));
    live.is_some_and(|live| keeps(live, ours) && (!is_whole(ours) || same(&applied(current, ours), live)))
}

/// The names of the apex, primary and canary services.
pub fn service_names(canary: &Canary) -> (String, String, String) {
    (canary.service_name().to_owned(), canary.primary_service_name(), canary.canary_service_name())
}

impl Given<'_> {
    /// The provider in effect.
    fn provider(&self) -> &str {
        self.canary.provider_or(&self.options.mesh_provider)
    }

    /// The router in charge: of the object that the Canary's annotation names, else of the provider.
    fn router(&self) -> Result<&'static Router, Error> {
        if existing::is_asked_for(self.canary) { Ok(&existing::ROUTER) } else { provider::router(self) }
    }

    /// A routing object in the Canary's namespace.
    fn reference(&self, api_version: &str, kind: &str, name: &str) -> ObjectReference {
        let namespace = self.canary.namespace().into();
        ObjectReference { api_version: api_version.into(), kind: kind.into(), namespace, name: name.into() }
    }

    /// The current object that `wanted` names.
    fn find(&self, wanted: &ObjectReference) -> Option<&Value> {
        find(self.current, wanted)
    }

    /// The current object that `wanted` names, or why there is none.
    fn existing(&self, wanted: &ObjectReference) -> Result<&Value, Error> {
        let ObjectReference { kind, name, namespace, .. } = wanted.clone();
        self.find(wanted).ok_or(Error::NotFound { kind, name, namespace })
    }

    /// An object that holds `spec`, and the metadata of a routing object: the name, and the owner if it is ours.
    fn object(&self, reference: &ObjectReference, spec: Value) -> Value {
        let mut object = json!({"apiVersion": reference.api_version, "kind": reference.kind,
            "metadata": {"name": reference.name, "namespace": reference.namespace}});
        if let Some(owners) = self.owners(self.find(reference)) {
            object["metadata"]["ownerReferences"] = owners;
        }
        // Put in its place: what stands inside `json!` is copied, level by level.
        object["spec"] = spec;
        object
    }

    /// The same with the labels and annotations of the apex service.
    fn labelled(&self, reference: &ObjectReference, spec: Value) -> Value {
        let none = BTreeMap::new();
        let apex = self.canary.spec.service.apex.as_ref();
        let (labels, given) = apex.map_or((&none, &none), |apex| (&apex.labels, &apex.annotations));
        let mut object = self.object(reference, spec);
        object["metadata"]["annotations"] = json!(annotations(given));
        if !labels.is_empty() {
            object["metadata"]["labels"] = json!(labels);
        }
        object
    }

    /// The owner references of a routing object. One that was there before us is not ours to be deleted with the Canary.
    fn owners(&self, live: Option<&Value>) -> Option<Value> {
        let is_own = |live: &Value| {
            let owners = live.get("metadata").map_or(&[] as &[Value], |metadata| list(metadata, "ownerReferences"));
            owners.iter().any(|owner| owner["kind"] == "Canary" && owner["name"] == self.canary.name())
        };
        let owner = owner(self.canary).filter(|_| self.options.owned && live.is_none_or(is_own))?;
        Some(Value::Array(vec![owner]))
    }
}

/// A problem with an object that was found.
fn unreadable(reference: &ObjectReference, problem: impl Into<String>) -> Error {
    let ObjectReference { kind, name, namespace, .. } = reference.clone();
    Error::Unreadable { kind, name, namespace, problem: problem.into() }
}

/// No [`End`]: the routes stay as the last run left them, all to the primary.
fn stays(_: &Given<'_>) -> End {
    End::default()
}

/// A member that is a list; nothing when it is not there.
fn list<'a>(object: &'a Value, member: &str) -> &'a [Value] {
    object.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A list by JSON pointer; nothing when it is not there.
fn list_at<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The member `weight` of the first item that `is_meant`; 0 when it gives none.
fn share(items: &[Value], is_meant: impl Fn(&Value) -> bool) -> Option<u32> {
    let found = items.iter().find(|item| is_meant(item))?;
    Some(found["weight"].as_u64().map_or(0, |weight| u32::try_from(weight).unwrap_or(u32::MAX)))
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
