//! Logins at the Git servers of clouds: Azure DevOps and AWS CodeCommit.

use api::source::GitProvider;
use jiff::Timestamp;
use url::Url;

use super::{Identities, aws};
use crate::clock;

/// Azure DevOps, as Entra names it. Source: learn.microsoft.com, "Use Microsoft Entra service principals".
pub const AZURE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";
/// Host names of CodeCommit before the region.
const CODECOMMIT: [&str; 2] = ["git-codecommit.", "git-codecommit-fips."];

/// A login for a Git server.
#[derive(Clone, PartialEq, Eq)]
pub struct GitLogin {
    /// Without one the password is a bearer token.
    pub username: Option<String>,
    /// The password.
    pub password: String,
}

impl Identities {
    /// A login for the repository at this address; none if the provider is no cloud.
    pub async fn git(&self, provider: GitProvider, address: &str) -> Result<Option<GitLogin>, String> {
        let url = || {
            let url = Url::parse(address).map_err(|error| format!("failed to parse URL '{address}': {error}"))?;
            // The token must not travel in the clear.
            let is_safe = url.scheme() == "https";
            if is_safe {
                Ok(url)
            } else {
                Err("a cloud provider's credentials are for https addresses only".to_owned())
            }
        };
        match provider {
            GitProvider::Generic | GitProvider::Github => Ok(None),
            GitProvider::Azure => {
                url()?;
                Ok(Some(GitLogin { username: None, password: self.azure(AZURE_DEVOPS).await? }))
            }
            GitProvider::Aws => {
                let url = url()?;
                let host = url.host_str().unwrap_or_default();
                let region = region(host).ok_or_else(|| format!("{host} is no server of AWS CodeCommit"))?;
                Ok(Some(codecommit(&self.aws(region).await?, region, host, url.path(), clock::now())))
            }
        }
    }
}

/// The region in the name of a server of CodeCommit.
fn region(host: &str) -> Option<&str> {
    let (region, domain) = CODECOMMIT.iter().find_map(|prefix| host.strip_prefix(prefix))?.split_once('.')?;
    (domain == aws::domain(region)).then_some(region)
}

/// User and password, good for a quarter of an hour. Source: AWS's `git-remote-codecommit`.
fn codecommit(keys: &aws::Keys, region: &str, host: &str, path: &str, now: Timestamp) -> GitLogin {
    let time = now.strftime("%Y%m%dT%H%M%S").to_string();
    let canonical = format!("GIT\n{path}\n\nhost:{host}\n\nhost\n");
    let signature = aws::signature(keys, region, "codecommit", &time, &canonical);
    let session = keys.session.as_ref().map(|session| format!("%{session}")).unwrap_or_default();
    GitLogin { username: Some(format!("{}{session}", keys.id)), password: format!("{time}Z{signature}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::clouds::identities;

    #[test]
    fn codecommit_takes_a_signature_as_password() {
        let keys = |session: Option<&str>| aws::Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: session.map(str::to_owned),
        };
        let now = "2026-11-21T12:00:00Z".parse().expect("a time");
        let host = "git-codecommit.eu-west-1.amazonaws.com";
        let login = codecommit(&keys(None), "eu-west-1", host, "/v1/repos/fleet", now);
        assert_eq!(login.username.as_deref(), Some("AKIAIOSFODNN7EXAMPLE"));
        // Worked out with Python's hmac.
        let signature = "230c5eb117e06614918275ae465ee201c9868416fc1e29792cebc904a02caded";
        assert_eq!(login.password, format!("20261121T120000Z{signature}"));
        let login = codecommit(&keys(Some("TOKEN")), "eu-west-1", host, "/v1/repos/fleet", now);
        assert_eq!(login.username.as_deref(), Some("AKIAIOSFODNN7EXAMPLE%TOKEN"));
        assert_eq!(region(host), Some("eu-west-1"));
        assert_eq!(region("git-codecommit.cn-north-1.amazonaws.com.cn"), Some("cn-north-1"));
        for other in ["git-codecommit.eu-west-1.example.com", "codecommit.eu-west-1.amazonaws.com", "amazonaws.com"] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn each_cloud_gives_a_login_for_its_own_server_over_https() {
        let answers = &[("169.254.169.254/metadata/identity/oauth2/token", "{\"access_token\": \"A\"}")];
        let given = &[("AWS_ACCESS_KEY_ID", "I"), ("AWS_SECRET_ACCESS_KEY", "S")];
        let (identities, _) = identities(answers, given);
        let login = async |provider, address| {
            identities.git(provider, address).await.map(|login| login.map(|login| login.username))
        };
        assert_eq!(login(GitProvider::Generic, "ssh://git@host/r").await, Ok(None));
        assert_eq!(login(GitProvider::Azure, "https://dev.azure.com/org/p/_git/r").await, Ok(Some(None)));
        let codecommit = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet";
        assert_eq!(login(GitProvider::Aws, codecommit).await, Ok(Some(Some("I".into()))));
        for (provider, address, why) in [
            (GitProvider::Azure, "http://dev.azure.com/org/p/_git/r", "https addresses only"),
            (GitProvider::Aws, "https://github.com/a/b", "no server of AWS CodeCommit"),
        ] {
            let problem = login(provider, address).await.expect_err("refused");
            assert!(problem.contains(why), "{problem}");
        }
    }
}
