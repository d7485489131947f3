//! What people ask for by annotation: each request obeyed once, refused where it makes no sense, and told.

use super::*;

fn ask(text: &str) -> Value {
    json!({"patch": {"metadata": {"annotations": {"slipway.dev/request": text}}}})
}

fn pause(text: Value) -> Value {
    json!({"patch": {"metadata": {"annotations": {"slipway.dev/paused": text}}}})
}

#[test]
fn promote_opens_the_gate_that_holds_the_rollout_back_and_no_other() {
    let gates = ["confirm-rollout", "confirm-promotion"];
    let closed = json!({"hooks": {"confirm-rollout": 403, "confirm-promotion": 403}});
    let script = from_initialized(json!([image(2), closed, {"tick": 2}, ask("promote at 1 by ada"), {"tick": 5}]));
    let ticks = play(gated(&gates), script);
    assert_eq!((ticks[2].phase, ticks[3].phase), (Phase::Waiting, Phase::Progressing));
    assert!(has_event(&ticks[3], "Normal Synced Request accepted: promote at 1 by ada"), "{:?}", ticks[3].events);
    assert_eq!(ticks[7].phase, Phase::WaitingPromotion, "the same request does not open the next gate");
}

#[test]
fn promote_without_a_gate_is_refused() {
    let script = from_initialized(json!([image(2), {"tick": 2}, ask("promote at 1 by ada"), {"tick": 1}]));
    let ticks = play(halves(), script);
    assert!(has_event(&ticks[3], "Request refused, no gate holds the rollout back: promote at 1 by ada"));
}

#[test]
fn promote_full_goes_straight_to_the_promotion() {
    let mut spec = gated(&["confirm-rollout", "confirm-promotion"]);
    spec["analysis"]["stepWeight"] = json!(5);
    let closed = json!({"hooks": {"confirm-rollout": 403, "confirm-promotion": 403}});
    let script = from_initialized(json!([image(2), closed, {"tick": 1}, ask("promote-full at 1 by ada"), {"tick": 4}]));
    let phases: Vec<_> = play(spec, script)[1..].iter().map(|tick| tick.phase).collect();
    assert_eq!(phases, [Phase::Waiting, Phase::Progressing, Phase::Promoting, Phase::Finalising, Phase::Succeeded]);
}

#[test]
fn skip_promotes_as_skip_analysis_does() {
    let script = from_initialized(
        json!([image(2), {"metrics": {"request-success-rate": 1}}, {"tick": 2}, ask("skip at 1 by ada: urgent"), {"tick": 2}]),
    );
    let ticks = play(halves(), script);
    assert_eq!((ticks[3].phase, ticks[3].primary_image.as_deref()), (Phase::Succeeded, Some("podinfo:2")));
    assert!(has_event(&ticks[3], "Request accepted: skip at 1 by ada: urgent"));
    assert_eq!(ticks[4].events, [""; 0]);
}

#[test]
fn rollback_sends_all_traffic_back_and_retry_tries_the_revision_again() {
    let script = from_initialized(
        json!([image(2), {"tick": 2}, ask("rollback at 1 by ada"), {"tick": 2}, ask("retry at 2 by ada"), {"tick": 5}]),
    );
    let ticks = play(halves(), script);
    assert_eq!(states(&ticks)[2..5], [(Phase::Progressing, 50, 0), (Phase::Failed, 0, 0), (Phase::Failed, 0, 0)]);
    assert_eq!(ticks[3].alerts, [json!({"severity": "warn", "message": "Rolling back on request"})]);
    assert_eq!(ticks[5].phase, Phase::Progressing, "{:?}", ticks[5].events);
    assert!(has_event(&ticks[5], "Request accepted: retry at 2 by ada"), "{:?}", ticks[5].events);
    assert!(ticks[6..].iter().all(|tick| !has_event(tick, "Request")), "obeyed once");
    assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Succeeded));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    for (before, request, why) in [
        (0, "rollback at 1 by ada", "no rollout is in flight"),
        (0, "retry at 1 by ada", "the last rollout did not fail"),
        (3, "rollback at 1 by ada", "the promotion has begun; bring the former revision back to the target"),
        (2, "frobnicate", "it begins with none of promote, promote-full, skip, rollback, retry"),
    ] {
        let mut steps = if before > 0 { vec![image(2), json!({"tick": before})] } else { Vec::new() };
        steps.extend([ask(request), json!({"tick": 2})]);
        let ticks = play(halves(), from_initialized(json!(steps)));
        let told: Vec<_> =
            ticks.iter().flat_map(|tick| &tick.events).filter(|event| event.contains("Request")).collect();
        assert_eq!(told, [&format!("Warning Synced Request refused, {why}: {request}")]);
    }
}

#[test]
fn a_paused_rollout_stays_where_it_is_until_it_is_resumed() {
    let bad = json!({"metrics": {"request-success-rate": 1}});
    let script = from_initialized(json!([image(2), {"tick": 2}, bad, pause(json!("at 1 by ada")), {"tick": 3},
        pause(Value::Null), {"tick": 1}]));
    let ticks = play(halves(), script);
    assert_eq!(states(&ticks)[3..6], [(Phase::Progressing, 50, 0); 3]);
    assert_eq!(ticks[3].events, ["Normal Synced Rollout of podinfo.default paused at 1 by ada"]);
    assert_eq!(
        (ticks[4].events.len(), ticks[4].waiting_for.as_str()),
        (0, "slipway canary resume; paused at 1 by ada")
    );
    assert!(has_event(&ticks[6], "Rollout of podinfo.default resumed") && ticks[6].failed_checks == 1);
}

#[test]
fn a_pause_can_end_by_itself() {
    let until = EPOCH + std::time::Duration::from_secs(45);
    let text = format!("at {EPOCH} by ada until {until}: lunch");
    let ticks = play(halves(), from_initialized(json!([image(2), {"tick": 1}, pause(json!(text)), {"tick": 4}])));
    let weights: Vec<_> = states(&ticks).iter().map(|state| state.1).collect();
    assert_eq!(weights[..5], [0, 0, 0, 0, 50]);
}

#[test]
fn a_rollback_while_a_gate_holds_gives_the_revision_up() {
    let closed = json!({"hooks": {"confirm-rollout": 403}});
    let script = from_initialized(json!([image(2), closed, {"tick": 1}, ask("rollback at 1 by ada"), {"tick": 3}]));
    let ticks = play(gated(&["confirm-rollout"]), script);
    let phases: Vec<_> = ticks[1..].iter().map(|tick| tick.phase).collect();
    assert_eq!(phases, [Phase::Waiting, Phase::Failed, Phase::Failed, Phase::Failed]);
}

#[test]
fn nothing_is_promoted_at_once_before_the_target_is_ready() {
    for request in ["skip at 1 by ada", "promote-full at 1 by ada"] {
        let script = json!([image(2), {"tick": 1}, {"target": "updating"}, ask(request), {"tick": 2}, {"target": "ready"}, {"tick": 1}]);
        let ticks = play(halves(), from_initialized(script));
        assert_eq!(ticks[3].primary_image.as_deref(), Some("podinfo:1"), "{request}");
        assert!(!has_event(&ticks[3], "Request"), "{request}: {:?}", ticks[3].events);
        assert_eq!(ticks[4].primary_image.as_deref(), Some("podinfo:2"), "{request}");
    }
}
