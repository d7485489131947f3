//! Progressive delivery: what a Canary does to its workload, its services, its routes, and why.
//!
//! Pure: the machine and what it says (`machine`, `analysis`, `schedule`, `conditions`, `events`, `alerts`, `hooks`, `report`,
//! `lint`), and
//! `router`, `workload`, `metrics`. The shell is `controller`; `simulate` is a world in memory.

pub mod alerts;
pub mod analysis;
pub mod conditions;
pub mod controller;
pub mod events;
pub mod hooks;
pub mod judge;
pub mod lint;
pub mod machine;
pub mod metrics;
pub mod patch;
pub mod recorded;
pub mod report;
pub mod router;
pub mod schedule;
pub mod simulate;
pub mod trail;
pub mod validate;
pub mod workload;
pub mod world;

mod path;

#[cfg(test)]
mod cases;
