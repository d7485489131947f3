//! Which ports of which pods a Service stands for. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
};

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::util::intstr::IntOrString};
use kube::ResourceExt as _;

use crate::{
    container::numbered,
    gateway::table::ServicePort,
    selector::{self, Labels},
};

/// A ready pod.
#[derive(Clone, Debug)]
pub struct Ready<'a, L> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Labels of the pod.
    pub labels: &'a Labels,
    /// Address of the pod.
    pub address: Ipv4Addr,
    /// Ports that its containers name.
    pub ports: &'a BTreeMap<String, u16>,
    /// What goes with the pod's endpoints.
    pub load: L,
}

/// Ports of all Services.
pub fn service_ports(services: &[Service]) -> BTreeSet<ServicePort> {
    services.iter().flat_map(|service| ports(service).into_iter().map(|(port, _)| port)).collect()
}

/// The endpoints of every port of every Service; a port without ready pods has none.
pub fn endpoints<L: Clone>(services: &[Service], pods: &[Ready<'_, L>]) -> BTreeMap<ServicePort, Vec<(SocketAddr, L)>> {
    let mut found = BTreeMap::new();
    for service in services {
        let namespace = service.namespace().unwrap_or_default();
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        let selected: Vec<_> = pods
            .iter()
            .filter(|pod| pod.namespace == namespace && selector::service_matches(&selector, pod.labels))
            .collect();
        for (port, target) in ports(service) {
            let addresses = selected.iter().filter_map(|pod| {
                Some((SocketAddr::from((pod.address, numbered(&target, pod.ports)?)), pod.load.clone()))
            });
            found.insert(port, addresses.collect());
        }
    }
    found
}

/// The ports of a Service, each with the port of its pods.
fn ports(service: &Service) -> Vec<(ServicePort, IntOrString)> {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports
        .iter()
        .filter_map(|port| {
            let id = ServicePort {
                namespace: service.namespace().unwrap_or_default(),
                service: service.name_any(),
                port: u16::try_from(port.port).ok()?,
            };
            Some((id, port.target_port.clone().unwrap_or(IntOrString::Int(port.port))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_select_ready_pods_by_label_and_find_their_ports() {
        let service: Service = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "app", "namespace": "test"},
            "spec": {"selector": {"app": "a"}, "ports": [
                {"name": "http", "port": 80, "targetPort": "http"}, {"port": 9898}, {"port": 81, "targetPort": 8081}]}}))
        .unwrap();
        let (own, other) = (Labels::from([("app".into(), "a".into())]), Labels::from([("app".into(), "b".into())]));
        let ports = BTreeMap::from([("http".to_owned(), 8080)]);
        let pod = |namespace, labels, last| Ready {
            namespace,
            labels,
            address: Ipv4Addr::new(127, 64, 0, last),
            ports: &ports,
            load: (),
        };
        let pods = [pod("test", &own, 1), pod("test", &other, 2), pod("else", &own, 3), pod("test", &own, 4)];
        let services = [service];
        let found = endpoints(&services, &pods);
        let texts: Vec<_> = found
            .iter()
            .map(|(port, addresses)| {
                (port.port, addresses.iter().map(|(address, ())| address.to_string()).collect::<Vec<_>>().join(" "))
            })
            .collect();
        let expected = [
            (80, "127.64.0.1:8080 127.64.0.4:8080"),
            (81, "127.64.0.1:8081 127.64.0.4:8081"),
            (9898, "127.64.0.1:9898 127.64.0.4:9898"),
        ];
        assert_eq!(texts, expected.map(|(port, text)| (port, text.to_owned())));
        assert_eq!(service_ports(&services).len(), 3);
        assert!(endpoints(&services, &[] as &[Ready<'_, ()>]).values().all(Vec::is_empty));
    }
}
