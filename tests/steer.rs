//! `slipway canary promote` and its like, and `slipway describe canary`, on a state file that this test writes.

use api::{
    flagger::{Canary, Phase},
    meta::ObjectReference,
};
use canary::{
    machine::{PAUSED, REQUEST},
    trail::{self, Check, Run as Rollout, Tick, Verdict},
};
use reconcile::{Directory, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Run, slipway};

/// A state file with the Canary apps/podinfo in that phase.
struct State {
    folder: TempDir,
    store: Store,
}

impl State {
    async fn new(phase: Phase, waits: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("the store opens");
        let store = Store::Directory(directory);
        let object = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "podinfo", "namespace": "apps"},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "service": {"port": 80},
                "analysis": {"interval": "10s", "threshold": 5, "stepWeight": 10, "maxWeight": 50}}});
        let stored = store.apply("user", &object).await.expect("applied");
        let mut conditions = vec![json!({"type": "Promoted", "status": "Unknown", "reason": phase, "message": "x"})];
        conditions
            .extend(waits.map(|waits| json!({"type": "Waiting", "status": "True", "reason": phase, "message": waits})));
        let status =
            json!({"phase": phase, "canaryWeight": 30, "failedChecks": 1, "iterations": 0, "conditions": conditions});
        let id = ObjectReference::of(&stored).expect("a name");
        store.write_status(&id, "test", &status).await.expect("written");
        Self { folder, store }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let state = self.folder.path().join("state.db").display().to_string();
        slipway(&[arguments, &["-n", "apps", "--state", &state]].concat())
    }

    async fn annotation(&self, key: &str) -> Option<String> {
        let canary: Canary = self.store.get("apps", "podinfo").await.expect("read").expect("a canary");
        canary.metadata.annotations?.get(key).cloned()
    }
}

#[tokio::test]
async fn a_request_says_what_when_who_and_why() {
    let state = State::new(Phase::WaitingPromotion, Some("Waits for hook gate to approve the promotion.")).await;
    let run = state.run(&["canary", "promote", "podinfo", "--reason", "looks good"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let text = state.annotation(REQUEST).await.expect("a request");
    assert!(text.starts_with("promote at 2") && text.contains(" by ") && text.ends_with(": looks good"), "{text}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_exit_5() {
    for (phase, verb, why) in [
        (Phase::Succeeded, "rollback", "no rollout is in flight"),
        (Phase::Progressing, "retry", "the last rollout did not fail"),
        (Phase::Progressing, "promote", "it is not waiting for approval; it is at 30%"),
        (Phase::Promoting, "rollback", "the promotion has begun"),
        (Phase::Progressing, "resume", "podinfo is not paused"),
    ] {
        let state = State::new(phase, None).await;
        let run = state.run(&["canary", verb, "podinfo", "--yes"]);
        assert_eq!(run.code, 5, "{verb}: {}", run.stderr);
        assert!(run.stderr.contains(why), "{verb}: {}", run.stderr);
        assert!(verb == "resume" || run.stderr.contains(" cannot be "), "{verb}: {}", run.stderr);
        assert_eq!(state.annotation(REQUEST).await, None);
    }
}

#[tokio::test]
async fn without_a_terminal_a_yes_must_be_typed_before() {
    let state = State::new(Phase::Progressing, None).await;
    let run = state.run(&["canary", "rollback", "podinfo"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (2, "error: rollback needs a yes and there is no terminal\nhint: add --yes\n")
    );
    assert_eq!(state.run(&["canary", "skip", "podinfo", "--yes"]).code, 2, "a reason is needed");
    assert_eq!(state.annotation(REQUEST).await, None);
    assert_eq!(state.run(&["canary", "abort", "podinfo", "--yes"]).code, 0);
    assert!(state.annotation(REQUEST).await.is_some_and(|text| text.starts_with("rollback at ")));
}

#[tokio::test]
async fn a_pause_is_noted_and_taken_back() {
    let state = State::new(Phase::Progressing, None).await;
    let run = state.run(&["canary", "pause", "podinfo", "--for", "30m"]);
    assert!(run.stdout.contains("the canary keeps 30% of traffic until resumed"), "{}", run.stdout);
    assert!(state.annotation(PAUSED).await.is_some_and(|text| text.starts_with("at 2") && text.contains(" until 2")));
    assert_eq!(state.run(&["canary", "resume", "podinfo"]).code, 0);
    assert_eq!(state.annotation(PAUSED).await, None);
}

#[tokio::test]
async fn a_missing_canary_is_exit_1() {
    let state = State::new(Phase::Progressing, None).await;
    let run = state.run(&["canary", "promote", "podifno"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("canary \"podifno\" not found") && run.stderr.contains("podinfo"), "{}", run.stderr);
}

#[tokio::test]
async fn describe_tells_what_a_rollout_went_through() {
    let state = State::new(Phase::Failed, None).await;
    let canary: Canary = state.store.get("apps", "podinfo").await.expect("read").expect("a canary");
    let at = |second: i64| jiff::Timestamp::from_second(1_767_225_600 + second).expect("a time");
    let check = |value: f64, verdict| Check {
        metric: "request-success-rate".into(),
        value: Some(value),
        min: Some(99.0),
        max: None,
        verdict,
        problem: None,
    };
    let tick = |second, value, verdict| Tick {
        at: at(second),
        weight: 10,
        checks: vec![check(value, verdict)],
        ..Tick::default()
    };
    let run = Rollout {
        revision: "sw1-x".into(),
        image: Some("podinfo:2".into()),
        from_image: Some("podinfo:1".into()),
        began: at(0),
        ended: Some(at(30)),
        phase: Phase::Failed,
        ticks: vec![tick(10, 99.5, Verdict::Passed), tick(20, 97.25, Verdict::Failed)],
    };
    let records = trail::records(&canary, &run, run.ticks.len(), run.ticks.len());
    state.store.database().put_all(records).await.expect("kept");
    let shown = state.run(&["describe", "canary", "podinfo"]).stdout;
    let mut lines = shown.lines();
    let sentence = "Rolled back from 2 to 1 at 2026-01-01T00:00:30Z because request-success-rate was 97.25 %, limit >= 99 % (failed 1 of 5).";
    assert_eq!(lines.next(), Some(sentence), "{shown}");
    assert!(shown.contains("request-success-rate  97.25 %  >= 99 %  2026-01-01T00:00:20Z  failed"), "{shown}");
    assert!(shown.contains("Try it again: slipway canary retry podinfo"), "{shown}");
    let answer: Value = state.run(&["describe", "canary/podinfo", "-o", "json"]).json();
    assert_eq!(answer["runs"][0]["ticks"][1]["checks"][0]["value"], 97.25);
}

/// What ran is 3; 2 and 1 were promoted before it.
async fn promoted_thrice() -> State {
    let state = State::new(Phase::Succeeded, None).await;
    let workload = |name: &str| {
        let containers =
            json!([{"name": "app", "image": "ghcr.io:443/podinfo:3"}, {"name": "proxy", "image": "proxy:1"}]);
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "apps"},
            "spec": {"template": {"spec": {"containers": containers}}}})
    };
    for name in ["podinfo", "podinfo-primary"] {
        state.store.apply("user", &workload(name)).await.expect("applied");
    }
    for (name, image, tag) in
        [("podinfo", "ghcr.io:443/podinfo", "3"), ("other", "other", "3"), ("pinned", "ghcr.io:443/podinfo", "9")]
    {
        let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
            "metadata": {"name": name, "namespace": "flux-system", "annotations": {"slipway.dev/hold": "0.9"}},
            "spec": {"imageRepositoryRef": {"name": name}, "policy": {"semver": {"range": "*"}}}});
        let stored = state.store.apply("user", &policy).await.expect("applied");
        let id = ObjectReference::of(&stored).expect("a name");
        state
            .store
            .write_status(&id, "test", &json!({"latestRef": {"name": image, "tag": tag}}))
            .await
            .expect("written");
    }
    let canary: Canary = state.store.get("apps", "podinfo").await.expect("read").expect("a canary");
    for tag in [2, 3] {
        let began = jiff::Timestamp::from_second(1_767_225_600 + tag).expect("a time");
        let image = |tag: i64| Some(format!("ghcr.io:443/podinfo:{tag}"));
        let run = Rollout {
            revision: format!("sw1-{tag}"),
            image: image(tag),
            from_image: image(tag - 1),
            began,
            phase: Phase::Succeeded,
            ..Rollout::default()
        };
        state.store.database().put_all(trail::records(&canary, &run, 0, 0)).await.expect("kept");
    }
    state
}

#[tokio::test]
async fn going_back_after_a_promotion_rolls_out_again_and_holds_what_came_after() {
    let state = promoted_thrice().await;
    let find = async |api_version: &str, kind: &str, namespace: &str, name: &str| {
        let [api_version, kind, namespace, name] = [api_version, kind, namespace, name].map(str::to_owned);
        state.store.find(&ObjectReference { api_version, kind, namespace, name }).await.expect("read").expect("there")
    };
    let hold = async |name: &str| {
        let policy = find("image.toolkit.fluxcd.io/v1", "ImagePolicy", "flux-system", name).await;
        policy["metadata"]["annotations"]["slipway.dev/hold"].clone()
    };
    for (to, code, text) in [("7", 1, "hint: kept: ghcr.io:443/podinfo:2, ghcr.io:443/podinfo:1"), ("3", 1, "it runs")]
    {
        let run = state.run(&["canary", "rollback", "podinfo", "--to", to, "--yes"]);
        assert!(run.code == code && run.stderr.contains(text), "{to}: {} {}", run.code, run.stderr);
    }
    assert_eq!(state.run(&["canary", "rollback", "podinfo", "--to", "1"]).code, 2, "nobody said yes");
    assert_eq!(hold("podinfo").await, "0.9");
    let run = state.run(&["canary", "rollback", "podinfo", "--to", "1", "--yes"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let target = find("apps/v1", "Deployment", "apps", "podinfo").await;
    let images: Vec<&Value> =
        (0..2).filter_map(|n| target.pointer(&format!("/spec/template/spec/containers/{n}/image"))).collect();
    assert_eq!(images, ["ghcr.io:443/podinfo:1", "proxy:1"]);
    assert_eq!(hold("podinfo").await, "0.9,2,3");
    assert_eq!((hold("other").await, hold("pinned").await), (json!("0.9"), json!("0.9")));
    assert!(run.stderr.contains("ImagePolicy flux-system/podinfo holds back 0.9,2,3"), "{}", run.stderr);
}

#[tokio::test]
async fn an_earlier_image_is_not_brought_back_in_the_middle_of_a_rollout() {
    let state = State::new(Phase::Progressing, None).await;
    let run = state.run(&["canary", "rollback", "podinfo", "--to", "1", "--yes"]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(run.stderr.contains("hint: to end that one: slipway canary rollback podinfo"), "{}", run.stderr);
}
