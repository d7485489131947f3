//! What is done better than the reference: every test here fails on the reference's behaviour. Source: reference
//! progressive-delivery.md, B.8 "Defects", and B.3, B.5, C.1, F.2 where they name a quirk.

use super::*;

/// Defect 1.
#[test]
fn a_revision_that_comes_while_the_primary_is_not_ready_is_not_lost() {
    let ticks = play(
        halves(),
        from_initialized(
            json!([image(2), {"metrics": {"request-success-rate": 1}}, {"tick": 5}, {"primary": "updating"},
            image(3), {"tick": 2}, {"primary": "ready"}, {"metrics": {"request-success-rate": 100}}, {"tick": 6}]),
        ),
    );
    assert_eq!(ticks[5].phase, Phase::Failed);
    assert_eq!(ticks[7].phase, Phase::Failed, "{:?}", ticks[7].events);
    assert_eq!(ticks[8].phase, Phase::Progressing, "the revision is tried once the primary is ready");
    assert_eq!(ticks.last().and_then(|tick| tick.primary_image.clone()).as_deref(), Some("podinfo:3"));
}

/// Defect 2.
#[test]
fn putting_the_promoted_revision_back_cancels_the_run() {
    let ticks = play(halves(), from_initialized(json!([image(2), {"tick": 2}, image(1), {"tick": 3}])));
    let states = states(&ticks);
    assert_eq!(states[2], (Phase::Progressing, 50, 0));
    assert_eq!(states[3..], [(Phase::Succeeded, 0, 0); 3]);
    assert!(has_event(&ticks[3], "Promoted revision restored! Scaling down podinfo.default"), "{:?}", ticks[3].events);
    assert_eq!((ticks[3].target_replicas, ticks[5].events.len()), (Some(0), 0));
}

/// Defect 3.
#[test]
fn the_weight_stays_true_while_the_promotion_waits() {
    let script = from_initialized(json!([image(2), {"hooks": {"confirm-promotion": 403}}, {"tick": 4}]));
    let ticks = play(gated(&["confirm-promotion"]), script);
    let last = ticks.last().unwrap();
    assert_eq!((last.phase, last.canary_weight, last.iterations), (Phase::WaitingPromotion, 50, 0));
    assert_eq!(last.route.map(|route| route.canary), Some(50));
    assert_eq!(last.waiting_for, "hook confirm-promotion to approve the promotion");
}

/// Defect 4.
#[test]
fn mirroring_advances_with_gateway_api_weights() {
    let mut spec = halves();
    cases::merge(
        &mut spec,
        &json!({"provider": "gatewayapi:v1", "service": {"gatewayRefs": [{"name": "gateway"}]}, "analysis": {"mirror": true}}),
    );
    let script = json!([image(1), {"tick": 1}, {"metrics": {"request-duration": 0.1}}, image(2), {"tick": 6}]);
    let ticks = play(spec, script);
    assert!(ticks[2].route.is_some_and(|route| route.mirrored), "{:?}", ticks[2]);
    assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Succeeded), "{:?}", states(&ticks));
}

/// The same where the router cannot mirror at all.
#[test]
fn a_router_that_cannot_mirror_advances_without() {
    let mut spec = halves();
    cases::merge(&mut spec, &json!({"provider": "traefik", "analysis": {"mirror": true}}));
    let ticks = play(spec, from_initialized(json!([image(2), {"tick": 5}])));
    let told = "Traffic mirroring is not supported when using the traefik provider";
    assert_eq!(ticks.iter().filter(|tick| has_event(tick, told)).count(), 1);
    assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Succeeded), "{:?}", states(&ticks));
}

/// Defect 5. What the route's owners set beside the weights, and its weights after an edit, are checked with the routers.
#[test]
fn an_edit_of_the_service_keeps_the_weights_of_the_run() {
    let script = from_initialized(json!([image(2), {"tick": 2},
        {"patch": {"spec": {"service": {"timeout": "5s", "apex": {"labels": {"team": "a"}}}}}}, {"metrics": {"request-success-rate": 1}},
        {"tick": 1}]));
    let ticks = play(halves(), script);
    assert_eq!(states(&ticks)[3], (Phase::Progressing, 50, 1));
}

/// Defect 6.
#[test]
fn the_rollback_hook_is_asked_in_every_waiting_phase() {
    for gate in ["confirm-rollout", "confirm-promotion"] {
        let mut hooks = json!({"rollback": 403});
        hooks[gate] = json!(403);
        let script = from_initialized(
            json!([image(2), {"hooks": hooks}, {"tick": 4}, {"hooks": {"rollback": 200}}, {"tick": 1}]),
        );
        let ticks = play(gated(&["rollback", gate]), script);
        let (before, after) = (&ticks[4], &ticks[5]);
        assert!(matches!(before.phase, Phase::Waiting | Phase::WaitingPromotion), "{gate}: {}", before.phase);
        assert!(has_event(before, "Rollback hook rollback not signaling a rollback"), "{gate}: {:?}", before.events);
        assert_eq!((after.phase, after.route.map(|route| route.canary)), (Phase::Failed, Some(0)), "{gate}");
        assert!(has_event(after, "Rolling back podinfo.default manual webhook invoked"), "{gate}: {:?}", after.events);
    }
}

#[test]
fn a_target_reverted_while_a_gate_holds_it_back_is_not_analysed() {
    let script =
        from_initialized(json!([image(2), {"hooks": {"confirm-rollout": 403}}, {"tick": 1}, image(1), {"tick": 2}]));
    let ticks = play(gated(&["confirm-rollout"]), script);
    assert_eq!((ticks[1].phase, ticks[2].phase, ticks[3].phase), (Phase::Waiting, Phase::Succeeded, Phase::Succeeded));
}

/// Defect 7.
#[test]
fn a_canary_without_an_analysis_promotes_without_judging() {
    let canary = cases::canary(&json!({"spec": {"provider": "istio"}}));
    let script = Scenario::parse(&from_initialized(json!([image(2), {"tick": 3}]))).unwrap();
    let ticks = run(canary, Vec::new(), &script, Default::default());
    assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Succeeded));
}

/// Defect 8.
#[test]
fn fractions_of_milliseconds_count() {
    let mut spec = halves();
    spec["analysis"]["metrics"] = json!([{"name": "request-duration", "thresholdRange": {"max": 0.9}}]);
    for (measured, phase) in [(0.8, Phase::Succeeded), (0.95, Phase::Failed)] {
        let script = from_initialized(json!([{"metrics": {"request-duration": measured}}, image(2), {"tick": 8}]));
        assert_eq!(play(spec.clone(), script).last().map(|tick| tick.phase), Some(phase), "{measured}");
    }
}

#[test]
fn a_stuck_canary_alerts() {
    let ticks = play(halves(), from_initialized(json!([image(2), {"tick": 1}, {"target": "stuck"}, {"tick": 1}])));
    assert_eq!((ticks[2].phase, ticks[2].target_replicas), (Phase::Failed, Some(0)));
    let text = "Progress deadline exceeded canary deployment podinfo.default not ready: deployment \"podinfo\" exceeded its progress deadline";
    assert_eq!(ticks[2].alerts, [json!({"severity": "error", "message": text})]);
    let problem = text.trim_start_matches("Progress deadline exceeded ");
    let told = [problem, "Canary failed! Scaling down podinfo.default"];
    assert_eq!(ticks[2].events, told.map(|text| format!("Warning Synced {text}")));
}

/// B.3 step 17: the original rolls back, though the primary already runs the new revision.
#[test]
fn a_target_that_breaks_after_it_was_copied_does_not_stop_the_promotion() {
    let ticks = play(halves(), from_initialized(json!([image(2), {"tick": 3}, {"target": "stuck"}, {"tick": 2}])));
    let phases: Vec<_> = ticks[3..].iter().map(|tick| tick.phase).collect();
    assert_eq!(phases, [Phase::Promoting, Phase::Finalising, Phase::Succeeded]);
    assert_eq!(ticks[5].primary_image.as_deref(), Some("podinfo:2"));
}

/// B.5: the original scales the target down whether or not the primary is there to take over.
#[test]
fn skipping_the_analysis_never_leaves_nobody_to_serve() {
    let mut spec = halves();
    spec["skipAnalysis"] = json!(true);
    // A new Canary over a target that serves: its pods stay until the primary's are ready.
    let ticks = play(
        spec.clone(),
        json!({"world": {"readiness": "manual"}, "steps": [image(1), {"replicas": 2}, {"target": "ready"}, {"tick": 2}, {"primary": "ready"}, {"tick": 1}]}),
    );
    assert_eq!((ticks[1].phase, ticks[1].target_replicas), (Phase::Initializing, Some(2)), "{:?}", ticks[1]);
    assert_eq!((ticks[2].phase, ticks[2].target_replicas), (Phase::Initialized, Some(0)));
    // A new revision: the target's pods stay until the primary runs it.
    let ticks = play(
        spec,
        from_initialized(
            json!([image(2), {"tick": 1}, {"primary": "updating"}, {"tick": 2}, {"primary": "ready"}, {"tick": 1}]),
        ),
    );
    assert_eq!((ticks[3].phase, ticks[3].primary_image.as_deref()), (Phase::Progressing, Some("podinfo:2")));
    assert_ne!(ticks[3].target_replicas, Some(0), "the target runs until the primary is ready");
    assert_eq!((ticks[4].phase, ticks[4].target_replicas), (Phase::Succeeded, Some(0)));
}

/// B.3 step 6: without a router the original takes the target's pods here, although nobody else serves.
#[test]
fn a_first_deployment_whose_primary_never_starts_leaves_the_target_serving() {
    for (provider, health) in [("istio", "stuck"), ("kubernetes", "unavailable")] {
        let mut spec = halves();
        spec["provider"] = json!(provider);
        let script = json!({"world": {"readiness": "manual"}, "steps": [image(1), {"replicas": 2}, {"target": "ready"}, {"tick": 1},
            {"primary": health}, {"tick": 3}, image(2), {"tick": 1}, {"primary": "ready"}, {"tick": 1}]});
        let ticks = play(spec, script);
        for tick in &ticks[1..5] {
            assert_eq!((tick.phase, tick.target_replicas), (Phase::Initializing, Some(2)), "{provider}: {tick:?}");
            assert!(tick.waiting_for.contains("podinfo-primary.default not ready") || has_event(tick, "Copying"));
        }
        let end = &ticks[5];
        assert_eq!((end.phase, end.primary_image.as_deref()), (Phase::Initialized, Some("podinfo:2")), "{provider}");
    }
}

#[test]
fn every_wait_says_what_it_waits_for() {
    let all = ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"];
    let mut steps = vec![
        image(2),
        json!({"hooks": {"confirm-rollout": 403, "confirm-traffic-increase": 403, "confirm-promotion": 403}}),
    ];
    for gate in all {
        steps.extend([json!({"tick": 3}), json!({"hooks": {gate: 200}})]);
    }
    let ticks = play(gated(&all), from_initialized(json!(steps)));
    let waits: Vec<_> = [3, 6, 9].iter().map(|&index: &usize| ticks[index].waiting_for.as_str()).collect();
    assert_eq!(
        waits,
        [
            "hook confirm-rollout to approve the rollout",
            "hook confirm-traffic-increase to approve the traffic increase",
            "hook confirm-promotion to approve the promotion",
        ]
    );
    let stuck = play(halves(), from_initialized(json!([image(2), {"tick": 1}, {"target": "updating"}, {"tick": 1}])));
    assert!(stuck[2].waiting_for.starts_with("this to be resolved: canary deployment podinfo.default not ready"));
    let bad = json!([image(2), {"tick": 2}, {"metrics": {"request-success-rate": 1}}, {"tick": 1}]);
    let failed = play(halves(), from_initialized(bad)).pop().unwrap().waiting_for;
    assert_eq!(failed, "this check to pass: Halt podinfo.default advancement success rate 1.00% < 99%");
}

#[test]
fn the_status_says_what_is_awaited_and_stops_saying_it() {
    let script = from_initialized(
        json!([image(2), {"hooks": {"confirm-rollout": 403}}, {"tick": 2}, {"hooks": {"confirm-rollout": 200}}, {"tick": 1}]),
    );
    let scenario = Scenario::parse(&script).unwrap();
    let mut rehearsal = Rehearsal::new(canary(gated(&["confirm-rollout"])), Vec::new(), &scenario, Default::default());
    let mut seen = Vec::new();
    for step in &scenario.steps {
        rehearsal.play(step, &mut |state, _| {
            let status = state.canary.status().into_owned();
            seen.push(crate::conditions::message(&status.conditions, crate::conditions::WAITING).map(str::to_owned));
        });
    }
    let waits = Some("Waits for hook confirm-rollout to approve the rollout.".to_owned());
    assert_eq!(seen, [None, waits.clone(), waits, None]);
}

/// D.1: the first failure stops the hooks of a type.
#[test]
fn a_failed_post_rollout_hook_stops_those_after_it() {
    let mut spec = gated(&["post-rollout", "post-rollout"]);
    spec["analysis"]["webhooks"][1]["name"] = json!("second");
    let ticks = play(spec, from_initialized(json!([{"hooks": {"post-rollout": 403}}, image(2), {"tick": 6}])));
    let calls: Vec<_> = ticks.iter().flat_map(|tick| &tick.webhook_calls).map(|call| call.name.as_str()).collect();
    assert_eq!(calls, ["post-rollout"]);
}

/// A Knative Service has no pods of ours: an annotation on it names the primary.
#[test]
fn a_knative_service_is_promoted_by_naming_its_revision() {
    let mut spec = halves();
    cases::merge(
        &mut spec,
        &json!({"provider": "knative", "targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "podinfo"}}),
    );
    let ticks = play(spec, from_initialized(json!([image(2), {"tick": 6}])));
    let phases: Vec<_> = ticks.iter().map(|tick| tick.phase).collect();
    assert_eq!(
        phases[..6],
        [
            Phase::Initialized,
            Phase::Progressing,
            Phase::Progressing,
            Phase::Promoting,
            Phase::Finalising,
            Phase::Succeeded
        ]
    );
}
