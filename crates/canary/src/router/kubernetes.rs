//! No router: the apex service always points at the primary, and only tests and hooks reach the canary.

use api::flagger::Canary;

use super::Weights;

/// What counts as the weights: everything is on the canary once an iteration has begun.
/// Source: reference progressive-delivery.md, E "Kubernetes".
pub fn weights(canary: &Canary) -> Weights {
    match canary.status().iterations {
        1.. => Weights { primary: 0, canary: 100, mirrored: false },
        _ => Weights::PRIMARY,
    }
}
