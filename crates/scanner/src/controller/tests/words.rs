//! The reasons and words of policies that choose nothing, what wakes a policy, and the notes of repositories in which nothing
//! changed. Source: reference image-automation.md sections 2.1, 2.4, 2.5 and 2.6.

use super::*;

const NOT_THERE: &str = "failed to get the referred ImageRepository: referenced ImageRepository does not exist: \
    ImageRepository.image.toolkit.fluxcd.io \"gone\" not found";

#[tokio::test]
async fn every_refusal_of_a_policy_has_the_reason_and_the_words_of_flux() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0"]).await;
    let world = World::with(Options { no_cross_namespace_refs: true, ..Options::default() }).await;
    world.repository(&registry.image(), json!({})).await;
    world.until::<ImageRepository>("apps/app", is_ready).await;
    world.apply("ImageRepository", "apps/tagged", json!({"image": "example.com/app:1", "interval": "1h"})).await;
    let account =
        json!({"image": registry.image(), "interval": "1h", "provider": "aws", "serviceAccountName": "reader"});
    world.apply("ImageRepository", "apps/cloud", account).await;
    let all = json!({"alphabetical": {}});
    let of = |repository: &str, policy: Value| json!({"imageRepositoryRef": {"name": repository}, "policy": policy});
    let with = |mut spec: Value, field: &str, value: Value| {
        spec[field] = value;
        spec
    };
    let image = registry.image();
    // A tag of which the registry lost the image.
    registry.plant("team/bare", 1);
    let bare = format!("{}/team/bare", registry.address);
    world.apply("ImageRepository", "apps/bare", json!({"image": bare, "interval": "1h"})).await;
    let cases = [
        (of("gone", all.clone()), "DependencyNotReady", NOT_THERE.to_owned(), false),
        (
            json!({"imageRepositoryRef": {"name": "app", "namespace": "other"}, "policy": all}),
            "AccessDenied",
            "failed to get the referred ImageRepository: cannot access 'ImageRepository/other/app', cross-namespace \
             references have been blocked"
                .to_owned(),
            false,
        ),
        (
            of("tagged", all.clone()),
            "ImageURLInvalid",
            "image 'example.com/app:1' should not include a tag; remove ':1'".to_owned(),
            true,
        ),
        (
            of("app", json!({})),
            "InvalidPolicy",
            "invalid policy: given ImagePolicyChoice object is invalid".to_owned(),
            true,
        ),
        (
            with(of("app", all.clone()), "filterTags", json!({"pattern": "("})),
            "InvalidPolicy",
            "failed to filter tags: invalid regular expression pattern '(': ".to_owned(),
            true,
        ),
        (
            with(of("app", all.clone()), "digestReflectionPolicy", json!("Always")),
            "IntervalNotConfigured",
            "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'".to_owned(),
            true,
        ),
        (of("cloud", all.clone()), "FeatureGateDisabled", WORKLOAD.to_owned(), true),
        (
            with(of("cloud", all.clone()), "digestReflectionPolicy", json!("IfNotPresent")),
            "FeatureGateDisabled",
            WORKLOAD.to_owned(),
            true,
        ),
        (
            of("app", json!({"semver": {"range": ">1"}})),
            "Failure",
            "unable to determine latest version from provided list".to_owned(),
            false,
        ),
        (
            of("app", json!({"numerical": {}})),
            "Failure",
            "failed to parse invalid numeric value '1.0.0'".to_owned(),
            false,
        ),
        (
            with(of("app", all.clone()), "filterTags", json!({"pattern": "^x"})),
            "Failure",
            "version list argument cannot be empty".to_owned(),
            false,
        ),
        (
            with(of("bare", all.clone()), "digestReflectionPolicy", json!("IfNotPresent")),
            "Failed",
            format!("failed fetching digest of {bare}:1.0.0: "),
            false,
        ),
    ];
    for (number, (spec, ..)) in cases.iter().enumerate() {
        world.apply("ImagePolicy", &format!("apps/p{number}"), spec.clone()).await;
    }
    for (number, (spec, reason, message, is_terminal)) in cases.iter().enumerate() {
        let is_told = |object: &Value| condition(object, READY).is_some_and(|(status, ..)| status == "False");
        let object = world.until::<ImagePolicy>(&format!("apps/p{number}"), is_told).await;
        let (_, given, text) = condition(&object, READY).expect("Ready");
        assert_eq!(given, *reason, "{spec}: {text}");
        assert!(text.starts_with(message.as_str()), "{spec}: {text}");
        let stalled = condition(&object, STALLED).map(|(.., text)| text);
        assert_eq!(stalled, is_terminal.then_some(text), "{spec}");
        let is_settled = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        assert_eq!(is_settled, *is_terminal, "{spec}");
    }
    // Its own namespace is no other one, whether it is named or not.
    let named = json!({"imageRepositoryRef": {"name": "app", "namespace": "apps"}, "policy": all});
    world.apply("ImagePolicy", "apps/own", named).await;
    let own = world.until::<ImagePolicy>("apps/own", is_ready).await;
    assert_eq!(own["status"]["latestRef"], json!({"name": image, "tag": "1.0.0"}));
    world.finish().await;
}

const WORKLOAD: &str = "to use spec.serviceAccountName in the ImageRepository for provider authentication please enable \
    the ObjectLevelWorkloadIdentity feature gate in the controller";

#[tokio::test]
async fn a_namespace_whose_labels_do_not_fit_is_refused() {
    let world = World::new().await;
    let from = json!([{"matchLabels": {"team": "a"}}]);
    world.repository("example.com/app", json!({"suspend": true, "accessFrom": {"namespaceSelectors": from}})).await;
    world.policy("team/app", "*").await;
    let denied = world.until::<ImagePolicy>("team/app", |object| failed(object, "AccessDenied")).await;
    let text = "failed to get the referred ImageRepository: access denied: 'apps/app' can't be accessed due to ACL labels \
        mismatch on namespace 'team'";
    assert_eq!(condition(&denied, READY).map(|(.., message)| message).as_deref(), Some(text));
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"team": "a"}}});
    world.store.apply("test", &namespace).await.expect("applied");
    // Labels are not watched: the policy is tried again.
    world.until::<ImagePolicy>("team/app", |object| failed(object, "DependencyNotReady")).await;
    world.finish().await;
}

#[tokio::test]
async fn a_scan_in_which_nothing_changed_is_noted() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0"]).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    world.until::<ImageRepository>("apps/app", is_ready).await;
    let noted = async |text: &str| {
        let start = clock::instant();
        loop {
            let events = world.store.events(&EventFilter::default()).await.expect("events");
            if events.iter().any(|event| {
                event.severity == reconcile::Severity::Trace
                    && event.reason == "Succeeded"
                    && event.message.starts_with(text)
            }) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{text} is not among {events:?}");
            clock::sleep(Duration::from_millis(20)).await;
        }
    };
    world.request_scan("now").await;
    noted("tags did not change, next scan in 1h0m0s").await;
    // Another generation with the same image and list is no reason to scan.
    world.repository(&registry.image(), json!({"timeout": "1m"})).await;
    let is_settled = |object: &Value| object["status"]["observedGeneration"] == 2;
    world.until::<ImageRepository>("apps/app", is_settled).await;
    noted("no change in repository configuration since last scan, next scan in ").await;
    world.finish().await;
}

#[test]
fn what_wakes_a_policy() {
    let repository = |fields: Value| {
        let mut object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository",
            "metadata": {"name": "app", "namespace": "apps"}, "spec": {"image": "example.com/app", "interval": "1m"}});
        for (field, value) in fields.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        serde_json::from_value::<ImageRepository>(object).expect("a repository")
    };
    let policy = |namespace: &str, reference: Value| {
        let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
            "metadata": {"name": "p", "namespace": namespace}, "spec": {"imageRepositoryRef": reference, "policy": {}}});
        serde_json::from_value::<ImagePolicy>(object).expect("a policy")
    };
    let policies = [
        policy("apps", json!({"name": "app"})),
        policy("team", json!({"name": "app", "namespace": "apps"})),
        policy("other", json!({"name": "app"})),
        policy("apps", json!({"name": "web"})),
    ];
    let scanned = |revision: &str| {
        let result = json!({"revision": revision, "tagCount": 1, "scanTime": "2026-01-02T03:04:05Z"});
        repository(json!({"status": {"lastScanResult": result, "canonicalImageName": "example.com/app"}}))
    };
    let (new, one, two) = (repository(json!({})), scanned("1"), scanned("2"));
    let mut later = scanned("1");
    if let Some(result) = later.status.as_mut().and_then(|status| status.last_scan_result.as_mut()) {
        result.scan_time = None;
    }
    for (before, after, is_woken) in [
        (None, Some(&new), true),
        (Some(&one), None, true),
        (Some(&new), Some(&one), true),
        (Some(&one), Some(&two), true),
        (Some(&one), Some(&one), false),
        (Some(&one), Some(&later), false),
        (Some(&one), Some(&scanned("")), false),
        (None, None, false),
    ] {
        let affected = affected(before, after);
        let woken = policies.iter().filter(|policy| affected.as_ref().is_some_and(|is_affected| is_affected(policy)));
        let woken: Vec<_> = woken.map(|policy| policy.metadata.namespace.clone()).collect();
        let expected: &[&str] = if is_woken { &["apps", "team"] } else { &[] };
        assert_eq!(woken.iter().flatten().collect::<Vec<_>>(), expected, "{before:?} {after:?}");
    }
}
