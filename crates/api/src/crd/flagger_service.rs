//! The Canary's `service`, in Istio's words. Source: reference progressive-delivery.md, section A.3.

use super::schema::{
    Field, Schema, anything, choice, flag, list, map, may, must, number, number_or_name, object, text, texts, whole,
};

/// A DNS label, as namespaces are named.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS name.
const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// An API group, which may be empty.
const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A kind.
const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";

/// `spec.service`.
pub(super) fn service() -> Schema {
    let metadata =
        || object([may("labels", texts(), "Extra labels."), may("annotations", texts(), "Extra annotations.")]);
    let unmanaged =
        object([may("labels", list(text()), "Label keys."), may("annotations", list(text()), "Annotation keys.")]);
    object([
        may("name", text(), "Name of the apex service; the target's when absent."),
        must("port", number(), "Port of the services."),
        may("portName", text(), "Name of the port; http when absent."),
        may("targetPort", number_or_name(), "Port of the containers; port when absent."),
        may("appProtocol", text(), "Application protocol of the port."),
        may(
            "trafficDistribution",
            choice(&["PreferClose", "PreferSameZone", "PreferSameNode"]),
            "Which endpoints are preferred.",
        ),
        may("portDiscovery", flag(), "Add the containers' other ports to the services."),
        may("headless", flag(), "Services without a cluster address."),
        may("timeout", text(), "Longest time for a request."),
        may("backendTimeout", text(), "Longest time for a request to a backend (Gateway API)."),
        may("gateways", list(text()), "Istio gateways; mesh when absent."),
        may("gatewayRefs", list(gateway()).with("maxItems", 32), "Gateway API parents."),
        may("hosts", list(text()), "Host names."),
        may("delegation", flag(), "Make an Istio delegate."),
        may("trafficPolicy", anything(), "Istio's traffic policy, handed on as it is."),
        may("match", list(http_match()), "Requests that are routed; all when absent."),
        may("rewrite", rewrite(), "Path and host as the backend sees them."),
        may("retries", retries(), "Retries of a request."),
        may("headers", headers(), "Headers added, set and removed."),
        may("mirror", list(mirror()), "Permanent shadow traffic (Gateway API)."),
        may("corsPolicy", cors(), "Cross-origin rules."),
        may("meshName", text(), "App Mesh's mesh."),
        may("backends", list(text()), "App Mesh's backends."),
        may("apex", metadata(), "Metadata of the apex service and the routing object."),
        may("primary", metadata(), "Metadata of the primary service."),
        may("canary", metadata(), "Metadata of the canary service."),
        may("unmanagedMetadata", unmanaged, "Keys whose live value on the three services is kept."),
    ])
}

/// One entry of `spec.analysis.match`: other fields are dropped, as Flagger's schema drops them.
pub(super) fn matching() -> Schema {
    let header = object([EXACT, PREFIX, SUFFIX, REGEX].map(Part::field)).one_of(&[
        &["exact"],
        &["prefix"],
        &["suffix"],
        &["regex"],
    ]);
    object([
        may("headers", map(header), "Headers that must match."),
        may("queryParams", map(string_match()), "Query parameters that must match."),
        may("sourceLabels", texts(), "Labels of the calling pod."),
    ])
}

/// One way to match a text.
struct Part(&'static str, &'static str);

const EXACT: Part = Part("exact", "The whole text.");
const PREFIX: Part = Part("prefix", "How it begins.");
const SUFFIX: Part = Part("suffix", "How it ends.");
const REGEX: Part = Part("regex", "RE2 expression.");

impl Part {
    fn field(self) -> Field {
        may(self.0, text(), self.1)
    }
}

/// At most one way to match a text.
fn string_match() -> Schema {
    let given = |part: &str| serde_json::json!({ "required": [part] });
    let each = ["exact", "prefix", "regex"].map(given);
    let none = serde_json::json!({"not": {"anyOf": each}});
    let sets: Vec<_> = std::iter::once(none).chain(each).collect();
    object([EXACT, PREFIX, REGEX].map(Part::field)).with("oneOf", sets)
}

fn gateway() -> Schema {
    object([
        may("group", group().or("gateway.networking.k8s.io"), "API group of the parent."),
        may("kind", kind().or("Gateway"), "Kind of the parent."),
        may("namespace", namespace(), "Namespace of the parent; its own one when absent."),
        must("name", text().length(1, 253), "Name of the parent."),
        may("sectionName", text().length(1, 253).pattern(NAME), "Listener of the parent."),
        may("port", port(), "Port of the parent."),
    ])
}

fn group() -> Schema {
    text().with("maxLength", 253).pattern(GROUP)
}

fn kind() -> Schema {
    text().length(1, 63).pattern(KIND)
}

fn namespace() -> Schema {
    text().length(1, 63).pattern(LABEL)
}

fn port() -> Schema {
    whole().with("format", "int32").with("minimum", 1).with("maximum", 65535)
}

fn http_match() -> Schema {
    object([
        may("name", text(), "Name of the rule."),
        may("uri", string_match(), "Path."),
        may("scheme", string_match(), "Scheme."),
        may("method", string_match(), "Method."),
        may("authority", string_match(), "Host."),
        may("headers", map(string_match()), "Headers that must match."),
        may("withoutHeaders", map(string_match()), "Headers that must not match."),
        may("queryParams", map(string_match()), "Query parameters."),
        may("sourceLabels", texts(), "Labels of the calling pod."),
        may("sourceNamespace", text(), "Namespace of the calling pod."),
        may("port", whole(), "Port."),
        may("gateways", list(text()), "Istio gateways the rule is for."),
        may("ignoreUriCase", flag(), "Whether the path's case is ignored."),
    ])
}

fn rewrite() -> Schema {
    object([
        may("uri", text(), "New path."),
        may("authority", text(), "New host."),
        may("type", text(), "ReplacePrefixMatch replaces the matched prefix, anything else the whole path."),
    ])
}

fn retries() -> Schema {
    object([
        may("attempts", whole().with("format", "int32"), "Attempts."),
        may("perTryTimeout", text(), "Longest time for one attempt."),
        may("retryOn", text(), "When to try again."),
    ])
}

fn headers() -> Schema {
    let operations = || {
        object([
            may("add", texts(), "Added to what is there."),
            may("set", texts(), "Put in place of what is there."),
            may("remove", list(text()), "Taken away."),
        ])
    };
    object([
        may("request", operations(), "On the way to the backend."),
        may("response", operations(), "On the way back."),
    ])
}

fn mirror() -> Schema {
    let backend = object([
        may("group", group().or(""), "API group; empty for the core one."),
        may("kind", kind().or("Service"), "Kind of the backend."),
        must("name", text().length(1, 253), "Name of the backend."),
        may("namespace", namespace(), "Namespace of the backend; its own one when absent."),
        may("port", port(), "Port of the backend."),
    ])
    .rules(&[(
        "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
        "Must have port for Service reference",
    )]);
    object([may("backendRef", backend, "Where copies go.")])
}

fn cors() -> Schema {
    let origin = object([EXACT, PREFIX, REGEX].map(Part::field)).one_of(&[&["exact"], &["prefix"], &["regex"]]);
    object([
        may("allowOrigin", list(text()), "Deprecated: use allowOrigins."),
        may("allowOrigins", list(origin), "Origins."),
        may("allowMethods", list(text()), "Methods."),
        may("allowHeaders", list(text()), "Request headers."),
        may("exposeHeaders", list(text()), "Response headers that scripts may read."),
        may("allowCredentials", flag(), "Whether credentials may be sent."),
        may("maxAge", text(), "How long the answer to a preflight is kept."),
    ])
}
