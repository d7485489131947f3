//! Progressive delivery: what a Canary does to its workload, its services, its routes, and why.
//!
//! Pure: `router`, `workload`, `metrics`, the machine. The shell is `controller`.

pub mod metrics;
pub mod router;
pub mod workload;

#[cfg(test)]
mod cases;
