//! `slipway canary queries`: the metric queries, fully rendered.

use api::{flagger::Canary, meta::ObjectReference};
use canary::{
    lint::Surroundings,
    metrics::{self, GatewayMetrics, Implementation, Observer, Query, Scene},
};

use crate::{
    args::{Output, canary::Queries},
    commands::{Exit, print, print_json},
};

/// Runs the verb.
pub fn run(args: &Queries) -> anyhow::Result<Exit> {
    let queries = rendered(args).map_err(|error| super::wrong(args.output, error))?;
    match args.output {
        Output::Json => print_json(&queries)?,
        Output::Table if queries.is_empty() => eprintln!("The Canary asks for no metrics."),
        Output::Table => {
            for Query { metric, provider, query } in &queries {
                print(&format!("# {metric} ({provider})\n{query}\n"));
            }
        }
    }
    Ok(Exit::Done)
}

fn rendered(args: &Queries) -> anyhow::Result<Vec<Query>> {
    let manifests = super::manifests(&args.files)?;
    let (templates, others) = (manifests.templates()?, manifests.beside());
    let canary = &manifests.canary;
    let provider = canary.provider_or(&args.mesh_provider);
    let observer = match args.standalone {
        true => Observer::Local,
        false => observer(canary, &args.mesh_provider, args.gateway_metrics, &Surroundings::of(&others)),
    };
    let scene = Scene { observer, revision: metrics::revision(canary, &others) };
    metrics::queries(canary, scene, provider, &templates).map_err(|unaskable| manifests.unaskable(unaskable))
}

/// Whose series the builtin queries of a Canary read; its Gateway is looked for `around` it.
pub fn observer(canary: &Canary, mesh_provider: &str, gateway: GatewayMetrics, around: &Surroundings<'_>) -> Observer {
    let is_gateway = canary.provider_or(mesh_provider).starts_with("gatewayapi");
    let named = Observer::of_canary(canary, mesh_provider);
    match gateway {
        GatewayMetrics::Of(observer) if is_gateway => observer,
        GatewayMetrics::Detect if named == Observer::Http && is_gateway => {
            implementation(canary, around).map_or(named, Observer::Gateway)
        }
        _ => named,
    }
}

/// What serves the Canary's Gateway, if the manifests hold that and its class.
fn implementation(canary: &Canary, around: &Surroundings<'_>) -> Option<Implementation> {
    // A manifest need not say its namespace.
    let find = |id: ObjectReference| {
        let exact = around.find(&id.kind, &id.namespace, &id.name);
        exact.or_else(|| around.named(&id.kind, &id.name).next())
    };
    let gateway = find(metrics::gateway_of(canary)?)?;
    Implementation::of_class(find(metrics::class_of(gateway)?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_gateway_of_the_canarys_own_namespace_is_meant() {
        let object = |kind: &str, namespace: &str, name: &str, spec: &Value| json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        let gateway = |namespace, class| object("Gateway", namespace, "main", &json!({"gatewayClassName": class}));
        let class = |name, domain: &str| object("GatewayClass", "", name, &json!({"controllerName": domain}));
        let objects = [
            gateway("staging", "a"),
            gateway("live", "b"),
            class("a", "istio.io/gateway-controller"),
            class("b", "io.cilium/gateway-controller"),
        ];
        let seen = |namespace: &str, objects: &[Value]| {
            let canary = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
                "metadata": {"name": "app", "namespace": namespace},
                "spec": {"provider": "gatewayapi:v1", "targetRef": {"kind": "Deployment", "name": "app"},
                    "service": {"port": 80, "gatewayRefs": [{"name": "main"}]}}});
            let canary: Canary = api::manifest::typed(&canary).expect("a Canary");
            observer(&canary, "", GatewayMetrics::Detect, &Surroundings::of(objects))
        };
        assert_eq!(seen("staging", &objects), Observer::Gateway(Implementation::Istio));
        assert_eq!(seen("live", &objects), Observer::Gateway(Implementation::Cilium));
        // A manifest need not say its namespace, and the class may be in the cluster.
        assert_eq!(seen("elsewhere", &objects), Observer::Gateway(Implementation::Istio));
        assert_eq!(seen("live", &objects[..2]), Observer::Http);
    }
}
