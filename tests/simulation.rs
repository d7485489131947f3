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
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use reconcile::simulation::Verdict;

use stand_ins::Measured;
use world::{Effect, End, Told, Trouble, Wanted, World};

/// Part of the name of every question to Prometheus.
const QUERY: &str = "/api/v1/query";

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// The first deployment, from empty folders on.
    Install,
    /// 1.0.0 serves, and 1.1.0, which was just pushed, is good.
    Promote,
    /// 1.0.0 serves, and 1.1.0, which was just pushed, is bad.
    RollBack,
}

impl Scenario {
    /// The world in which it begins.
    fn world(self) -> World {
        let mut world = World::new();
        world.tag("1.0.0");
        if self != Self::Install {
            world.run_until(Self::Install.end(), None);
            world.tag("1.1.0");
        }
        world.measure(if self == Self::RollBack { Measured::Bad } else { Measured::Good });
        world.save();
        world
    }

    /// Phase of the Canary, and the version that serves.
    const fn end(self) -> Wanted {
        match self {
            Self::Install => ("Initialized", ":1.0.0"),
            Self::Promote => ("Succeeded", ":1.1.0"),
            Self::RollBack => ("Failed", ":1.0.0"),
        }
    }

    /// Plays it in a world of it, with trouble or none.
    fn play(self, world: &mut World, trouble: Option<Trouble>) -> Outcome {
        world.restore();
        let effects = world.run_until(self.end(), trouble);
        Outcome { end: world.end(), told: world.told(), effects }
    }
}

/// What a scenario came to.
#[derive(Debug)]
struct Outcome {
    end: End,
    told: Told,
    effects: Vec<Effect>,
}

/// What is wrong with an outcome, compared with that without trouble: another end, an alert that is lost, one that came
/// more often than `repeats` times too many. Whether something is waited for may depend on the trouble.
fn problems(found: &Outcome, expected: &Outcome, repeats: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if found.end != expected.end {
        problems.push(format!("{:?}", found.end));
    }
    for (alert, count) in &expected.told {
        match found.told.get(alert).copied().unwrap_or_default() {
            times if times < *count && !alert.contains(" not ready: ") => {
                problems.push(format!("lost: {alert} among {:#?}", found.told))
            }
            times if times > count.saturating_add(repeats) => problems.push(format!("{times} times: {alert}")),
            _ => {}
        }
    }
    problems
}

/// Plays the scenario with each trouble that `troubles` makes of its effects, on both cores.
fn each(scenario: Scenario, troubles: impl Fn(&[Effect]) -> Vec<Trouble>, repeats: usize) {
    let expected = scenario.play(&mut scenario.world(), None);
    let troubles = troubles(&expected.effects);
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut world = scenario.world();
                while let Some(trouble) = troubles.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let found = scenario.play(&mut world, Some(trouble.clone()));
                    for problem in problems(&found, &expected, repeats) {
                        let at = match trouble {
                            Trouble::Once(at, _) => found.effects.get(at - 1).map(|effect| effect.name.clone()),
                            Trouble::Often(..) | Trouble::Outage(_) => None,
                        };
                        let line = format!("SIM={scenario:?}:{trouble:?} at {at:?}: {problem}");
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
        "{} in {} runs end otherwise than {:?}:\n{}",
        lines.len(),
        troubles.len(),
        expected.end,
        lines.join("\n")
    );
}

/// The verdict at the first and the last time of each effect that `concerns` takes: some come again and again.
fn twice(effects: &[Effect], concerns: impl Fn(&Effect) -> bool, verdict: Verdict) -> Vec<Trouble> {
    let mut times: BTreeMap<&Effect, (usize, usize)> = BTreeMap::new();
    for (number, effect) in (1..).zip(effects).filter(|(_, effect)| concerns(effect)) {
        times.entry(effect).or_insert((number, number)).1 = number;
    }
    let numbers: BTreeSet<usize> = times.into_values().flat_map(|(first, last)| [first, last]).collect();
    numbers.into_iter().map(|number| Trouble::Once(number, verdict)).collect()
}

/// A stop after each writing effect, and before some: to stop before one is to stop after the one before it, but for what
/// goes on beside them.
fn stops(effects: &[Effect]) -> Vec<Trouble> {
    let writing = (1..).zip(effects).filter(|(_, effect)| effect.writes);
    let after: Vec<_> = writing.map(|(number, _)| Trouble::Once(number, Verdict::CutAfter)).collect();
    [after, twice(effects, |effect| effect.writes, Verdict::CutBefore)].concat()
}

/// Effects that fail, and writing ones whose answers are lost.
fn failures(effects: &[Effect]) -> Vec<Trouble> {
    let failed = twice(effects, |_| true, Verdict::Fail);
    [failed, twice(effects, |effect| effect.writes, Verdict::LoseAnswer)].concat()
}

/// Those of a rollback that come once the canary is judged: what comes before is as in a promotion.
fn judged(troubles: fn(&[Effect]) -> Vec<Trouble>) -> impl Fn(&[Effect]) -> Vec<Trouble> {
    move |effects| {
        let judged = effects.iter().position(|effect| effect.name.contains(QUERY)).unwrap_or_default();
        let mut troubles = troubles(effects);
        troubles.retain(|trouble| matches!(trouble, Trouble::Once(number, _) if *number > judged));
        troubles
    }
}

#[test]
fn the_main_job_ends_with_one_commit_and_all_traffic_on_the_new_version() {
    let Outcome { end, told, effects } = Scenario::Promote.play(&mut Scenario::Promote.world(), None);
    assert_eq!(end.phase, "Succeeded");
    assert_eq!((end.primary_weight, end.canary_weight), (100, 0));
    assert!(end.primary_image.ends_with(":1.1.0"), "{end:?}");
    assert_eq!(end.commits.len(), 1, "{end:?}");
    assert_eq!(end.target_replicas, 0);
    assert!(effects.len() > 30, "the scenario has more effects than these: {effects:#?}");
    assert!(told.len() > 8 && told.values().all(|times| *times == 1), "{told:#?}");
}

#[test]
fn a_bad_version_ends_with_all_traffic_on_the_old_one() {
    let Outcome { end, told, .. } = Scenario::RollBack.play(&mut Scenario::RollBack.world(), None);
    assert_eq!((end.primary_weight, end.canary_weight, end.target_replicas), (100, 0, 0));
    assert!(end.primary_image.ends_with(":1.0.0") && end.commits.len() == 1, "{end:?}");
    assert!(told.keys().any(|alert| alert.contains("Canary failed! Scaling down")), "{told:#?}");
}

#[test]
fn a_stop_before_or_after_any_effect_reaches_the_same_end() {
    each(Scenario::Promote, stops, 1);
}

#[test]
fn a_stop_in_a_first_deployment_or_a_rollback_reaches_the_same_end() {
    each(Scenario::Install, stops, 1);
    each(Scenario::RollBack, judged(stops), 1);
}

#[test]
fn an_effect_that_fails_or_whose_answer_is_lost_changes_nothing_about_the_end() {
    each(Scenario::Promote, failures, 1);
}

#[test]
fn what_fails_in_a_first_deployment_or_a_rollback_changes_nothing_about_the_end() {
    each(Scenario::Install, failures, 1);
    each(Scenario::RollBack, judged(failures), 1);
}

#[test]
fn a_place_that_is_out_of_order_for_a_while_changes_nothing_about_the_end() {
    let outages = |effects: &[Effect]| -> Vec<Trouble> {
        // A rollout that cannot be judged for so long is rolled back.
        let judges = |effect: &&Effect| effect.name.contains(QUERY);
        let places: BTreeSet<&Effect> = effects.iter().filter(|effect| !judges(effect)).collect();
        places.into_iter().cloned().map(Trouble::Outage).collect()
    };
    each(Scenario::Install, outages, usize::MAX);
    each(Scenario::Promote, outages, usize::MAX);
}

#[test]
fn many_failures_in_one_life_change_nothing_about_the_end() {
    let runs = std::env::var("SLIPWAY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25);
    let some = |_: &[Effect]| (0..runs).map(|seed| Trouble::Often(8, seed)).collect::<Vec<_>>();
    each(Scenario::Promote, some, usize::MAX);
    each(Scenario::Install, some, usize::MAX);
}
