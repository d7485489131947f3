//! The kinds Slipway reads and writes, one file per API group, and the small vocabulary they share.
//!
//! Pure: parsing, printing and defaults, nothing else. No clock, no I/O, no client.

pub mod conditions;
pub mod crd;
pub mod duration;
pub mod flagger;
pub mod gateway;
pub mod image;
pub mod kustomize;
pub mod manifest;
pub mod meta;
pub mod notification;
pub mod proxy;
pub mod source;

pub use duration::Duration;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
