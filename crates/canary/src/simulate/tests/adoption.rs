//! Moving over from Flagger: with its own hashes and ids on the objects, nothing rolls out and no weight moves.

use super::*;

/// Makes the world look as Flagger leaves it: its hashes in the status, a random id on the primary.
fn make_flaggers(rehearsal: &mut Rehearsal) {
    let Some(status) = &mut rehearsal.state.canary.status else { return };
    let hash =
        |digest: &str| digest.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte)).to_string();
    for digest in [&mut status.last_applied_spec, &mut status.last_promoted_spec] {
        *digest = hash(digest);
    }
    let annotation = json!({"spec": {"template": {"metadata": {"annotations": {"flagger-id": "6e2c1d0a-5f1b-4c7e-9a3d-1b2c3d4e5f60"}}}}});
    rehearsal.state.patch_primary(&annotation);
}

/// The ticks of a script, with all of Flagger's marks put on the objects before one of them.
fn ticks(spec: &Value, script: &Value, moved_at: Option<usize>) -> Vec<Tick> {
    let scenario = Scenario::parse(script).unwrap();
    let mut rehearsal = Rehearsal::new(canary(spec.clone()), Vec::new(), &scenario, Default::default());
    let mut ticks = Vec::new();
    for step in &scenario.steps {
        match step {
            Step::Tick(count) => {
                for _ in 0..*count {
                    if moved_at == Some(ticks.len()) {
                        make_flaggers(&mut rehearsal);
                    }
                    ticks.push(rehearsal.tick());
                }
            }
            other => rehearsal.state.change(other, rehearsal.now),
        }
    }
    ticks
}

#[test]
fn taking_over_in_any_phase_changes_nothing_about_the_rollout() {
    let gates = ["confirm-rollout", "confirm-promotion"];
    let closed = json!({"hooks": {"confirm-rollout": 403, "confirm-promotion": 403}});
    let open = json!({"hooks": {"confirm-rollout": 200, "confirm-promotion": 200}});
    let good = json!([{"primary": "updating"}, image(1), {"tick": 2}, {"primary": "ready"}, {"tick": 2}, image(2), closed, {"tick": 2}, open,
        {"tick": 2}, closed, {"tick": 2}, open, {"tick": 6}, image(3), {"tick": 2}]);
    let mut promoting = gated(&gates);
    promoting["analysis"]["stepWeightPromotion"] = json!(20);
    let bad = from_initialized(json!([image(2), {"metrics": {"request-success-rate": 1}}, {"tick": 7}]));
    let stuck = from_initialized(json!([image(2), {"tick": 3}, {"primary": "stuck"}, {"tick": 3}]));
    let mut seen = std::collections::BTreeSet::new();
    for (spec, script) in [(promoting, good), (halves(), bad), (halves(), stuck)] {
        let expected = ticks(&spec, &script, None);
        for moved_at in 1..expected.len() {
            seen.insert(expected[moved_at - 1].phase);
            let found = ticks(&spec, &script, Some(moved_at));
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let (found, expected) = (json!(found), json!(expected));
                assert_eq!(found, expected, "taken over before tick {moved_at}, tick {index}");
            }
        }
    }
    let all = [
        Phase::Initializing,
        Phase::Initialized,
        Phase::Waiting,
        Phase::Progressing,
        Phase::WaitingPromotion,
        Phase::Promoting,
        Phase::Finalising,
        Phase::Succeeded,
        Phase::Failed,
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
