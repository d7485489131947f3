//! Comments on change requests: found again, changed in place.

use super::*;

fn comment(kind: &str, address: &str) -> (Settings, Event) {
    let mut settings = full(kind, address, "");
    settings.origin.provider_uid = "p-1".into();
    let mut event = failure();
    event.metadata.insert("change_request".into(), "12".into());
    (settings, event)
}

fn answer(status: u16, body: &Value) -> http::Response<Bytes> {
    http::Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap()
}

fn words(requests: &[http::Request<Bytes>]) -> Vec<String> {
    requests.iter().map(|request| format!("{} {}", request.method(), request.uri())).collect()
}

#[test]
fn each_forge_is_asked_for_its_comments_before_one_is_posted() {
    let notes = "https://gitlab.example/api/v4/projects/g%2Fs%2Fr/merge_requests/12/notes";
    for (kind, address, user, list, new, login) in [
        (
            "githubpullrequestcomment",
            "https://github.com/o/r",
            "GET https://api.github.com/user",
            "GET https://api.github.com/repos/o/r/issues/12/comments?per_page=100".to_owned(),
            "POST https://api.github.com/repos/o/r/issues/12/comments".to_owned(),
            "Bearer tok",
        ),
        (
            "gitlabmergerequestcomment",
            "https://gitlab.example/g/s/r.git",
            "GET https://gitlab.example/api/v4/user",
            format!("GET {notes}?sort=asc&order_by=created_at&per_page=100"),
            format!("POST {notes}"),
            "tok",
        ),
        (
            "giteapullrequestcomment",
            "https://git.example/o/r",
            "GET https://git.example/api/v1/user",
            "GET https://git.example/api/v1/repos/o/r/issues/12/comments?limit=100".to_owned(),
            "POST https://git.example/api/v1/repos/o/r/issues/12/comments".to_owned(),
            "token tok",
        ),
    ] {
        let (settings, event) = comment(kind, address);
        let plan = plan(&settings, &event, None, now()).unwrap();
        assert_eq!((words(&plan.ask), words(&plan.tell)), (vec![user.into(), list], vec![new]));
        let sent = ["authorization", "private-token"].map(|name| header(&plan.tell[0], name)).concat();
        assert_eq!(sent, login);
    }
}

#[test]
fn our_own_comment_is_changed_in_place_and_nobody_elses() {
    let (settings, event) = comment("githubpullrequestcomment", "https://github.com/o/r");
    let plan = || plan(&settings, &event, None, now()).unwrap();
    let text = body(&plan().tell[0])["body"].clone();
    let expected = "<!-- flux-pr-comment-key:p-1/Canary/apps/podinfo -->\n\n## Flux Status\n\n⚠️ Canary/apps/podinfo\n\nnot *ready*\n\n\
        Metadata:\n* `revision`: main@sha1:0123456789abcdef\n* `summary`: prod\n";
    assert_eq!(text, expected);
    let row =
        |id: u64, login: &str, kind: &str| json!({"id": id, "user": {"login": login, "type": kind}, "body": text});
    let comments = json!([row(1, "mallory", "User"), row(2, "me", "User"), row(3, "app[bot]", "Bot")]);
    let told = |user: &http::Response<Bytes>, comments: &Value| {
        let answers = [user.clone(), answer(200, comments)];
        words(&rest(&settings, &event, &answers, plan().tell).unwrap())
    };
    let me = answer(200, &json!({"login": "me"}));
    assert_eq!(told(&me, &comments), ["PATCH https://api.github.com/repos/o/r/issues/comments/2"]);
    let app = answer(403, &json!({"message": "Resource not accessible by integration"}));
    assert_eq!(told(&app, &comments), ["PATCH https://api.github.com/repos/o/r/issues/comments/3"]);
    let posted = ["POST https://api.github.com/repos/o/r/issues/12/comments"];
    assert_eq!(told(&answer(200, &json!({"login": "other"})), &comments), posted);
    assert_eq!(told(&me, &json!([{"id": 2, "user": {"login": "me"}, "body": "hello"}])), posted);
    assert!(rest(&settings, &event, &[answer(401, &json!({})), me.clone()], Vec::new()).is_err());

    let (gitlab, event) = comment("gitlabmergerequestcomment", "https://gitlab.example/o/r");
    let text = "<!-- flux-mr-comment-key:p-1/Canary/apps/podinfo -->";
    let notes = json!([{"id": 9, "author": {"username": "me"}, "body": text}]);
    let answers = [answer(200, &json!({"username": "me"})), answer(200, &notes)];
    let expected = ["PUT https://gitlab.example/api/v4/projects/o%2Fr/merge_requests/12/notes/9"];
    assert_eq!(words(&rest(&gitlab, &event, &answers, Vec::new()).unwrap()), expected);
}

#[test]
fn only_events_of_a_change_request_are_comments() {
    let (settings, event) = comment("giteapullrequestcomment", "https://git.example/o/r");
    assert!(settings.service.takes(&event) && !settings.service.takes(&failure()));
    let mut wrong = event;
    wrong.metadata.insert("change_request".into(), "../1".into());
    let error = plan(&settings, &wrong, None, now()).map(drop).expect_err("no number").to_string();
    assert_eq!(error, "the fact change_request \"../1\" is not a number");
}
