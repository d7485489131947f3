//! The arithmetic of weights (B.4). The total is 100.

use api::flagger::Analysis;

/// The canary's next weight, in percent; nothing if no step is configured or the top is reached.
pub(crate) fn next(analysis: &Analysis, current: u32) -> Option<u32> {
    let current = i64::from(current);
    if current >= analysis.max_weight() {
        return None;
    }
    let step = step(analysis, current);
    // A step may overshoot the maximum, never the total.
    (step > 0).then(|| u32::try_from((current + step).min(100)).unwrap_or(100))
}

/// How much the next step adds. A weight that is not among `stepWeights` goes to the total.
///
/// Differs: of `stepWeights` that do not grow the next greater one counts. The original waits at the lower one for ever.
fn step(analysis: &Analysis, current: i64) -> i64 {
    let weights = &analysis.step_weights;
    match analysis.step_weight {
        Some(step) if step > 0 => return step,
        _ if weights.is_empty() => return 0,
        _ => {}
    }
    let following = match weights.iter().position(|&weight| weight == current) {
        _ if current == 0 => weights.as_slice(),
        Some(index) => &weights[index..],
        None => &[],
    };
    following.iter().find(|&&weight| weight > current).copied().unwrap_or(100) - current
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(analysis: &Analysis) -> Vec<u32> {
        std::iter::successors(next(analysis, 0), |&weight| next(analysis, weight)).collect()
    }

    fn steps(step: i64, max: i64) -> Vec<u32> {
        ladder(&Analysis { step_weight: Some(step), max_weight: Some(max), ..Default::default() })
    }

    #[test]
    fn steps_reach_the_maximum_and_may_overshoot_it() {
        assert_eq!(steps(10, 50), [10, 20, 30, 40, 50]);
        assert_eq!(steps(30, 50), [30, 60]);
        assert_eq!(steps(40, 0), [40, 80, 100]);
        assert_eq!(steps(i64::MAX - 100, 100), [100]);
        assert_eq!(steps(0, 50), [0; 0]);
        assert_eq!(steps(-5, 50), [0; 0]);
    }

    #[test]
    fn listed_weights_follow_one_another_up_to_the_total() {
        let listed = |weights: &[i64]| ladder(&Analysis { step_weights: weights.to_vec(), ..Default::default() });
        assert_eq!(listed(&[1, 2, 10, 80]), [1, 2, 10, 80]);
        assert_eq!(listed(&[60, 140]), [60, 100]);
        assert_eq!(listed(&[10, 10, 50]), [10, 50]);
        assert_eq!(listed(&[0, 50, 20, 80]), [50, 80]);
        assert_eq!(listed(&[]), [0; 0]);
        for step in [0, -5] {
            let both = Analysis { step_weight: Some(step), step_weights: vec![10, 20], ..Default::default() };
            assert_eq!(ladder(&both), [10, 20], "stepWeight {step}");
        }
    }

    #[test]
    fn a_weight_off_the_list_goes_to_the_total() {
        let analysis = Analysis { step_weights: vec![10, 20], ..Default::default() };
        assert_eq!(next(&analysis, 15), Some(100));
    }
}
