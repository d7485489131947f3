//! The gateway: an HTTP/1.1 reverse proxy that serves Gateway and HTTPRoute objects on loopback.
//!
//! The routing table and everything it is made of are values; `proxy` is the shell around them. `haproxy` and `envoy` serve
//! the same table by programs beside us.

pub mod balance;
pub mod compile;
pub mod envoy;
pub mod filters;
pub mod haproxy;
pub mod matching;
pub mod metrics;
pub mod outside;
pub mod proxy;
pub mod read;
pub mod status;
pub mod table;

pub use proxy::{server::Server, upstream};
