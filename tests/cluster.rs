//! Slipway against a real Kubernetes API server (`tests/kube/`): the store's verbs, leader election, the main job, and
//! what happens when the API server misbehaves. One server for the test run, a namespace for each test.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod canary;
mod charts;
mod delivery;
mod faults;
mod identity;
mod image;
mod kinds;
mod lead;
mod logs;
mod manifests;
mod midlife;
mod moving;
mod observe;
mod proxy;
mod rights;
mod server;
mod shared;
mod store;
mod variants;
mod world;
