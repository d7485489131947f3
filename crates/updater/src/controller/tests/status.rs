//! What becomes of an automation: every refusal with its reason and words, and the status, events and short cut of runs that
//! end well. Source: reference image-automation.md sections 1.4, 2.1, 2.4 to 2.6, 6.5, 6.6 and 7.4.

use api::conditions::{self, STALLED};

use super::*;

/// What is patched into the spec of an automation, the reason and the beginning of the words that it is refused with.
type Refusal = (Value, &'static str, &'static str);

const TERMINAL: [&str; 6] = [
    "InvalidSourceConfiguration",
    "InvalidPolicySelector",
    "InvalidUpdateStrategy",
    "RemovedTemplateField",
    "AccessDenied",
    "FeatureGateDisabled",
];

fn source(name: &str) -> Value {
    json!({"sourceRef": {"kind": "GitRepository", "name": name}})
}

/// A commit with these fields too.
fn commits(mut fields: Value) -> Value {
    fields["author"] = json!({"email": BOT});
    json!({"git": {"commit": fields}})
}

fn signs(secret: &str, kind: &str) -> Value {
    commits(json!({"signingKey": {"secretRef": {"name": secret}, "type": kind}}))
}

fn says(template: &str) -> Value {
    commits(json!({"messageTemplate": template}))
}

fn refusals() -> Vec<Refusal> {
    vec![
        (
            json!({"sourceRef": {"kind": "Bucket", "name": "fleet"}}),
            "InvalidSourceConfiguration",
            "source kind 'Bucket' not supported: invalid source configuration",
        ),
        (
            json!({"git": null}),
            "InvalidSourceConfiguration",
            "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration",
        ),
        (
            json!({"policySelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
            "InvalidPolicySelector",
            "failed to parse policy selector: \"Like\" is not a valid label selector operator",
        ),
        (json!({"update": {"strategy": ""}}), "InvalidUpdateStrategy", "no update strategy"),
        (json!({"update": {"strategy": "Kyaml"}}), "InvalidUpdateStrategy", "unsupported update strategy: Kyaml"),
        (
            json!({"sourceRef": {"kind": "GitRepository", "name": "fleet", "namespace": "two"}}),
            "AccessDenied",
            "can't access 'GitRepository/two/fleet', cross-namespace references have been blocked",
        ),
        (
            source("account"),
            "FeatureGateDisabled",
            "to use spec.serviceAccountName in the GitRepository for provider authentication please enable the \
             ObjectLevelWorkloadIdentity feature gate in the controller",
        ),
        (
            source("gone"),
            "SourceManagerFailed",
            "failed configuring source manager: referenced git repository does not exist: \
             GitRepository.source.toolkit.fluxcd.io \"gone\" not found",
        ),
        (
            source("locked"),
            "SourceManagerFailed",
            "failed configuring source manager: failed to get auth secret 'one/gone': secrets \"gone\" not found",
        ),
        (
            source("scp"),
            "SourceManagerFailed",
            "failed configuring source manager: failed to parse URL 'git@host:team/fleet'",
        ),
        (
            source("keyless"),
            "SourceManagerFailed",
            "failed configuring source manager: failed to configure authentication options: \
             invalid 'ssh' auth option: 'identity' is required",
        ),
        (
            source("secretless"),
            "SourceManagerFailed",
            "failed configuring source manager: failed to configure authentication options: \
             invalid 'ssh' auth option: 'identity' is required",
        ),
        (
            source("proxied"),
            "SourceManagerFailed",
            "failed configuring source manager: failed to get proxy secret 'one/gone': secrets \"gone\" not found",
        ),
        (
            source("appless"),
            "InvalidSourceConfiguration",
            "secretRef with github app data must be specified when provider is set to github: invalid source \
             configuration",
        ),
        (
            source("app"),
            "InvalidSourceConfiguration",
            "secretRef 'one/app' has github app data but provider is not set to github: invalid source configuration",
        ),
        (
            source("tagged"),
            "SourceManagerFailed",
            "failed configuring source manager: push spec not provided, and cannot be inferred from \
             .spec.git.checkout.ref or GitRepository .spec.ref",
        ),
        (
            signs("gone", "gpg"),
            "SourceManagerFailed",
            "failed configuring source manager: could not find signing key secret 'gone': secrets \"gone\" not found",
        ),
        (
            signs("login", "ssh"),
            "SourceManagerFailed",
            "failed configuring source manager: signing key secret 'login' does not contain an 'identity' key",
        ),
        (source("elsewhere"), "GitOperationFailed", "failed to checkout source: branch dev not found in '"),
        (json!({"update": {"path": "nowhere"}}), "UpdateFailed", "failed to apply policies: path 'nowhere' not found"),
        (
            says("{{ .Changed"),
            "GitOperationFailed",
            "failed to update source: unable to create commit message template from spec: ",
        ),
        (says("{{ .Nothing }}"), "GitOperationFailed", "failed to update source: failed to run template from spec: "),
        (
            says("{{ range .Updated.Files }}{{ end }}"),
            "RemovedTemplateField",
            "template uses removed '.Updated' field. Please use '.Changed' instead. See: https://",
        ),
        (
            says("{{ .Changed.ImageResult }}"),
            "RemovedTemplateField",
            "template uses removed '.Changed.ImageResult' field. Please use '.Changed.FileChanges' or '.Changed.Objects' \
             instead. See: https://",
        ),
    ]
}

impl World {
    async fn automate(&self, name: &str, patch: &Value) {
        let mut spec = json!({"interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "git": {"commit": {"author": {"email": BOT}}}});
        for (field, value) in patch.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.apply("image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation", "one", name, spec, json!({})).await;
    }

    async fn fails(&self, name: &str) -> Value {
        let (start, id) = (clock::instant(), reference("ImageUpdateAutomation", "one", name));
        loop {
            let found = self.store.find(&id).await.unwrap().unwrap_or_default();
            if ready(&found).starts_with("False") {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{id} does not fail: {found:#}");
            clock::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How often it was told that nothing is to be done, without and with a look at the files. To become Ready counts as the latter.
    async fn notes(&self) -> (u64, u64) {
        let events = self.events("one").await;
        let count =
            |message: &str| events.iter().filter(|event| event.message == message).map(|event| event.count).sum();
        (count("no change since last reconciliation"), count("repository up-to-date"))
    }

    /// The automation as soon as so many runs were noted.
    async fn noted(&self, short: u64, full: u64, why: &str) -> Value {
        let start = clock::instant();
        loop {
            let notes = self.notes().await;
            if notes.0 + notes.1 >= short + full {
                assert_eq!(notes, (short, full), "{why}");
                return self.store.find(&automation("one")).await.unwrap().unwrap_or_default();
            }
            assert!(start.elapsed() < PATIENCE, "{notes:?}: {why}");
            clock::sleep(Duration::from_secs(10)).await;
        }
    }
}

/// Messages of the Ready condition, and of the Stalled one if it is there.
fn told(object: &Value) -> (String, Option<String>) {
    let list = serde_json::from_value::<Vec<_>>(object["status"]["conditions"].clone()).unwrap();
    let message = |kind| conditions::find(&list, kind).map(|condition| condition.message.clone());
    (message("Ready").unwrap_or_default(), message(STALLED))
}

#[tokio::test(start_paused = true)]
async fn every_refusal_has_the_reason_and_the_words_of_flux() {
    let world = World::with(&[("app.yaml", &marked("one", "app"))], true).await;
    world.source("one", "main").await;
    world.choose("one", "app", "1").await;
    let url = format!("file://{}", world.repository().display());
    let login = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "one", "name": "login"},
        "stringData": {"username": "a"}});
    world.store.apply("user", &login).await.unwrap();
    let app = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "one", "name": "app"},
        "stringData": {"githubAppID": "1"}});
    world.store.apply("user", &app).await.unwrap();
    for (name, fields) in [
        ("locked", json!({"url": url, "secretRef": {"name": "gone"}})),
        ("scp", json!({"url": "git@host:team/fleet", "secretRef": {"name": "login"}})),
        ("keyless", json!({"url": "ssh://git@host/team/fleet", "secretRef": {"name": "login"}})),
        (
            "account",
            json!({"url": "https://dev.azure.com/o/p/_git/r", "provider": "azure", "serviceAccountName": "robot"}),
        ),
        ("secretless", json!({"url": "ssh://git@host/team/fleet"})),
        ("proxied", json!({"url": url, "proxySecretRef": {"name": "gone"}})),
        ("appless", json!({"url": "https://github.com/team/fleet", "provider": "github"})),
        ("app", json!({"url": "https://github.com/team/fleet", "secretRef": {"name": "app"}})),
        ("tagged", json!({"url": url, "ref": {"tag": "v1"}})),
        ("elsewhere", json!({"url": url, "ref": {"branch": "dev"}})),
    ] {
        let mut spec = json!({"interval": "1h", "ref": {"branch": "main"}});
        spec.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
        world.apply("source.toolkit.fluxcd.io/v1", "GitRepository", "one", name, spec, json!({})).await;
    }
    let refusals = refusals();
    for (number, (spec, ..)) in refusals.iter().enumerate() {
        world.automate(&format!("bot{number}"), spec).await;
    }
    for (number, (spec, reason, message)) in refusals.iter().enumerate() {
        let failed = world.fails(&format!("bot{number}")).await;
        let (text, stalled) = told(&failed);
        assert_eq!(ready(&failed), format!("False {reason}"), "{spec}: {text}");
        assert!(text.starts_with(message), "{spec}: {text}");
        let is_terminal = TERMINAL.contains(reason);
        assert_eq!(stalled, is_terminal.then_some(text), "{spec}");
        assert!(failed["status"]["lastAutomationRunTime"].is_string(), "{spec}: a failed run is one");
        assert_eq!(failed["status"].get("observedGeneration").is_some(), is_terminal, "{spec}");
    }
    assert_eq!(world.ask(&["rev-list", "--count", "main"]), "1", "nothing is pushed");
}

#[tokio::test(start_paused = true)]
async fn a_selector_is_read_where_there_is_no_policy_too() {
    let world = World::new(&[("app.yaml", &marked("one", "app"))]).await;
    world.source("one", "main").await;
    world.automate("bot", &json!({"policySelector": {"matchLabels": {"x".repeat(64): ""}}})).await;
    let failed = world.fails("bot").await;
    assert_eq!(ready(&failed), "False InvalidPolicySelector", "{failed:#}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_finds_nothing_new_says_so_and_looks_no_further_than_it_must() {
    let world = World::new(&[("app.yaml", &marked("one", "app"))]).await;
    world.source("one", "main").await;
    world.choose("one", "app", "1").await;
    world.automation("one", Value::Null, json!({})).await;
    let pushed = world.applied("one", "app", "1").await;
    let (head, status) = (world.ask(&["rev-parse", "main"]), &pushed["status"]);
    assert_eq!(
        (&status["lastPushCommit"], &status["observedSourceRevision"], &status["observedPolicies"]),
        (&json!(head), &json!(format!("main@sha1:{head}")), &json!({"app": {"name": "example.com/app", "tag": "1"}}))
    );
    assert_eq!((ready(&pushed).as_str(), told(&pushed).0.as_str()), ("True Succeeded", "repository up-to-date"));
    assert_eq!(status["observedGeneration"], pushed["metadata"]["generation"]);
    assert!(status["lastPushTime"].is_string());
    world.noted(0, 1, "it became Ready").await;
    let next = world.noted(1, 1, "at its interval").await;
    assert_eq!(next["status"]["lastPushTime"], status["lastPushTime"]);
    world.request("one", "now").await;
    let next = world.noted(1, 2, "who asks gets a full run").await;
    assert_eq!(next["status"]["lastHandledReconcileAt"], "now");
    world.noted(2, 2, "the request is handled").await;
    let taken_away = json!({"metadata": {"annotations": {REQUESTED_AT: null}}});
    world.store.patch(&automation("one"), "user", &taken_away).await.unwrap();
    world.noted(3, 2, "who takes a request away asks for nothing").await;

    let work = world.clone_of("human");
    commit(&work, &[("note", "by hand")]);
    git(&work, &["push", "--quiet", "origin", "main"]);
    let next = world.noted(3, 3, "another head is looked at").await;
    let main = world.ask(&["rev-parse", "main"]);
    assert_eq!(next["status"]["observedSourceRevision"], format!("main@sha1:{main}"));
    assert_eq!(next["status"]["lastPushCommit"], head.as_str());

    // A policy that is gone leaves the status.
    assert!(world.store.delete(&policy("one", "app")).await.unwrap());
    let next = world.noted(3, 4, "other policies are another reason to look").await;
    assert_eq!(next["status"].get("observedPolicies"), None, "{next:#}");
    // With another branch to push to, each run looks.
    world.automation("one", json!({"branch": "auto"}), json!({})).await;
    world.noted(3, 5, "another spec").await;
    world.noted(3, 6, "another branch").await;
}

#[test]
fn only_another_choice_and_another_source_wake_an_automation() {
    let policy = |namespace: &str, latest: &Value| {
        let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
            "metadata": {"name": "app", "namespace": namespace},
            "spec": {"imageRepositoryRef": {"name": "r"}, "policy": {}}, "status": {"latestRef": latest}});
        serde_json::from_value::<ImagePolicy>(object).unwrap()
    };
    let bot = |namespace: &str, source: Value| {
        let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
            "metadata": {"name": "bot", "namespace": namespace}, "spec": {"interval": "1h", "sourceRef": source}});
        serde_json::from_value::<ImageUpdateAutomation>(object).unwrap()
    };
    let own = json!({"kind": "GitRepository", "name": "fleet"});
    let bots = [
        bot("one", own.clone()),
        bot("two", own),
        bot("three", json!({"name": "fleet", "namespace": "one"})),
        bot("one", json!({"name": "other"})),
    ];
    let woken = |concerned: Concerned<'_, ImageUpdateAutomation>| -> Vec<String> {
        let concerned = bots.iter().filter(|bot| concerned.as_ref().is_some_and(|is_concerned| is_concerned(bot)));
        concerned.filter_map(|bot| bot.metadata.namespace.clone()).collect()
    };
    let none: [&str; 0] = [];
    let chosen = [json!({"name": "a", "tag": "1"}), json!({"name": "a", "tag": "2"}), Value::Null];
    let [one, two, nothing] = chosen.map(|latest| policy("one", &latest));
    let digest = policy("one", &json!({"name": "a", "tag": "1", "digest": "sha256:0"}));
    for (before, after) in [(&one, &two), (&one, &digest), (&nothing, &one)] {
        assert_eq!(woken(chosen_anew(Some(before), Some(after))), ["one", "one"]);
    }
    for (before, after) in
        [(Some(&one), Some(&one)), (Some(&one), Some(&nothing)), (None, Some(&one)), (Some(&one), None)]
    {
        assert_eq!(woken(chosen_anew(before, after)), none);
    }
    let source = |generation: i64| {
        let object = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": "one", "generation": generation},
            "spec": {"url": "https://host/fleet", "interval": "1m"}});
        serde_json::from_value::<GitRepository>(object).unwrap()
    };
    let (one, two) = (source(1), source(2));
    assert_eq!(woken(source_changed(Some(&one), Some(&two))), ["one", "three"]);
    for (before, after) in [(Some(&one), Some(&one)), (None, Some(&one)), (Some(&one), None)] {
        assert_eq!(woken(source_changed(before, after)), none);
    }
}

#[tokio::test(start_paused = true)]
async fn a_marker_of_a_policy_that_has_chosen_nothing_yet_is_no_error() {
    let world = World::new(&[("app.yaml", &marked("one", "app")), ("gone.yaml", &marked("one", "gone"))]).await;
    world.source("one", "main").await;
    let spec = json!({"imageRepositoryRef": {"name": "app"}, "policy": {"alphabetical": {}}});
    world.apply("image.toolkit.fluxcd.io/v1", "ImagePolicy", "one", "app", spec, json!({})).await;
    world.automation("one", json!({"branch": "main"}), json!({})).await;
    world.until("one", |object| ready(object).starts_with("True")).await;
    let ignored = async || {
        let events = world.events("one").await.into_iter().filter(|event| event.reason == "MarkerIgnored");
        events.map(|event| event.message).collect::<Vec<_>>()
    };
    let gone = "gone.yaml:2: marker is ignored: no policy \"one:gone\" with an image is known";
    assert_eq!(ignored().await, [gone]);
    world.choose("one", "app", "1").await;
    world.applied("one", "app", "1").await;
    assert_eq!(ignored().await, [gone]);
}
