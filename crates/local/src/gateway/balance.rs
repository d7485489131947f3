//! Smooth weighted round robin: which backend takes the next request. Pure but for the counters it keeps.
//!
//! Within every `sum of weights / greatest common divisor` picks each backend is picked exactly by its share, spread
//! evenly: weights 5, 1, 1 give a a b a c a a.

use std::sync::{Mutex, PoisonError};

/// Backends of one rule with their weights, and how far the round has come.
#[derive(Debug)]
pub struct Balance {
    weights: Vec<u32>,
    credit: Mutex<Vec<i64>>,
}

impl Balance {
    /// A round that begins. A weight of 0 is never picked.
    pub fn new(weights: Vec<u32>) -> Self {
        let credit = Mutex::new(vec![0; weights.len()]);
        Self { weights, credit }
    }

    /// The weights, in the order of the backends.
    pub fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// Position of the backend that takes the next request; `None` when no backend has a weight.
    pub fn pick(&self) -> Option<usize> {
        match self.weights.as_slice() {
            [] | [0] => None,
            [_] => Some(0),
            weights => next(weights, &mut self.credit.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// One step: every backend earns its weight, the richest is picked and pays the sum.
fn next(weights: &[u32], credit: &mut [i64]) -> Option<usize> {
    let mut sum = 0;
    let mut best: Option<(usize, i64)> = None;
    for (index, (&weight, credit)) in weights.iter().zip(credit.iter_mut()).enumerate() {
        let weight = i64::from(weight);
        sum += weight;
        *credit += weight;
        if weight > 0 && best.is_none_or(|(_, most)| *credit > most) {
            best = Some((index, *credit));
        }
    }
    let (index, _) = best?;
    credit[index] -= sum;
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(weights: &[u32], count: usize) -> Vec<usize> {
        let balance = Balance::new(weights.to_vec());
        (0..count).filter_map(|_| balance.pick()).collect()
    }

    #[test]
    fn picks_are_spread_over_the_round() {
        assert_eq!(picks(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nobody_is_picked_without_a_weight() {
        assert_eq!(Balance::new(vec![]).pick(), None);
        assert_eq!(Balance::new(vec![0]).pick(), None);
        assert_eq!(Balance::new(vec![0, 0]).pick(), None);
        assert_eq!(picks(&[0, 3], 2), [1, 1]);
    }

    proptest::proptest! {
        #[test]
        fn shares_are_exact_in_every_round(weights in proptest::collection::vec(0u32..50, 1..6), rounds in 1usize..4) {
            let sum: u32 = weights.iter().sum();
            let counted = picks(&weights, sum as usize * rounds);
            for (index, weight) in weights.iter().enumerate() {
                let share = counted.iter().filter(|picked| **picked == index).count();
                proptest::prop_assert_eq!(share, *weight as usize * rounds);
            }
        }

        #[test]
        fn no_backend_runs_ahead_of_its_share(weights in proptest::collection::vec(1u32..50, 1..6), count in 0usize..300) {
            let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let counted = picks(&weights, count);
            for (index, weight) in weights.iter().enumerate() {
                let share = counted.iter().filter(|picked| **picked == index).count() as f64;
                let due = count as f64 * f64::from(*weight) / sum;
                proptest::prop_assert!((share - due).abs() <= weights.len() as f64, "{share} of {due}");
            }
        }
    }
}
