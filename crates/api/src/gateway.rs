//! `gateway.networking.k8s.io`: Gateway and HTTPRoute, as far as routing by host, path, header, query and weight needs them.
//!
//! The Rust types say `v1`; objects of `v1beta1` have the same shape and are read too. Fields that are not named here
//! are kept in `extra`, so that reading an object and writing it back loses nothing.

pub mod filter;

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::filter::*;
use crate::{Condition, Duration};

/// The API group of Gateway and HTTPRoute.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// Fields which Slipway does not interpret.
pub type Extra = BTreeMap<String, Value>;

/// Where traffic enters: listeners with port, protocol and host name. Source: Gateway API 1.2 `Gateway`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    namespaced,
    status = "GatewayStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// Name of the GatewayClass, which picks the implementation.
    pub gateway_class_name: String,
    /// Sockets to listen on.
    pub listeners: Vec<Listener>,
    /// Addresses asked for; empty lets the implementation choose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// The rest.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One socket of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique within the Gateway; what `sectionName` of a parentRef names.
    pub name: String,
    /// Host names served, `*.` as first label allowed; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Network port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or an implementation's own.
    pub protocol: String,
    /// Certificates and mode, for HTTPS and TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Value>,
    /// Which routes may attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
    /// The rest.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// Namespaces of the routes; absent means that of the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// The rest, `kinds` among it.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Namespaces whose routes may attach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteNamespaces {
    /// `Same` (default), `All` or `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Label selector of namespaces, for `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Value>,
}

/// An address of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAddress {
    /// `IPAddress` (default), `Hostname`, or an implementation's own.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The address; may be left to the implementation in a spec.
    #[serde(default)]
    pub value: String,
}

/// What the implementation says about a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// Addresses it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// `Accepted`, `Programmed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The same for each listener.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
}

/// What the implementation says about a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: String,
    /// How many routes are attached.
    pub attached_routes: i32,
    /// `Accepted`, `Programmed`, `ResolvedRefs`, `Conflicted`.
    pub conditions: Vec<Condition>,
    /// The rest, `supportedKinds` among it.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which requests go to which backends. Source: Gateway API 1.2 `HTTPRoute`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    status = "HttpRouteStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// Gateways (or Services) to attach to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Host names; empty means those of the listener.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules; the most specific match over all routes wins, then the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<HttpRouteRule>,
    /// The rest.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A Gateway which a route attaches to, perhaps to one listener of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// Default [`GROUP`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Default `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Default: the route's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// Name of the listener; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port of the listener; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl ParentReference {
    /// Whether the parent is the Gateway of that namespace and name, for a route in `own_namespace`.
    pub fn is_gateway(&self, own_namespace: &str, namespace: &str, name: &str) -> bool {
        self.group.as_deref().unwrap_or(GROUP) == GROUP
            && self.kind.as_deref().unwrap_or("Gateway") == "Gateway"
            && self.namespace.as_deref().unwrap_or(own_namespace) == namespace
            && self.name == name
    }
}

/// Requests that match any of `matches` are changed by `filters` and go to one of `backend_refs`, by weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteRule {
    /// Unique within the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alternatives; empty means path prefix `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpRouteMatch>,
    /// In order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// Where requests go, by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<HttpBackendRef>,
    /// Limits on a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpRouteTimeouts>,
    /// The rest, `sessionPersistence` and `retry` among it.
    #[serde(flatten)]
    pub extra: Extra,
}

/// All given parts must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteMatch {
    /// Absent means prefix `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathMatch>,
    /// All must match; of several with one name (in any case) only the first counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpValueMatch>,
    /// All must match; of several with one name only the first counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<HttpValueMatch>,
    /// `GET`, `POST`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The rest.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How the path must look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathMatch {
    /// How `value` is read.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// Begins with `/` except for regular expressions.
    pub value: String,
}

impl Default for HttpPathMatch {
    fn default() -> Self {
        Self { kind: PathMatchType::default(), value: "/".to_owned() }
    }
}

/// How a path is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Whole path elements from the start: `/a` matches `/a` and `/a/b`, not `/ab`.
    #[default]
    PathPrefix,
    /// RE2 syntax, the whole path.
    RegularExpression,
    /// One that this version does not know.
    #[serde(untagged)]
    Other(String),
}

/// How a header or a query parameter must look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpValueMatch {
    /// How `value` is read.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchType,
    /// Of the header (case-insensitive) or parameter.
    pub name: String,
    /// Value or regular expression.
    pub value: String,
}

/// How a value is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueMatchType {
    /// The whole value.
    #[default]
    Exact,
    /// RE2 syntax, the whole value.
    RegularExpression,
    /// One that this version does not know.
    #[serde(untagged)]
    Other(String),
}

/// A backend without weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReference {
    /// Default: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Default `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Default: the route's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Required for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A backend with its share of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackendRef {
    /// Default: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Default `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Default: the route's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Required for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Share relative to the sum over the rule's backends; see [`HttpBackendRef::weight`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Filters for requests that go to this backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
}

impl HttpBackendRef {
    /// The weight in effect: 1 when absent; 0 sends nothing here.
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }
}

/// Limits on the time of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteTimeouts {
    /// From the request's arrival to the end of the response; `0s` means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One attempt at a backend; `0s` means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// What each parent says about the route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteStatus {
    /// One entry for each parent and implementation.
    #[serde(deserialize_with = "null_is_empty")]
    pub parents: Vec<RouteParentStatus>,
}

/// What one parent says about the route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParentStatus {
    /// The parent, as in the spec.
    pub parent_ref: ParentReference,
    /// Who writes this.
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs`.
    #[serde(deserialize_with = "null_is_empty")]
    pub conditions: Vec<Condition>,
}

/// Go writes an absent list as `null` where the field is required.
fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_with_foreign_parts_round_trips() {
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "podinfo", "namespace": "default"},
            "spec": {
                "parentRefs": [{"name": "gw", "namespace": "infra", "sectionName": "http", "port": 80}],
                "hostnames": ["app.example.com"],
                "rules": [{
                    "matches": [{"path": {"type": "Fancy", "value": "/"}, "method": "GET",
                        "headers": [{"type": "RegularExpression", "name": "x", "value": "a.*"}]}],
                    "filters": [
                        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/n"}}},
                        {"type": "ExtensionRef", "extensionRef": {"group": "x", "kind": "Y", "name": "z"}}],
                    "backendRefs": [{"group": "", "kind": "Service", "name": "a", "port": 80, "weight": 0}],
                    "timeouts": {"request": "10s"},
                    "retry": {"attempts": 2}
                }],
                "useDefaultGateways": "All"
            }
        });
        let typed: HttpRoute = crate::manifest::typed(&route).unwrap();
        assert_eq!(typed.spec.rules[0].filters[1].kind, FilterType::Other("ExtensionRef".into()));
        assert_eq!(serde_json::to_value(&typed).unwrap(), route);
    }

    #[test]
    fn defaults_are_those_of_the_gateway_api() {
        let rule: HttpRouteRule =
            serde_json::from_value(json!({"matches": [{"path": {}}], "backendRefs": [{"name": "a"}]})).unwrap();
        assert_eq!(rule.matches[0].path, Some(HttpPathMatch { kind: PathMatchType::PathPrefix, value: "/".into() }));
        assert_eq!(rule.backend_refs[0].weight(), 1);
        let status: HttpRouteStatus = serde_json::from_value(json!({"parents": null})).unwrap();
        assert!(status.parents.is_empty());
    }

    #[test]
    fn a_parent_is_in_the_namespace_of_the_route_unless_it_says_so() {
        let parent = ParentReference { name: "gw".into(), ..Default::default() };
        assert!(parent.is_gateway("default", "default", "gw"));
        assert!(!parent.is_gateway("default", "infra", "gw"));
        let service = ParentReference { kind: Some("Service".into()), group: Some(String::new()), ..parent };
        assert!(!service.is_gateway("default", "default", "gw"));
    }
}
