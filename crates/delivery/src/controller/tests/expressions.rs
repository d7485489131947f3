//! Expressions that a Kustomization brings: when a dependency is ready, how its kinds are judged.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_expression_says_when_a_dependency_is_ready_or_that_it_cannot_be_read() {
    let world = World::new(&[("infra/settings.yaml", CONFIG_MAP), ("apps/web.yaml", DEPLOYMENT)]).await;
    world.source(json!({})).await;
    let on = |source: &str| json!({"dependsOn": [{"name": "infra", "readyExpr": source}]});
    world.kustomization("infra", json!({"path": "infra", "suspend": true})).await;
    world.kustomization("apps", on("has(dep.metadata.labels) && dep.metadata.labels.version == 'v1'")).await;
    let waiting = world.ready(&kustomization("apps"), "False DependencyNotReady").await;
    assert!(ready(&waiting).ends_with("dependency 'flux-system/infra' is not ready according to readyExpr eval"));
    let start = clock::instant();
    let merge = json!({"metadata": {"labels": {"version": "v1"}}});
    world.store.patch(&kustomization("infra"), "user", &merge).await.unwrap();
    world.ready(&kustomization("apps"), "True").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    world.kustomization("apps", on("deps.metadata.name == 'infra'")).await;
    let stalled = world.ready(&kustomization("apps"), "False InvalidCELExpression").await;
    assert!(ready(&stalled).contains("undeclared reference to 'deps'"), "{}", ready(&stalled));
    assert!(stalled["status"]["conditions"].as_array().unwrap().iter().any(|condition| condition["type"] == "Stalled"));
    assert_eq!(stalled["status"]["observedGeneration"], stalled["metadata"]["generation"]);
    world.kustomization("apps", on("size(dep.metadata.name) == 'infra'")).await;
    let applied = "found no matching overload for '_==_' applied to '(int, string)'";
    world.until(&kustomization("apps"), |object| ready(object).contains(applied)).await;
}

#[tokio::test(start_paused = true)]
async fn expressions_judge_the_health_of_their_kinds() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP)]).await;
    world.source(json!({})).await;
    let judged = |more: Value| {
        let mut one = json!({"apiVersion": "v1", "kind": "ConfigMap", "current": "data.color == 'green'"});
        one.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        json!({"wait": true, "timeout": "1m", "healthCheckExprs": [one]})
    };
    world.kustomization("apps", judged(json!({}))).await;
    let failed = ready(&world.ready(&kustomization("apps"), "False HealthCheckFailed").await);
    assert!(failed.contains("timeout waiting for: [ConfigMap/default/settings status: 'InProgress']"), "{failed}");
    world.kustomization("apps", judged(json!({"failed": "data.tone == 'dark'"}))).await;
    let wanted = "status: 'Unknown': failed to evaluate the CEL expression 'data.tone == 'dark'': No such key: tone";
    world.until(&kustomization("apps"), |object| ready(object).contains(wanted)).await;
    world.kustomization("apps", judged(json!({"failed": "data.color == 'blue'"}))).await;
    let wanted = "failed early due to stalled resources: [ConfigMap/default/settings status: 'Failed']";
    world.until(&kustomization("apps"), |object| ready(object).contains(wanted)).await;
    world.kustomization("apps", judged(json!({"current": "data.color == 'blue'"}))).await;
    world.ready(&kustomization("apps"), "True").await;

    world.kustomization("apps", judged(json!({"inProgress": "foo."}))).await;
    let stalled = ready(&world.ready(&kustomization("apps"), "False InvalidCELExpression").await);
    assert!(stalled.contains("healthchecks[0]: failed to parse the expression InProgress"), "{stalled}");
}
