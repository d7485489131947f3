//! One machine as a cluster: runs Deployments as processes and serves HTTPRoutes, so that the same manifests work without
//! Kubernetes. For trial, CI and single hosts; processes are **not** isolated from each other or from the machine.

pub mod gateway;
pub mod selector;
