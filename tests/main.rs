//! The one test binary: what holds for the whole of slipway. Crates test their own parts beside their code.

mod architecture;
mod ask;
mod cases;
mod cli;
mod cluster;
mod dashboard;
#[allow(dead_code, reason = "the demo's world is shared with the binary, which also prints")]
#[path = "../src/demo.rs"]
mod demo;
mod first_try;
mod fuzz;
mod hooks;
mod image;
mod install;
mod look;
mod markers;
mod notify;
mod pages;
mod pipeline;
mod rollouts;
mod scan;
mod simulation;
mod steer;
mod support;
mod updates;
