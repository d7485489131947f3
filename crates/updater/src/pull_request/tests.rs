//! Each forge's requests as its documents show them.

use super::*;

fn repository(forge: &str, url: &str) -> Repository {
    let annotations = [(ANNOTATION, forge), (LABELS, "images, bot")];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Repository::read(&annotations, url).unwrap().unwrap()
}

fn wanted() -> Wanted {
    Wanted {
        head: "auto".into(),
        base: "main".into(),
        message: "Update app\n\n- app 1 -> 2\n".into(),
        automation: "apps/bot".into(),
    }
}

const BODY: &str = "- app 1 -> 2\n\n<!-- slipway: apps/bot -->";

#[test]
fn repositories_are_named_as_their_forge_names_them() {
    for (forge, url, api) in [
        ("github", "https://github.com/team/fleet.git", "https://api.github.com/repos/team/fleet"),
        ("github", "https://bot:t@ghe.example.com/team/fleet", "https://ghe.example.com/api/v3/repos/team/fleet"),
        (
            "gitlab",
            "https://gitlab.com/group/team/fleet.git",
            "https://gitlab.com/api/v4/projects/group%2Fteam%2Ffleet",
        ),
        ("gitea", "http://127.0.0.1:3000/team/fleet.git/", "http://127.0.0.1:3000/api/v1/repos/team/fleet"),
    ] {
        assert_eq!(repository(forge, url).api, api);
    }
    assert_eq!(Repository::read(&BTreeMap::new(), "https://x/y"), Ok(None));
    let wrong = BTreeMap::from([(ANNOTATION.to_owned(), "svn".to_owned())]);
    assert!(Repository::read(&wrong, "https://x/y").is_err());
}

#[test]
fn a_missing_pull_request_is_created_and_labelled() {
    for (forge, url, head, base, body, path) in [
        ("github", "https://github.com/t/f", "head", "base", "body", "/pulls"),
        ("gitea", "https://git.example.com/t/f", "head", "base", "body", "/pulls"),
        ("gitlab", "https://gitlab.com/t/f", "source_branch", "target_branch", "description", "/merge_requests"),
    ] {
        let repository = repository(forge, url);
        let plan = repository.plan(&json!([]), &wanted(), "t0ken").unwrap();
        let [create] = plan.requests.as_slice() else { panic!("{plan:?}") };
        let sent = create.body.clone().unwrap();
        assert!(plan.creates && create.method == "POST" && create.url.ends_with(path), "{create:?}");
        assert_eq!(
            (&sent[head], &sent[base], &sent["title"], &sent[body]),
            (&json!("auto"), &json!("main"), &json!("Update app"), &json!(BODY))
        );
        assert!(create.headers[0].1.ends_with(" t0ken"));
        let answer = json!({"number": 5, "iid": 5, "html_url": "https://pr/5", "web_url": "https://pr/5"});
        let (seen, labels) = repository.created(&answer, "t0ken");
        assert_eq!(seen.as_deref(), Some("https://pr/5"));
        match forge {
            "gitlab" => assert_eq!((labels, &sent["labels"]), (None, &json!("images,bot"))),
            _ => {
                let labels = labels.unwrap();
                assert!(labels.url.ends_with("/issues/5/labels"));
                assert_eq!(labels.body, Some(json!({"labels": ["images", "bot"]})));
            }
        }
    }
}

#[test]
fn an_open_pull_request_is_updated_in_place_and_older_ones_of_ours_are_closed() {
    let github = repository("github", "https://github.com/t/f");
    let item = |number: u64, head: &str, title: &str, body: &str| {
        json!({"number": number, "head": {"ref": head}, "base": {"ref": "main"}, "title": title, "body": body,
            "html_url": format!("https://pr/{number}")})
    };
    let same = github.plan(&json!([item(1, "auto", "Update app", BODY)]), &wanted(), "t").unwrap();
    assert_eq!((same.requests, same.url.as_deref()), (vec![], Some("https://pr/1")));
    let list = json!([
        item(1, "auto", "Update web", BODY),
        item(2, "auto-old", "Update app", BODY),
        item(3, "by-hand", "Something else", "text"),
    ]);
    let plan = github.plan(&list, &wanted(), "t").unwrap();
    let sent: Vec<_> =
        plan.requests.iter().map(|request| (request.method, request.url.as_str(), &request.body)).collect();
    let expected = [
        ("PATCH", "https://api.github.com/repos/t/f/pulls/1", &Some(json!({"title": "Update app", "body": BODY}))),
        ("PATCH", "https://api.github.com/repos/t/f/pulls/2", &Some(json!({"state": "closed"}))),
    ];
    assert_eq!(sent, expected);
    let gitlab = repository("gitlab", "https://gitlab.com/t/f");
    let list = json!([{"iid": 9, "source_branch": "old", "target_branch": "main", "title": "x", "description": BODY}]);
    let close = &gitlab.plan(&list, &wanted(), "t").unwrap().requests[1];
    assert_eq!((close.method, &close.body), ("PUT", &Some(json!({"state_event": "close"}))));
}
