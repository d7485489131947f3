//! Keeps the pull request of a push branch: asks the forge what there is, and sends what is left to do.

use bytes::Bytes;
use git::{Credentials, Mirrors, Remote};
use reconcile::{Endpoint, Failure, Http, clock};
use serde_json::Value;

use super::{Run, source};
use crate::pull_request::{Repository, Request, Wanted};

/// An answer of a forge is not read beyond this.
const LIMIT_BYTES: usize = 8 << 20;

/// The way to a forge, as its repository is reached: with the same login, certificates and proxy.
pub(super) struct Forge<'a> {
    pub(super) http: &'a Http,
    pub(super) mirrors: &'a Mirrors,
    pub(super) remote: &'a Remote,
}

impl Forge<'_> {
    /// Sees to it that there is one pull request with these words. Gives where it is to be seen.
    pub(super) async fn keep(
        &self,
        run: &Run<'_>,
        repository: &Repository,
        message: &str,
    ) -> Result<Option<String>, Failure> {
        let wanted = Wanted {
            head: run.branches.push.clone(),
            base: run.branches.checkout.branch.clone().unwrap_or_default(),
            message: message.to_owned(),
            automation: owner(run),
        };
        let token = self.token().await?;
        let list = self.send(repository.list(&wanted.base, &token)).await?;
        let plan = repository.plan(&list, &wanted, &token).map_err(|problem| failed(&problem))?;
        let (mut url, mut first) = (plan.url, plan.creates);
        for request in plan.requests {
            let answer = self.send(request).await?;
            if std::mem::take(&mut first) {
                let (seen, labels) = repository.created(&answer, &token);
                url = seen;
                if let Some(labels) = labels {
                    self.send(labels).await?;
                }
            }
        }
        Ok(url)
    }

    /// What proves to the forge who we are: the token that pushes.
    async fn token(&self) -> Result<String, Failure> {
        let (mirrors, remote, now) = (self.mirrors.clone(), self.remote.clone(), clock::now());
        let remote = source::step("login", move || mirrors.login(&remote, now)).await;
        match remote.map_err(|error| failed(&error.chain()))?.credentials {
            Credentials::Basic { password, .. } => Ok(password),
            Credentials::Bearer(token) => Ok(token),
            Credentials::None | Credentials::Ssh { .. } | Credentials::GithubApp(_) => {
                Err(failed("the Secret of the GitRepository holds no token for the API of the forge"))
            }
        }
    }

    async fn send(&self, request: Request) -> Result<Value, Failure> {
        let what = format!("{} {}", request.method, request.url.split('?').next().unwrap_or_default());
        let mut built = http::Request::builder().method(request.method).uri(&request.url);
        for (name, value) in &request.headers {
            built = built.header(*name, value);
        }
        let body = request.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let built = built.body(body).map_err(|error| failed(&format!("{what}: {error}")))?;
        let endpoint = Endpoint {
            timeout: self.remote.timeout,
            limit: LIMIT_BYTES,
            ca: self.remote.ca.clone(),
            identity: self.remote.identity.clone(),
            proxy: self.remote.proxy.clone(),
            ..Endpoint::default()
        };
        let answer = self.http.send(built, &endpoint).await.map_err(|error| failed(&format!("{what}: {error}")))?;
        if !answer.status().is_success() {
            let told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let told = told["message"].as_str().unwrap_or_default();
            return Err(failed(format!("{what}: the server answered {} {told}", answer.status().as_u16()).trim()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| failed(&format!("{what}: {error}")))
    }
}

/// Who knows its own pull requests again: the automation, and with a branch for each group, the group.
fn owner(run: &Run<'_>) -> String {
    let group = run.group.as_ref().map(|group| format!(" {group}")).unwrap_or_default();
    format!("{}/{}{group}", run.namespace, kube::ResourceExt::name_any(run.automation))
}

fn failed(problem: &str) -> Failure {
    Failure::new("GitOperationFailed", format!("failed to keep the pull request: {problem}"))
}
