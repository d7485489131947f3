//! Tables of steps, and whole rollouts with pods that become ready in any order.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn deployment(spec: Value) -> Deployment {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn wanted(replicas: usize, max_surge: usize, max_unavailable: usize) -> Wanted {
    Wanted {
        hash: "new".into(),
        replicas,
        strategy: Strategy::RollingUpdate { max_surge, max_unavailable },
        paused: false,
        min_ready: Duration::ZERO,
    }
}

/// `new`, `new!` (ready), `old`, `old!`, with `~` for stopping.
fn pods(texts: &[&str]) -> Vec<View> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| View {
            name: format!("{index}"),
            hash: text.trim_matches(['!', '~']).to_owned(),
            ready_since: text.contains('!').then_some(Timestamp::from_second(900).unwrap()),
            stopping: text.contains('~'),
            started: Timestamp::from_second(index as i64).unwrap(),
        })
        .collect()
}

#[test]
fn specs_are_read_with_kubernetes_defaults() {
    for (spec, replicas, strategy) in [
        (json!({}), 1, Strategy::RollingUpdate { max_surge: 1, max_unavailable: 0 }),
        (json!({"replicas": 10}), 10, Strategy::RollingUpdate { max_surge: 3, max_unavailable: 2 }),
        (json!({"replicas": 0}), 0, Strategy::RollingUpdate { max_surge: 0, max_unavailable: 1 }),
        (json!({"strategy": {"type": "Recreate"}}), 1, Strategy::Recreate),
        (
            json!({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
            4,
            Strategy::RollingUpdate { max_surge: 0, max_unavailable: 1 },
        ),
        (
            json!({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": "50%"}}}),
            4,
            Strategy::RollingUpdate { max_surge: 2, max_unavailable: 2 },
        ),
    ] {
        let wanted = Wanted::of(&deployment(spec.clone()));
        assert_eq!((wanted.replicas, wanted.strategy), (replicas, strategy), "{spec}");
    }
}

#[test]
fn the_hash_changes_with_the_template_only() {
    let one = template_hash(&deployment(json!({"replicas": 1})));
    assert_eq!(one, template_hash(&deployment(json!({"replicas": 2}))));
    let template = json!({"template": {"spec": {"containers": [{"name": "a", "image": "a:2"}]}}});
    assert_ne!(one, template_hash(&deployment(template)));
}

#[test]
fn steps_of_a_rolling_update() {
    for (replicas, surge, unavailable, before, start, stop) in [
        (2, 1, 0, &[][..], 2, &[][..]),
        (1, 1, 0, &["old!"], 1, &[]),
        (1, 1, 0, &["old!", "new"], 0, &[]),
        (1, 1, 0, &["old!", "new!"], 0, &["0"]),
        (1, 1, 0, &["old", "new"], 0, &[]),
        (1, 1, 0, &["old!~", "new!"], 0, &[]),
        (4, 1, 1, &["old!", "old!", "old!", "old!"], 1, &["0"]),
        (4, 0, 1, &["old!", "old!", "old!", "old!"], 0, &["0"]),
        (4, 0, 1, &["old!", "old!", "old!"], 1, &[]),
        (2, 1, 0, &["new!", "new", "new!"], 0, &["1"]),
        (0, 1, 0, &["new!", "old!"], 0, &["0", "1"]),
        (3, 1, 0, &["old!", "old", "old!"], 1, &[]),
        (2, 0, 1, &["old!", "old", "new"], 0, &["1"]),
    ] {
        let plan = plan(&wanted(replicas, surge, unavailable), &pods(before), now());
        let stop: Vec<String> = stop.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(plan, Plan { start, stop }, "{replicas} +{surge} -{unavailable} {before:?}");
    }
}

#[test]
fn recreate_starts_when_the_old_ones_are_gone() {
    let wanted = Wanted { strategy: Strategy::Recreate, ..wanted(2, 0, 0) };
    assert_eq!(plan(&wanted, &pods(&["old!", "old!"]), now()), Plan { start: 0, stop: vec!["0".into(), "1".into()] });
    assert_eq!(plan(&wanted, &pods(&["old!~"]), now()).start, 0);
    assert_eq!(plan(&wanted, &[], now()).start, 2);
}

#[test]
fn a_paused_deployment_scales_what_runs() {
    let wanted = Wanted { paused: true, ..wanted(3, 1, 0) };
    assert_eq!(plan(&wanted, &pods(&["old!", "old!"]), now()), Plan { start: 1, stop: vec![] });
    assert_eq!(plan(&wanted, &pods(&["old!", "new!"]), now()), Plan { start: 0, stop: vec![] });
}

#[test]
fn pods_are_available_after_min_ready_seconds() {
    let pod = &pods(&["new!"])[0];
    assert!(pod.is_available(Duration::from_secs(100), now()));
    assert!(!pod.is_available(Duration::from_secs(101), now()));
}

proptest::proptest! {
    #[test]
    fn every_rollout_ends_and_keeps_its_promises(
        replicas in 0usize..8, surge in 0usize..4, unavailable in 0usize..4, old in 0usize..8,
        order in proptest::collection::vec(0usize..16, 0..200),
    ) {
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        let wanted = wanted(replicas, surge, unavailable);
        let mut pods = pods(&vec!["old!"; old]);
        let mut order = order.into_iter();
        for step in 0..400 {
            let available = |pods: &[View]| pods.iter().filter(|pod| !pod.stopping && pod.ready_since.is_some()).count();
            let before = available(&pods);
            let plan = plan(&wanted, &pods, now());
            for pod in &mut pods {
                pod.stopping |= plan.stop.contains(&pod.name);
            }
            let least = replicas.saturating_sub(unavailable);
            proptest::prop_assert!(available(&pods) >= least.min(before), "fewer than {least} are available");
            for number in 0..plan.start {
                pods.push(View { name: format!("s{step}-{number}"), hash: "new".into(), ready_since: None, stopping: false, started: now() });
            }
            let active = pods.iter().filter(|pod| !pod.stopping).count();
            proptest::prop_assert!(active <= (replicas + surge).max(old), "more than {replicas} + {surge}");
            pods.retain(|pod| !pod.stopping);
            let waiting: Vec<usize> = (0..pods.len()).filter(|index| pods[*index].ready_since.is_none()).collect();
            if plan.start == 0 && plan.stop.is_empty() && waiting.is_empty() {
                break;
            }
            if !waiting.is_empty() {
                let chosen = waiting[order.next().unwrap_or(0) % waiting.len()];
                pods[chosen].ready_since = Some(now());
            }
        }
        proptest::prop_assert_eq!(pods.len(), replicas);
        proptest::prop_assert!(pods.iter().all(|pod| pod.hash == "new" && pod.ready_since.is_some()));
    }
}
