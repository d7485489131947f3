//! `githubpullrequestcomment`, `gitlabmergerequestcomment`, `giteapullrequestcomment`: one comment for each object on the
//! change request that its event names, kept up to date in place.

use bytes::Bytes;
use http::{Method, StatusCode};
use reconcile::{Event, http::escaped};
use serde_json::{Value, json};

use super::{
    Plan, Service, Settings, answered,
    commit_status::{owner_and_name, repository},
    github, post, request, words,
};
use crate::Error;

/// The fact that names the change request.
pub const CHANGE_REQUEST: &str = "change_request";

/// The forge's interface to the comments of one change request.
struct Forge {
    /// Who we are.
    user: String,
    /// All comments, and where a new one is posted.
    comments: String,
    /// How many are asked for, oldest first.
    page: &'static str,
    /// Before the number of one comment.
    one: String,
    edit: Method,
    login: (&'static str, String),
}

impl Forge {
    fn of(settings: &Settings, event: &Event) -> Result<Self, Error> {
        let number = event.metadata.get(CHANGE_REQUEST).map(String::as_str).unwrap_or_default();
        let number: u64 = number
            .parse()
            .map_err(|_| Error::Invalid(format!("the fact {CHANGE_REQUEST} {number:?} is not a number")))?;
        let token = &settings.token;
        if settings.service == Service::Gitlabmergerequestcomment {
            let (host, path) = repository(&settings.address)?;
            let api = format!("{host}/api/v4");
            let notes = format!("{api}/projects/{}/merge_requests/{number}/notes", escaped(&path.join("/")));
            return Ok(Self {
                user: format!("{api}/user"),
                page: "?sort=asc&order_by=created_at&per_page=100",
                one: notes.clone(),
                comments: notes,
                edit: Method::PUT,
                login: ("private-token", token.clone()),
            });
        }
        let is_github = settings.service == Service::Githubpullrequestcomment;
        let (api, owner, name) = if is_github {
            github::api(settings)?
        } else {
            let (host, owner, name) = owner_and_name(&settings.address)?;
            (format!("{host}/api/v1"), owner, name)
        };
        let scheme = if is_github { "Bearer" } else { "token" };
        let issues = format!("{api}/repos/{owner}/{name}/issues");
        Ok(Self {
            user: format!("{api}/user"),
            comments: format!("{issues}/{number}/comments"),
            page: if is_github { "?per_page=100" } else { "?limit=100" },
            one: format!("{issues}/comments"),
            edit: Method::PATCH,
            login: ("authorization", format!("{scheme} {token}")),
        })
    }

    fn headers(&self) -> [(&str, &str); 1] {
        [(self.login.0, self.login.1.as_str())]
    }
}

/// The requests: who we are and which comments there are, then a new comment.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let forge = Forge::of(settings, event)?;
    let get = |url: &str| request(Method::GET, url, Vec::new(), &forge.headers());
    Ok(Plan {
        ask: vec![get(&forge.user)?, get(&format!("{}{}", forge.comments, forge.page))?],
        tell: vec![post(&forge.comments, body(settings, event), &forge.headers())?],
        ..Plan::default()
    })
}

/// The new comment, or a change of the one that is there already.
pub(super) fn rest(
    settings: &Settings,
    event: &Event,
    answers: &[http::Response<Bytes>],
    tell: Vec<http::Request<Bytes>>,
) -> Result<Vec<http::Request<Bytes>>, Error> {
    let [user, comments] = answers else { return Ok(tell) };
    // An App is not told who it is; its comments are those of a bot.
    let is_app = user.status() == StatusCode::FORBIDDEN;
    if !is_app {
        answered(settings, user)?;
    }
    answered(settings, comments)?;
    let read = |answer: &http::Response<Bytes>| serde_json::from_slice::<Value>(answer.body()).unwrap_or_default();
    let (me, marker) = (name(&read(user)), marker(settings, event));
    let comments = read(comments);
    let is_ours = |comment: &&Value| {
        let author = if comment["user"].is_object() { &comment["user"] } else { &comment["author"] };
        let by_us = if is_app { author["type"] == "Bot" } else { me.is_some() && name(author) == me };
        by_us && comment["body"].as_str().is_some_and(|text| text.contains(&marker))
    };
    let ours = comments.as_array().into_iter().flatten().find(is_ours);
    let Some(number) = ours.and_then(|comment| comment["id"].as_u64()) else { return Ok(tell) };
    let forge = Forge::of(settings, event)?;
    let url = format!("{}/{number}", forge.one);
    Ok(vec![request(forge.edit.clone(), &url, body(settings, event), &forge.headers())?])
}

/// The name of a user, as each forge calls it.
fn name(user: &Value) -> Option<String> {
    user["login"].as_str().or(user["username"].as_str()).map(str::to_owned)
}

/// What people do not see, and what tells our comment about the object from others.
fn marker(settings: &Settings, event: &Event) -> String {
    let about = &event.involved_object.reference;
    let kind = if settings.service == Service::Gitlabmergerequestcomment { "mr" } else { "pr" };
    let key = format!("{}/{}/{}/{}", settings.origin.provider_uid, about.kind, about.namespace, about.name);
    format!("<!-- flux-{kind}-comment-key:{key} -->")
}

fn body(settings: &Settings, event: &Event) -> Vec<u8> {
    let text = format!("{}\n\n{}", marker(settings, event), words::markdown(event));
    json!({"body": text}).to_string().into_bytes()
}
