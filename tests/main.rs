//! The one test binary: what holds for the whole of slipway. Crates test their own parts beside their code.

mod architecture;
mod cases;
mod support;
