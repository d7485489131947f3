//! The rules that keep credentials and listings safe, against answers that no honest registry gives: scripted by a table.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Response, StatusCode};
use oci::{Client, Credential, Error, Listed, Name, Repository, Transport, TransportError, transport::full};

/// One request as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    method: String,
    url: String,
    authorization: Option<String>,
}

/// An address and its answers in order.
type Rule = (String, VecDeque<Response<String>>);

/// What the world answers: the first rule whose address is a prefix of the request's, each used once; the last one stays.
#[derive(Clone, Default)]
struct World {
    rules: Arc<Mutex<Vec<Rule>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    slept: Arc<Mutex<Vec<Duration>>>,
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        response.headers_mut().append(*name, value.parse().expect("a header"));
    }
    response
}

impl World {
    fn on(self, address: &str, answers: Vec<Response<String>>) -> Self {
        self.rules.lock().expect("no panic").push((address.into(), answers.into()));
        self
    }

    fn transport(&self) -> Transport {
        let (world, slept) = (self.clone(), self.slept.clone());
        Transport::new(
            move |request| {
                let world = world.clone();
                async move { world.reply(&request) }.boxed()
            },
            move |duration| {
                slept.lock().expect("no panic").push(duration);
                // Only the waits between tries end: plain HTTP never joins a slow HTTPS.
                if duration < Duration::from_secs(1) {
                    futures::future::pending().boxed()
                } else {
                    futures::future::ready(()).boxed()
                }
            },
        )
    }

    fn reply(&self, request: &http::Request<Bytes>) -> Result<Response<oci::Body>, TransportError> {
        let url = request.uri().to_string();
        let authorization =
            request.headers().get("authorization").map(|value| value.to_str().expect("text").to_owned());
        self.sent.lock().expect("no panic").push(Sent {
            method: request.method().to_string(),
            url: url.clone(),
            authorization,
        });
        let mut rules = self.rules.lock().expect("no panic");
        let Some((_, answers)) = rules.iter_mut().find(|(address, _)| url.starts_with(address)) else {
            return Err(TransportError::permanent("connection refused"));
        };
        let first = if answers.len() > 1 { answers.pop_front() } else { answers.front().map(copy) };
        Ok(first.expect("a rule has an answer").map(|body| full(body.into())))
    }

    fn repository(&self, image: &str) -> Repository {
        let credential = Credential::Basic { username: "ada".into(), password: "secret".into() };
        Client::new(self.transport()).repository(&Name::parse(image).expect("a good name"), Some(credential))
    }

    fn urls(&self) -> Vec<String> {
        self.sent.lock().expect("no panic").iter().map(|sent| sent.url.clone()).collect()
    }

    fn authorized_hosts(&self) -> Vec<String> {
        let mut hosts: Vec<_> = self
            .sent
            .lock()
            .expect("no panic")
            .iter()
            .filter(|sent| sent.authorization.is_some())
            .map(|sent| sent.url.split('/').nth(2).unwrap_or_default().to_owned())
            .collect();
        hosts.dedup();
        hosts
    }
}

fn copy(response: &Response<String>) -> Response<String> {
    let mut copy = Response::new(response.body().clone());
    *copy.status_mut() = response.status();
    copy.headers_mut().clone_from(response.headers());
    copy
}

fn basic() -> Vec<Response<String>> {
    vec![answer(401, &[("www-authenticate", "Basic realm=x")], "")]
}

fn bearer(realm: &str) -> Vec<Response<String>> {
    vec![answer(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\",service=s"))], "")]
}

const LIST: &str = "https://r.example/v2/team/app/tags/list";

#[tokio::test]
async fn credentials_never_follow_a_redirect_to_another_host() {
    let moved = |to: &str| vec![answer(307, &[("location", to)], "")];
    let world = World::default()
        .on(LIST, moved("/v2/elsewhere"))
        .on("https://r.example/v2/elsewhere", moved("https://mirror.example/list"))
        .on("https://mirror.example/list", moved("https://r.example/back"))
        .on("https://r.example/back", vec![answer(200, &[], r#"{"tags":["1"]}"#)])
        .on("https://r.example/v2/", basic());
    assert_eq!(world.repository("r.example/team/app").tags().await.expect("the list is there"), ["1"]);
    let hosts = world.authorized_hosts();
    assert!(hosts.iter().all(|host| host == "r.example"), "{hosts:?}");
    let downgrade = World::default().on(LIST, moved("http://r.example/plain")).on("https://r.example/v2/", basic());
    let error = downgrade.repository("r.example/team/app").tags().await.expect_err("the redirect leaves HTTPS");
    assert!(error.to_string().ends_with("refused a redirect from HTTPS to HTTP"), "{error}");
}

#[tokio::test]
async fn redirects_end_after_ten() {
    let world = World::default()
        .on(LIST, vec![answer(302, &[("location", LIST)], "")])
        .on("https://r.example/v2/", vec![answer(200, &[], "")]);
    let error = world.repository("r.example/team/app").tags().await.expect_err("the redirects go round");
    assert!(error.to_string().ends_with("stopped after 10 redirects"), "{error}");
    assert_eq!(world.urls().len(), 12);
}

#[tokio::test]
async fn token_realms_must_be_https_and_public() {
    for (realm, problem) in [
        ("http://auth.example/token", "refused a token realm that is not HTTPS"),
        ("https://169.254.169.254/token", "refused a token realm at a private address"),
        ("https://[::ffff:10.0.0.1]/token", "refused a token realm at a private address"),
        ("token", "the challenge's realm is not an address"),
    ] {
        let world = World::default().on("https://r.example/v2/", bearer(realm));
        let error = world.repository("r.example/team/app").tags().await.expect_err("the realm is bad");
        assert!(error.to_string().ends_with(problem), "{realm}: {error}");
        assert_eq!(world.authorized_hosts(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn each_redirect_of_a_realm_is_checked_again() {
    let world = World::default()
        .on("https://r.example/v2/", bearer("https://auth.example/token"))
        .on("https://auth.example/token", vec![answer(302, &[("location", "https://10.0.0.1/token")], "")]);
    let error = world.repository("r.example/team/app").tags().await.expect_err("the realm leads inside");
    assert!(error.to_string().ends_with("refused a token realm at a private address"), "{error}");
}

#[tokio::test]
async fn a_later_401_adds_its_scope_and_refreshes_once() {
    let scoped = r#"Bearer realm="https://auth.example/token",service=s,scope="repository:other:pull""#;
    let world = World::default()
        .on(LIST, vec![answer(401, &[("www-authenticate", scoped)], ""), answer(200, &[], r#"{"tags":["1"]}"#)])
        .on(
            "https://auth.example/token",
            vec![answer(200, &[], r#"{"token":"one"}"#), answer(200, &[], r#"{"token":"two"}"#)],
        )
        .on("https://r.example/v2/", bearer("https://auth.example/token"));
    assert_eq!(world.repository("r.example/team/app").tags().await.expect("the list is there"), ["1"]);
    let sent = world.sent.lock().expect("no panic").clone();
    assert_eq!(
        sent[3].url,
        "https://auth.example/token?scope=repository%3Ateam%2Fapp%3Apull&scope=repository%3Aother%3Apull&service=s"
    );
    assert_eq!(sent[4].authorization.as_deref(), Some("Bearer two"));
    assert_eq!(sent.len(), 5);
}

#[tokio::test]
async fn pages_are_followed_until_there_is_no_link() {
    let page = |next: &str, tag: &str| vec![answer(200, &[("link", next)], &format!(r#"{{"tags":["{tag}"]}}"#))];
    let world = World::default()
        .on(&format!("{LIST}?n=1000&last=b"), vec![answer(200, &[], r#"{"tags":null}"#)])
        .on(
            &format!("{LIST}?n=1000&last=a"),
            page("<https://r.example/v2/team/app/tags/list?n=1000&last=b>; rel=\"next\"", "b"),
        )
        .on(LIST, page("</v2/team/app/tags/list?n=1000&last=a>; rel=\"next\"", "a"))
        .on("https://r.example/v2/", vec![answer(200, &[], "")]);
    assert_eq!(world.repository("r.example/team/app").tags().await.expect("the list is there"), ["a", "b"]);
}

/// A tag list with these numbers.
fn numbers(range: std::ops::Range<u32>) -> String {
    serde_json::json!({"tags": range.map(|number| format!("{number:04}")).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn a_full_page_without_a_link_is_asked_for_what_follows() {
    let open =
        || World::default().on(&format!("{LIST}?n=1000&last=1999"), vec![answer(200, &[], &numbers(2000..2007))]);
    let first = || answer(200, &[], &numbers(0..1000));
    let tags = |world: World| async move { world.repository("r.example/team/app").tags().await.map(|tags| tags.len()) };
    let entry = || vec![answer(200, &[], "")];
    for (second, expected) in [
        (answer(200, &[], &numbers(1000..2000)), 2007),
        // Those who do not know `last` send the list again, or refuse the request.
        (first(), 1000),
        (answer(404, &[], ""), 1000),
        (answer(200, &[], r#"{"tags":null}"#), 1000),
    ] {
        let world = open().on(&format!("{LIST}?n=1000&last=0999"), vec![second]).on(LIST, vec![first()]);
        assert_eq!(tags(world.on("https://r.example/v2/", entry())).await.expect("the list is there"), expected);
    }
    let broken = open().on(&format!("{LIST}?n=1000&last=0999"), vec![answer(500, &[], "")]).on(LIST, vec![first()]);
    let error = tags(broken.on("https://r.example/v2/", entry())).await.expect_err("the second page fails");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(500));
}

#[tokio::test]
async fn an_answer_without_tags_is_no_empty_list() {
    let world = World::default()
        .on(LIST, vec![answer(200, &[], r#"{"message": "maintenance"}"#)])
        .on("https://r.example/v2/", vec![answer(200, &[], "")]);
    let error = world.repository("r.example/team/app").tags().await.expect_err("nothing was listed");
    assert!(error.to_string().ends_with("the answer holds no tags"), "{error}");
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let tagged = answer(200, &[("etag", "\"7\"")], r#"{"tags":["1"]}"#);
    let world = World::default()
        .on(LIST, vec![tagged, answer(304, &[], "")])
        .on("https://r.example/v2/", vec![answer(200, &[], "")]);
    let repository = world.repository("r.example/team/app");
    let listed = repository.tags_unless(None).await.expect("the list is there");
    assert_eq!(listed, Listed::Tags { tags: vec!["1".into()], etag: Some("\"7\"".into()) });
    assert_eq!(repository.tags_unless(Some("\"7\"")).await.expect("nothing changed"), Listed::Unchanged);
    let error = repository.tags().await.expect_err("nobody asked for a 304");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(304));
}

#[tokio::test]
async fn a_bad_page_discards_the_listing() {
    for (link, problem) in [
        (
            "<https://evil.example/list>; rel=next",
            "the link to the next page leads to another origin: https://evil.example",
        ),
        ("</v2/team/app/tags/list?n=1000>; rel=next", "the tag list's pages go round in a circle"),
        ("nonsense", "failed to parse link header: nonsense"),
        ("<https://r.example/v2/team/app/more>; rel=next", "NAME_UNKNOWN: gone"),
    ] {
        let world = World::default()
            .on(LIST, vec![answer(200, &[("link", link)], r#"{"tags":["1"]}"#)])
            .on(
                "https://r.example/v2/team/app/more",
                vec![answer(404, &[], r#"{"errors":[{"code":"NAME_UNKNOWN","message":"gone"}]}"#)],
            )
            .on("https://r.example/v2/", vec![answer(200, &[], "")]);
        let error = world.repository("r.example/team/app").tags().await.expect_err("the page is bad");
        assert!(error.to_string().ends_with(problem), "{error}");
    }
}

#[tokio::test]
async fn failures_that_may_pass_are_tried_three_times() {
    let seconds = |slept: &[u64]| slept.iter().map(|seconds| Duration::from_secs(*seconds)).collect::<Vec<_>>();
    let good = || answer(200, &[], r#"{"tags":["1"]}"#);
    for (answers, slept, outcome) in [
        (vec![answer(503, &[], ""), answer(500, &[], ""), good()], vec![1, 3], None),
        (vec![answer(429, &[("retry-after", "2")], ""), good()], vec![2], None),
        (vec![answer(429, &[("retry-after", "900")], ""), good()], vec![], Some(429)),
        (vec![answer(522, &[], "")], vec![1, 3], Some(522)),
        (vec![answer(404, &[], ""), good()], vec![], Some(404)),
    ] {
        let world = World::default().on(LIST, answers).on("https://r.example/v2/", vec![answer(200, &[], "")]);
        let listed = world.repository("r.example/team/app").tags().await;
        assert_eq!(listed.as_ref().err().and_then(Error::status).map(|status| status.as_u16()), outcome);
        assert_eq!(*world.slept.lock().expect("no panic"), seconds(&slept));
    }
}

#[tokio::test]
async fn plain_http_is_tried_only_where_it_is_allowed() {
    let plain = |host: &str| {
        World::default()
            .on(&format!("http://{host}/v2/team/app/tags/list"), vec![answer(200, &[], r#"{"tags":["1"]}"#)])
            .on(&format!("http://{host}/v2/"), vec![answer(200, &[], "")])
    };
    let local = plain("localhost:5000");
    assert_eq!(local.repository("localhost:5000/team/app").tags().await.expect("the list is there"), ["1"]);
    assert_eq!(local.urls()[..2], ["https://localhost:5000/v2/", "http://localhost:5000/v2/"]);
    let closed = World::default().repository("localhost:5000/team/app").tags().await.expect_err("both are closed");
    let text = "GET https://localhost:5000/v2/: connection refused; GET http://localhost:5000/v2/: connection refused";
    assert_eq!(closed.to_string(), text, "the error of HTTPS is told, too");
    let public = plain("r.example");
    let error = public.repository("r.example/team/app").tags().await.expect_err("HTTPS is closed");
    assert_eq!(error.to_string(), "GET https://r.example/v2/: connection refused");
    assert_eq!(public.urls(), ["https://r.example/v2/"]);
    let client = Client::new(public.transport());
    let insecure = client.repository(&Name::parse("r.example/team/app").expect("a good name").insecure(), None);
    assert_eq!(insecure.tags().await.expect("the list is there"), ["1"]);
}

#[tokio::test]
async fn digests_from_a_registry_are_checked() {
    let digest = |headers: &[(&'static str, &str)]| {
        World::default()
            .on("https://r.example/v2/team/app/manifests/1", vec![answer(200, headers, "manifest")])
            .on("https://r.example/v2/", vec![answer(200, &[], "")])
    };
    let own = oci::Digest::of(b"manifest");
    assert_eq!(digest(&[]).repository("r.example/team/app").digest("1").await.expect("the bytes are hashed"), own);
    let error = digest(&[("docker-content-digest", "sha256:../../x")])
        .repository("r.example/team/app")
        .digest("1")
        .await
        .expect_err("no digest");
    assert!(error.to_string().ends_with("Docker-Content-Digest is not a sha256 digest"), "{error}");
    let other = oci::Digest::of(b"other");
    let world = digest(&[("docker-content-digest", other.as_str())]);
    let error = world.repository("r.example/team/app").document("1").await.expect_err("other bytes");
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    let error = world.repository("r.example/team/app").document("../../x").await.expect_err("no tag");
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
}

#[tokio::test]
async fn messages_and_debug_forms_hold_no_secret() {
    let world = World::default()
        .on("https://r.example/v2/", bearer("https://auth.example/token?key=hidden"))
        .on("https://auth.example/token", vec![answer(403, &[], "")]);
    let error = world.repository("r.example/team/app").tags().await.expect_err("the login is refused");
    let text = format!("{error} {error:?} {:?}", world.repository("r.example/team/app"));
    assert!(error.to_string().starts_with("GET https://auth.example/token: unexpected status code 403"), "{error}");
    assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
}
