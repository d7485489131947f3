//! Pull requests for what was pushed to a branch of its own: what to ask a forge, and what its answers mean. Pure.
//!
//! Sources: docs.github.com "REST API endpoints for pull requests" (version 2022-11-28); docs.gitlab.com "Merge requests
//! API" (v4); Gitea's `swagger.v1.json`.

use std::collections::BTreeMap;

use reconcile::http::escaped;
use serde_json::{Value, json};

/// Which forge holds the repository: `github`, `gitlab` or `gitea`.
pub const ANNOTATION: &str = "slipway.dev/pull-request";
/// Address of the forge's API, where the URL of the repository does not tell it.
pub const API: &str = "slipway.dev/pull-request-api";
/// Labels of new pull requests, with commas between them.
pub const LABELS: &str = "slipway.dev/pull-request-labels";

/// A program that holds repositories and pull requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forge {
    Github,
    Gitlab,
    Gitea,
}

/// A repository at a forge, as its API names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    forge: Forge,
    /// Address that all paths are below.
    api: String,
    labels: Vec<String>,
}

/// What a pull request should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The branch with the commit.
    pub head: String,
    /// The branch that it is for.
    pub base: String,
    /// The commit's message.
    pub message: String,
    /// `namespace/name` of the automation, by which it knows its own pull requests again.
    pub automation: String,
}

/// A pull request that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    number: u64,
    head: String,
    base: String,
    title: String,
    body: String,
    url: String,
}

/// A request to the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PATCH`, `PUT`.
    pub method: &'static str,
    /// The full address.
    pub url: String,
    /// Headers, with the token in one of them.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON to send.
    pub body: Option<Value>,
}

/// What is left to do after the list was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Requests to send, in order; the answer to the first is the pull request if one is created.
    pub requests: Vec<Request>,
    /// Whether the first request creates a pull request.
    pub creates: bool,
    /// Where the pull request is to be seen, if it is there already.
    pub url: Option<String>,
}

impl Repository {
    /// Reads the annotations of an automation, for the repository at `url`; none without one that asks for pull requests.
    pub fn read(annotations: &BTreeMap<String, String>, url: &str) -> Result<Option<Self>, String> {
        let Some(name) = annotations.get(ANNOTATION) else { return Ok(None) };
        let forge = match name.as_str() {
            "github" => Forge::Github,
            "gitlab" => Forge::Gitlab,
            "gitea" => Forge::Gitea,
            other => return Err(format!("{ANNOTATION}: {other:?} is none of github, gitlab, gitea")),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{ANNOTATION}: {url:?} is no URL"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let path = path.trim_end_matches('/').trim_end_matches(".git");
        let root = match (annotations.get(API), forge) {
            (Some(api), _) => api.trim_end_matches('/').to_owned(),
            (None, Forge::Github) if host == "github.com" => "https://api.github.com".to_owned(),
            (None, Forge::Github) => format!("{scheme}://{host}/api/v3"),
            (None, Forge::Gitlab) => format!("{scheme}://{host}/api/v4"),
            (None, Forge::Gitea) => format!("{scheme}://{host}/api/v1"),
        };
        let api = match forge {
            Forge::Gitlab => format!("{root}/projects/{}", path.replace('/', "%2F")),
            Forge::Github | Forge::Gitea => format!("{root}/repos/{path}"),
        };
        let labels = annotations.get(LABELS).map(String::as_str).unwrap_or_default();
        let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect();
        Ok(Some(Self { forge, api, labels }))
    }

    /// Asks for the open pull requests for a branch.
    pub fn list(&self, base: &str, token: &str) -> Request {
        let base = query(base);
        let path = match self.forge {
            Forge::Github => format!("pulls?state=open&base={base}&per_page=100"),
            Forge::Gitlab => format!("merge_requests?state=opened&target_branch={base}&per_page=100"),
            Forge::Gitea => "pulls?state=open&limit=50".to_owned(),
        };
        self.request("GET", &path, token, None)
    }

    /// What to do, given the list: one pull request for the branch, with the words of the commit; those that the
    /// automation made from other branches are superseded.
    pub fn plan(&self, list: &Value, wanted: &Wanted, token: &str) -> Result<Plan, String> {
        let items = list.as_array().ok_or("the list of pull requests is none")?;
        let open: Vec<Open> = items.iter().filter_map(|item| self.open(item)).collect();
        let (title, body) = (wanted.title(), wanted.body());
        let mut plan = Plan { requests: Vec::new(), creates: false, url: None };
        let mut ours = open.iter().filter(|open| open.base == wanted.base);
        match ours.clone().find(|open| open.head == wanted.head) {
            Some(open) => {
                plan.url = Some(open.url.clone());
                if open.title != title || open.body.trim() != body.trim() {
                    plan.requests.push(self.change(open.number, self.words(&title, &body), token));
                }
            }
            None => {
                plan.creates = true;
                plan.requests.push(self.create(wanted, token));
            }
        }
        let marker = wanted.marker();
        let superseded = ours.by_ref().filter(|open| open.head != wanted.head && open.body.contains(&marker));
        plan.requests.extend(superseded.map(|open| self.change(open.number, self.closed(), token)));
        Ok(plan)
    }

    /// Where a pull request that was just created is to be seen, and the request that puts labels on it, if one is due.
    pub fn created(&self, answer: &Value, token: &str) -> (Option<String>, Option<Request>) {
        let Some(open) = self.open(answer) else { return (None, None) };
        // GitLab takes them with the creation.
        let is_due = !self.labels.is_empty() && self.forge != Forge::Gitlab;
        let path = format!("issues/{}/labels", open.number);
        let labels = is_due.then(|| self.request("POST", &path, token, Some(json!({"labels": self.labels}))));
        (Some(open.url), labels)
    }

    fn open(&self, item: &Value) -> Option<Open> {
        let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let [number, head, base, body, url] = match self.forge {
            Forge::Gitlab => ["/iid", "/source_branch", "/target_branch", "/description", "/web_url"],
            Forge::Github | Forge::Gitea => ["/number", "/head/ref", "/base/ref", "/body", "/html_url"],
        };
        let number = item.pointer(number)?.as_u64()?;
        Some(Open {
            number,
            head: text(head),
            base: text(base),
            title: text("/title"),
            body: text(body),
            url: text(url),
        })
    }

    fn create(&self, wanted: &Wanted, token: &str) -> Request {
        let mut body = self.words(&wanted.title(), &wanted.body());
        let (head, base, path) = match self.forge {
            Forge::Gitlab => ("source_branch", "target_branch", "merge_requests"),
            Forge::Github | Forge::Gitea => ("head", "base", "pulls"),
        };
        body[head] = wanted.head.clone().into();
        body[base] = wanted.base.clone().into();
        if self.forge == Forge::Gitlab {
            body["remove_source_branch"] = true.into();
            body["labels"] = self.labels.join(",").into();
        }
        self.request("POST", path, token, Some(body))
    }

    fn words(&self, title: &str, body: &str) -> Value {
        match self.forge {
            Forge::Gitlab => json!({"title": title, "description": body}),
            Forge::Github | Forge::Gitea => json!({"title": title, "body": body}),
        }
    }

    fn closed(&self) -> Value {
        match self.forge {
            Forge::Gitlab => json!({"state_event": "close"}),
            Forge::Github | Forge::Gitea => json!({"state": "closed"}),
        }
    }

    fn change(&self, number: u64, body: Value, token: &str) -> Request {
        match self.forge {
            Forge::Gitlab => self.request("PUT", &format!("merge_requests/{number}"), token, Some(body)),
            Forge::Github | Forge::Gitea => self.request("PATCH", &format!("pulls/{number}"), token, Some(body)),
        }
    }

    fn request(&self, method: &'static str, path: &str, token: &str, body: Option<Value>) -> Request {
        let mut headers = match self.forge {
            Forge::Github => vec![
                ("authorization", format!("Bearer {token}")),
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ],
            Forge::Gitlab => vec![("authorization", format!("Bearer {token}"))],
            Forge::Gitea => vec![("authorization", format!("token {token}"))],
        };
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Request { method, url: format!("{}/{path}", self.api), headers, body }
    }
}

impl Wanted {
    /// The first line of the message that has text.
    fn title(&self) -> String {
        let first = self.message.lines().map(str::trim).find(|line| !line.is_empty());
        first.unwrap_or("Update images").chars().take(200).collect()
    }

    /// The rest of the message, and the mark by which the automation knows its own.
    fn body(&self) -> String {
        let rest = self.message.trim_start().split_once('\n').map_or("", |(_, rest)| rest).trim();
        format!("{rest}\n\n{}", self.marker()).trim_start().to_owned()
    }

    fn marker(&self) -> String {
        format!("<!-- slipway: {} -->", self.automation)
    }
}

/// A branch as a value in a query.
fn query(text: &str) -> String {
    escaped(text).replace("%2F", "/")
}

#[cfg(test)]
mod tests;
