//! No router: the apex service always points at the primary, and only tests and hooks reach the canary.

use super::{Change, Error, Given, Router, Weights, stays};

/// Plain Kubernetes.
pub const ROUTER: Router = Router {
    objects: |_| Ok(Vec::new()),
    routes: |_, _| Ok(Change::default()),
    written: weights,
    weights,
    finalize: stays,
};

/// What counts as the weights: everything is on the canary once an iteration has begun.
/// Source: reference progressive-delivery.md, E "Kubernetes".
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    Ok(match given.canary.status().iterations {
        1.. => Weights { primary: 0, canary: 100, mirrored: false },
        _ => Weights::PRIMARY,
    })
}
