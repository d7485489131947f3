//! What a Provider's service is sent. One file per service: an event goes in, requests come out. Pure.
//! Source: reference delivery.md section 3.3.

pub mod address;
pub mod alertmanager;
pub mod azuredevops;
pub mod azureeventhub;
pub mod bitbucket;
pub mod bitbucketserver;
pub mod comment;
pub mod commit_status;
pub mod datadog;
pub mod generic;
pub mod gitea;
pub mod github;
pub mod gitlab;
pub mod googlechat;
pub mod googlepubsub;
pub mod grafana;
pub mod incidentio;
pub mod lark;
pub mod matrix;
pub mod msteams;
pub mod nats;
pub mod opsgenie;
pub mod otel;
pub mod pagerduty;
pub mod sentry;
pub mod settings;
pub mod slack;
pub mod telegram;
pub mod webex;
pub mod words;
pub mod zoom;
pub mod zulip;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use reconcile::{Event, Severity, http::basic};

pub use self::settings::{Origin, Secrets, Settings};

use crate::{Error, alert::COMMIT_STATUS};

/// Event reason of what is under way: nothing that a pager or a commit is told.
const PROGRESSING: &str = "Progressing";

/// The services we speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The event as JSON to any address.
    Generic,
    /// The same, signed with the token.
    GenericHmac,
    /// Slack, and what understands its payload.
    Slack,
    /// Discord, by its entrance for Slack's payload.
    Discord,
    /// Rocket.Chat.
    Rocket,
    /// Microsoft Teams.
    Msteams,
    /// Google Chat.
    Googlechat,
    /// Cisco Webex.
    Webex,
    /// Lark, Feishu.
    Lark,
    /// Telegram.
    Telegram,
    /// Matrix.
    Matrix,
    /// Zulip.
    Zulip,
    /// Zoom Team Chat.
    Zoom,
    /// PagerDuty.
    Pagerduty,
    /// Opsgenie.
    Opsgenie,
    /// incident.io.
    Incidentio,
    /// Prometheus' Alertmanager.
    Alertmanager,
    /// Annotations of Grafana.
    Grafana,
    /// Datadog.
    Datadog,
    /// Sentry.
    Sentry,
    /// Commit status on GitHub.
    Github,
    /// Commit status on GitLab.
    Gitlab,
    /// Commit status on Gitea and Forgejo.
    Gitea,
    /// Build status on Bitbucket Cloud.
    Bitbucket,
    /// Build status on Bitbucket Server and Data Center.
    Bitbucketserver,
    /// Commit status on Azure DevOps.
    Azuredevops,
    /// A run of workflows on GitHub.
    Githubdispatch,
    /// A comment on a pull request of GitHub.
    Githubpullrequestcomment,
    /// A comment on a merge request of GitLab.
    Gitlabmergerequestcomment,
    /// A comment on a pull request of Gitea and Forgejo.
    Giteapullrequestcomment,
    /// A topic of Google Pub/Sub.
    Googlepubsub,
    /// An Azure event hub.
    Azureeventhub,
    /// A subject of NATS.
    Nats,
    /// Spans for a receiver of OpenTelemetry.
    Otel,
}

/// Names as manifests spell them.
const NAMES: [(&str, Service); 34] = [
    ("generic", Service::Generic),
    ("generic-hmac", Service::GenericHmac),
    ("slack", Service::Slack),
    ("discord", Service::Discord),
    ("rocket", Service::Rocket),
    ("msteams", Service::Msteams),
    ("googlechat", Service::Googlechat),
    ("webex", Service::Webex),
    ("lark", Service::Lark),
    ("telegram", Service::Telegram),
    ("matrix", Service::Matrix),
    ("zulip", Service::Zulip),
    ("zoom", Service::Zoom),
    ("pagerduty", Service::Pagerduty),
    ("opsgenie", Service::Opsgenie),
    ("incident.io", Service::Incidentio),
    ("alertmanager", Service::Alertmanager),
    ("grafana", Service::Grafana),
    ("datadog", Service::Datadog),
    ("sentry", Service::Sentry),
    ("github", Service::Github),
    ("gitlab", Service::Gitlab),
    ("gitea", Service::Gitea),
    ("bitbucket", Service::Bitbucket),
    ("bitbucketserver", Service::Bitbucketserver),
    ("azuredevops", Service::Azuredevops),
    ("githubdispatch", Service::Githubdispatch),
    ("githubpullrequestcomment", Service::Githubpullrequestcomment),
    ("gitlabmergerequestcomment", Service::Gitlabmergerequestcomment),
    ("giteapullrequestcomment", Service::Giteapullrequestcomment),
    ("googlepubsub", Service::Googlepubsub),
    ("azureeventhub", Service::Azureeventhub),
    ("nats", Service::Nats),
    ("otel", Service::Otel),
];

impl Service {
    /// The service of a Provider's type.
    pub fn of(kind: &str) -> Result<Self, Error> {
        let found = NAMES.iter().find(|(name, _)| *name == kind);
        found.map(|(_, service)| *service).ok_or_else(|| Error::Unsupported(kind.to_owned()))
    }

    /// Whether it hosts the repository whose commits get a status.
    pub const fn has_commit_status(self) -> bool {
        matches!(
            self,
            Self::Github | Self::Gitlab | Self::Gitea | Self::Bitbucket | Self::Bitbucketserver | Self::Azuredevops
        )
    }

    /// Whether it comments on a change request.
    pub const fn comments(self) -> bool {
        matches!(self, Self::Githubpullrequestcomment | Self::Gitlabmergerequestcomment | Self::Giteapullrequestcomment)
    }

    /// Whether the address is that of a repository.
    pub const fn is_git(self) -> bool {
        self.has_commit_status() || self.comments() || matches!(self, Self::Githubdispatch)
    }

    /// Whether what is sent names the Alert.
    pub const fn names_alert(self) -> bool {
        self.has_commit_status() || matches!(self, Self::Otel)
    }

    /// Whether a GitHub App can be logged in with.
    pub const fn takes_app(self) -> bool {
        matches!(self, Self::Github | Self::Githubdispatch | Self::Githubpullrequestcomment)
    }

    /// Whether nothing can be sent without a token.
    const fn needs_token(self) -> bool {
        self.is_git()
            || matches!(
                self,
                Self::GenericHmac | Self::Telegram | Self::Opsgenie | Self::Datadog | Self::Incidentio | Self::Zoom
            )
    }

    /// Whether the service takes this event. An event that is a commit status goes to Git services and to generic ones;
    /// Git services take further those that name a commit, and errors.
    ///
    /// Differs: services of incidents take it too, for often nothing else says that an error is over; see [`plan`].
    pub fn takes(self, event: &Event) -> bool {
        let is_status = is_status(event);
        match self {
            Self::Generic | Self::GenericHmac => true,
            service if service.has_commit_status() => {
                (is_status || event.metadata.contains_key("commit") || event.severity == Severity::Error)
                    && event.reason != PROGRESSING
            }
            Self::Pagerduty | Self::Incidentio => event.reason != PROGRESSING,
            Self::Alertmanager => true,
            service if service.comments() => !is_status && event.metadata.contains_key(comment::CHANGE_REQUEST),
            // A repository of charts is no source that a trace could begin with.
            Self::Otel => !is_status && event.involved_object.reference.kind != "HelmRepository",
            _ => !is_status,
        }
    }
}

/// Whether the event is told for the sake of a commit's status.
fn is_status(event: &Event) -> bool {
    event.metadata.get(COMMIT_STATUS).is_some_and(|value| value == "update")
}

/// What is to be done to tell a service of an event.
#[derive(Debug, Default)]
pub struct Plan {
    /// Asked first: the service may know some of it already, see [`rest`].
    pub ask: Vec<http::Request<Bytes>>,
    /// Sent in order.
    pub tell: Vec<http::Request<Bytes>>,
    /// Sent to a server that does not speak HTTP.
    pub publish: Option<nats::Publication>,
}

impl From<http::Request<Bytes>> for Plan {
    fn from(request: http::Request<Bytes>) -> Self {
        Self { tell: vec![request], ..Self::default() }
    }
}

/// The requests that tell the service of the event. `firing` is the last error of the same object that the service was
/// told of, if it was not told of the recovery yet.
pub fn plan(settings: &Settings, event: &Event, firing: Option<&Event>, now: Timestamp) -> Result<Plan, Error> {
    match settings.service {
        // It is no news but to whom an error was told before.
        Service::Pagerduty | Service::Incidentio | Service::Alertmanager if is_status(event) && firing.is_none() => {
            Ok(Plan::default())
        }
        Service::Generic | Service::GenericHmac => generic::message(settings, event).map(Plan::from),
        Service::Slack | Service::Discord | Service::Rocket => slack::message(settings, event).map(Plan::from),
        Service::Msteams => msteams::message(settings, event).map(Plan::from),
        Service::Googlechat => googlechat::message(settings, event).map(Plan::from),
        Service::Webex => webex::message(settings, event).map(Plan::from),
        Service::Lark => lark::message(settings, event).map(Plan::from),
        Service::Telegram => telegram::message(settings, event).map(Plan::from),
        Service::Matrix => matrix::message(settings, event).map(Plan::from),
        Service::Zulip => zulip::message(settings, event).map(Plan::from),
        Service::Zoom => zoom::message(settings, event).map(Plan::from),
        Service::Pagerduty => pagerduty::plan(settings, event),
        Service::Opsgenie => opsgenie::message(settings, event).map(Plan::from),
        Service::Incidentio => incidentio::message(settings, event).map(Plan::from),
        Service::Alertmanager => alertmanager::message(settings, event, firing).map(Plan::from),
        Service::Grafana => grafana::message(settings, event).map(Plan::from),
        Service::Datadog => datadog::message(settings, event).map(Plan::from),
        Service::Sentry => sentry::message(settings, event).map(Plan::from),
        Service::Github => github::plan(settings, event),
        Service::Gitlab => gitlab::plan(settings, event),
        Service::Gitea => gitea::plan(settings, event),
        Service::Bitbucket => bitbucket::plan(settings, event),
        Service::Bitbucketserver => bitbucketserver::plan(settings, event),
        Service::Azuredevops => azuredevops::plan(settings, event),
        Service::Githubdispatch => github::dispatch(settings, event).map(Plan::from),
        Service::Githubpullrequestcomment | Service::Gitlabmergerequestcomment | Service::Giteapullrequestcomment => {
            comment::plan(settings, event)
        }
        Service::Googlepubsub => googlepubsub::message(settings, event).map(Plan::from),
        Service::Azureeventhub => azureeventhub::message(settings, event, now).map(Plan::from),
        Service::Nats => nats::plan(settings, event),
        Service::Otel => otel::message(settings, event).map(Plan::from),
    }
}

/// What is left to tell after the answers to [`Plan::ask`]; an error where the service refused.
pub fn rest(
    settings: &Settings,
    event: &Event,
    answers: &[http::Response<Bytes>],
    tell: Vec<http::Request<Bytes>>,
) -> Result<Vec<http::Request<Bytes>>, Error> {
    match answers {
        [] => Ok(tell),
        _ if settings.service.comments() => comment::rest(settings, event, answers, tell),
        [answer, ..] => Ok(if knows(settings, event, answer)? { Vec::new() } else { tell }),
    }
}

/// Whether the answer shows that the status stands already.
fn knows(settings: &Settings, event: &Event, answer: &http::Response<Bytes>) -> Result<bool, Error> {
    let is_missing = answer.status() == http::StatusCode::NOT_FOUND;
    let may_be_missing = matches!(settings.service, Service::Bitbucket | Service::Bitbucketserver);
    if is_missing && may_be_missing {
        return Ok(false);
    }
    answered(settings, answer)?;
    let found = serde_json::from_slice(answer.body()).unwrap_or_default();
    Ok(match settings.service {
        Service::Github | Service::Gitea => github::knows(settings, event, &found),
        Service::Gitlab => gitlab::knows(settings, event, &found),
        Service::Bitbucket => bitbucket::knows(event, &found),
        Service::Bitbucketserver => bitbucketserver::knows(event, &found),
        Service::Azuredevops => azuredevops::knows(settings, event, &found),
        _ => false,
    })
}

/// What the service's answer means.
pub fn answered(settings: &Settings, answer: &http::Response<Bytes>) -> Result<(), Error> {
    if !answer.status().is_success() {
        return Err(refused(answer));
    }
    match settings.service {
        Service::Slack => slack::answered(settings, answer),
        _ => Ok(()),
    }
}

/// A refusal with the first words of the answer, and when it wants to be asked again.
fn refused(answer: &http::Response<Bytes>) -> Error {
    let text = String::from_utf8_lossy(answer.body());
    let words: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let detail = if words.is_empty() { words } else { format!(": {words}") };
    let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Error::Refused { status: answer.status().as_u16(), detail, retry_after: wait.map(str::to_owned) }
}

/// A POST of JSON.
fn post(address: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<http::Request<Bytes>, Error> {
    request(Method::POST, address, body, headers)
}

/// A request with a body of JSON. Values of headers are secrets.
fn request(
    method: Method,
    address: &str,
    body: Vec<u8>,
    headers: &[(&str, &str)],
) -> Result<http::Request<Bytes>, Error> {
    let mut request = http::Request::new(Bytes::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = address.parse().map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (name, mut value) = parsed.ok_or_else(|| Error::Invalid(format!("header {name:?} cannot be sent")))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// The login in a header: `Bearer` with the token, else `Basic` with name and password, else none.
fn login(settings: &Settings) -> Option<String> {
    match (settings.token.as_str(), settings.username.as_str(), settings.password.as_str()) {
        ("", "", _) | ("", _, "") => None,
        ("", username, password) => Some(basic(username, password)),
        (token, ..) => Some(format!("Bearer {token}")),
    }
}

/// `Authorization` as a list of one, or none.
fn authorized(value: Option<&String>) -> Vec<(&'static str, &str)> {
    value.map(|value| ("authorization", value.as_str())).into_iter().collect()
}

#[cfg(test)]
mod tests;
