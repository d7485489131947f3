//! The pipeline's main scenario in one thread under virtual time, and the same scenario cut before and after each of
//! its effects: wherever it stops, a restart reaches the same end.
//!
//! Real: the store, the loop, every controller, Git over HTTP. Stand-ins: a registry and a Prometheus that answer from
//! memory, and a machine whose Deployments are ready at once; each is held to the real thing by a test.

mod stages;
pub mod stand_ins;
mod strategies;
mod world;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use reconcile::simulation::Verdict;

use world::{Cut, End, World};

/// A world in which 1.0.0 serves and 1.1.0 has just been pushed.
fn pushed() -> World {
    let mut world = World::new();
    world.tag("1.0.0");
    world.run_until_initialized(None);
    world.tag("1.1.0");
    world.save();
    world
}

/// Plays the scenario from the push on, with one cut or none, and gives the end it reached and the effects it had.
fn play(world: &mut World, cut: Option<Cut>) -> (End, Vec<String>) {
    world.restore();
    let effects = world.run_until_promoted(cut);
    (world.end(), effects)
}

#[test]
fn the_main_job_ends_with_one_commit_and_all_traffic_on_the_new_version() {
    let (end, effects) = play(&mut pushed(), None);
    assert_eq!(end.phase, "Succeeded");
    assert_eq!((end.primary_weight, end.canary_weight), (100, 0));
    assert!(end.primary_image.ends_with(":1.1.0"), "{end:?}");
    assert_eq!(end.commits.len(), 1, "{end:?}");
    assert_eq!(end.target_replicas, 0);
    assert!(effects.len() > 30, "the scenario has more effects than these: {effects:#?}");
}

#[test]
fn a_stop_before_or_after_any_effect_reaches_the_same_end() {
    let (expected, effects) = play(&mut pushed(), None);
    let total = effects.len() as u64;
    let next = AtomicU64::new(0);
    let wrong = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut world = pushed();
                loop {
                    let turn = next.fetch_add(1, Ordering::SeqCst);
                    let (at, when) =
                        (turn / 2 + 1, if turn.is_multiple_of(2) { Verdict::CutBefore } else { Verdict::CutAfter });
                    if at > total {
                        return;
                    }
                    let (end, met) = play(&mut world, Some(Cut { at, when }));
                    if end != expected {
                        let effect = met.get(at as usize - 1).cloned().unwrap_or_default();
                        let line = format!("SIM=main:{at}={when:?} at {effect}: {end:?}");
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(line);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lines: Vec<String> = wrong.into_iter().collect();
    assert!(
        lines.is_empty(),
        "{} of {} cuts end elsewhere than {expected:?}:\n{}",
        lines.len(),
        total * 2,
        lines.join("\n")
    );
}
