//! What a GitRepository says about its repository: how the server is reached, and which commit is wanted. Pure.
//! Source: reference delivery.md section 5.9, image-automation.md sections 6.1 to 6.3.

use std::collections::BTreeMap;

use api::source::{GitProvider, GitRepository, GitRepositoryRef};
use policy::{Range, Version};

use crate::{Checkout, Credentials, GithubApp, Id, InvalidSecret, LocalPaths, Remote};

/// Branch where nothing is named.
const DEFAULT_BRANCH: &str = "master";

/// What is said where the provider `github` finds no GitHub App.
const NO_APP: &str =
    "secretRef with github app data must be specified when provider is set to github: invalid source configuration";

/// The content of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// The Secrets that a GitRepository refers to.
#[derive(Clone, Default)]
pub struct Secrets {
    /// That of `secretRef`.
    pub login: Option<SecretData>,
    /// That of `proxySecretRef`.
    pub proxy: Option<SecretData>,
    /// What the cloud that is the provider gave in their place.
    pub cloud: Option<Credentials>,
}

impl Remote {
    /// The repository that a GitRepository describes, with what its Secrets hold.
    ///
    /// # Errors
    /// When a Secret does not fit the URL or the provider, or the provider is not supported.
    pub fn of(repository: &GitRepository, secrets: &Secrets, local_paths: LocalPaths) -> Result<Self, InvalidSecret> {
        let spec = &repository.spec;
        let mut remote = Self::new(&spec.url);
        remote.scope = repository.metadata.namespace.clone().unwrap_or_default();
        remote.timeout = spec.timeout();
        remote.local_paths = local_paths;
        if let Some(data) = &secrets.proxy {
            remote = remote.with_proxy(data)?;
        }
        if let Some(problem) = wrong_provider(repository, secrets.login.as_ref()) {
            return Err(InvalidSecret(problem));
        }
        match spec.provider.unwrap_or_default() {
            GitProvider::Generic => match &secrets.login {
                Some(data) => remote.with_secret(data),
                None => remote.without_secret(),
            },
            GitProvider::Github => match secrets.login.as_ref().filter(|data| GithubApp::is_in(data)) {
                Some(data) => {
                    remote.ca = data.get("ca.crt").cloned();
                    remote.credentials = Credentials::GithubApp(GithubApp::from_secret(data)?);
                    Ok(remote)
                }
                None => Err(InvalidSecret(NO_APP.to_owned())),
            },
            // Differs: Flux can log in as the account; our own identity in its place would give away too much.
            GitProvider::Azure | GitProvider::Aws if spec.service_account_name.is_some() => {
                Err(InvalidSecret("spec.serviceAccountName is not supported yet".to_owned()))
            }
            GitProvider::Azure | GitProvider::Aws => {
                remote.ca = secrets.login.as_ref().and_then(|data| data.get("ca.crt").cloned());
                remote.credentials = secrets.cloud.clone().unwrap_or(Credentials::None);
                Ok(remote)
            }
        }
    }
}

/// Why the provider of a GitRepository and its Secret cannot go together: a GitHub App's data without the provider
/// `github`, or that without a Secret. Only a change of the GitRepository mends that. The texts are Flux's.
/// Source: image-automation-controller `internal/source/git.go`, `getAuthOpts`.
pub fn wrong_provider(repository: &GitRepository, login: Option<&SecretData>) -> Option<String> {
    let spec = &repository.spec;
    match (spec.provider.unwrap_or_default(), login) {
        (GitProvider::Generic, Some(data)) if GithubApp::is_in(data) => {
            let namespace = repository.metadata.namespace.as_deref().unwrap_or_default();
            let secret = spec.secret_ref.as_ref().map(|reference| reference.name.as_str()).unwrap_or_default();
            Some(format!(
                "secretRef '{namespace}/{secret}' has github app data but provider is not set to github: invalid source \
                 configuration"
            ))
        }
        (GitProvider::Github, None) => Some(NO_APP.to_owned()),
        _ => None,
    }
}

/// Which commit is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The tip of a branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// The newest tag in this range.
    Semver(String),
    /// What a reference of this full name points to.
    Name(String),
    /// A commit, and the branch it is said to be on.
    Commit {
        /// The commit.
        id: Id,
        /// The branch.
        branch: Option<String>,
    },
}

impl Wanted {
    /// What a reference asks for. Precedence: branch < tag < semver < name < commit.
    ///
    /// # Errors
    /// Names the field that cannot be read.
    pub fn new(reference: Option<&GitRepositoryRef>) -> Result<Self, String> {
        let reference = reference.cloned().unwrap_or_default();
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let branch = filled(reference.branch);
        if let Some(commit) = filled(reference.commit) {
            let id = commit.parse().map_err(|error| format!("ref.commit: {commit:?}: {error}"))?;
            return Ok(Self::Commit { id, branch });
        }
        if let Some(name) = filled(reference.name) {
            return Ok(Self::Name(name));
        }
        if let Some(range) = filled(reference.semver) {
            Range::parse(&range).map_err(|error| format!("ref.semver: {error}"))?;
            return Ok(Self::Semver(range));
        }
        let tag = filled(reference.tag).map(Self::Tag);
        Ok(tag.unwrap_or_else(|| Self::Branch(branch.unwrap_or_else(|| DEFAULT_BRANCH.to_owned()))))
    }

    /// Calls the function with what a [`crate::Mirror`] is asked for.
    pub fn with_checkout<T>(&self, f: impl FnOnce(&Checkout<'_>) -> T) -> T {
        match self {
            Self::Branch(branch) => f(&Checkout::Branch(branch)),
            Self::Tag(tag) => f(&Checkout::Tag(tag)),
            Self::Name(name) => f(&Checkout::Name(name)),
            Self::Semver(range) => f(&Checkout::PickTag(&|tags| newest(range, tags))),
            Self::Commit { id, branch } => f(&Checkout::Commit { id: *id, branch: branch.as_deref() }),
        }
    }
}

/// The newest tag in the range.
fn newest(range: &str, tags: &[String]) -> Option<String> {
    let range = Range::parse(range).ok()?;
    let versions = tags.iter().filter_map(|tag| Some((Version::tag(tag).ok()?, tag)));
    let matching = versions.filter(|(version, _)| range.matches(version));
    matching.max_by(|(one, _), (other, _)| one.precedence(other)).map(|(_, tag)| tag.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_most_exact_field_wins() {
        let hash = "ab".repeat(20);
        let text = |text: &str| Some(text.to_owned());
        let empty = GitRepositoryRef::default;
        let cases = [
            (empty(), Wanted::Branch("master".into())),
            (GitRepositoryRef { branch: text("main"), ..empty() }, Wanted::Branch("main".into())),
            (GitRepositoryRef { branch: text("main"), tag: text("v1"), ..empty() }, Wanted::Tag("v1".into())),
            (GitRepositoryRef { tag: text("v1"), semver: text("1.x"), ..empty() }, Wanted::Semver("1.x".into())),
            (
                GitRepositoryRef { semver: text("1.x"), name: text("refs/pull/1/head"), ..empty() },
                Wanted::Name("refs/pull/1/head".into()),
            ),
            (
                GitRepositoryRef { branch: text("main"), name: text("x"), commit: text(&hash), ..empty() },
                Wanted::Commit { id: hash.parse().unwrap(), branch: text("main") },
            ),
        ];
        for (reference, expected) in cases {
            assert_eq!(Wanted::new(Some(&reference)), Ok(expected));
        }
        for wrong in [
            GitRepositoryRef { commit: text("abc"), ..empty() },
            GitRepositoryRef { semver: text("not a range"), ..empty() },
        ] {
            assert!(Wanted::new(Some(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_newest_tag_in_range_is_picked() {
        let tags: Vec<String> = ["v1.2.0", "v1.10.0", "v2.0.0", "latest", "v1.11.0-rc.1"].map(String::from).into();
        assert_eq!(newest("1.x", &tags).as_deref(), Some("v1.10.0"));
        assert_eq!(newest("3.x", &tags), None);
    }

    fn repository(url: &str, provider: Option<&str>) -> GitRepository {
        let mut object = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": "apps"},
            "spec": {"url": url, "interval": "1m", "secretRef": {"name": "login"}}});
        if let Some(provider) = provider {
            object["spec"]["provider"] = provider.into();
        }
        serde_json::from_value(object).unwrap()
    }

    fn data(secret: &Value) -> Option<SecretData> {
        let entries = secret.as_object()?.iter();
        Some(entries.map(|(key, value)| (key.clone(), value.as_str().unwrap().as_bytes().to_vec())).collect())
    }

    #[test]
    fn secrets_are_read_as_the_reference_reads_them() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/image/controller_decisions.jsonl");
        let cases = std::fs::read_to_string(file).unwrap();
        let rows = cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut count = 0;
        for row in rows.filter(|row| row["kind"] == "gitAuth") {
            count += 1;
            let url = row["url"].as_str().unwrap();
            let secrets = Secrets { login: data(&row["secret"]), proxy: None, cloud: None };
            let found = Remote::of(&repository(url, None), &secrets, LocalPaths::Refuse);
            if let Some(error) = row["error_contains"].as_str() {
                assert!(found.unwrap_err().to_string().contains(error), "{row}");
                continue;
            }
            let found = found.unwrap();
            let (expected, optional) = (&row["expected"], |field: &str| row["expected"][field].as_str());
            match &found.credentials {
                Credentials::Bearer(token) => assert_eq!(expected["bearerToken"], json!(token)),
                Credentials::Basic { username, password } => {
                    assert_eq!(Some(username.as_str()), optional("username").or(Some("")), "{row}");
                    assert_eq!(Some(password.as_str()), optional("password").or(Some("")), "{row}");
                }
                _ => assert!(expected["bearerToken"].as_str().is_none(), "{row}"),
            }
            assert_eq!(found.ca.as_deref(), optional("ca").map(str::as_bytes), "{row}");
        }
        assert!(count > 0);
    }

    #[test]
    fn ssh_wants_a_secret() {
        let read = |url| Remote::of(&repository(url, None), &Secrets::default(), LocalPaths::Refuse);
        let error = read("SSH://git@example.com/a").unwrap_err().to_string();
        assert_eq!(error, "invalid 'ssh' auth option: 'identity' is required");
        assert!(read("https://example.com/a").is_ok());
    }

    #[test]
    fn a_github_app_and_its_provider_need_each_other() {
        let app = json!({"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "key"});
        let secrets = |secret: Option<&Value>| Secrets { login: secret.and_then(data), proxy: None, cloud: None };
        let read = |provider, secret| {
            Remote::of(&repository("https://github.com/a/b", provider), &secrets(secret), LocalPaths::Refuse)
        };
        let error = read(None, Some(&app)).unwrap_err().to_string();
        assert!(error.starts_with("secretRef 'apps/login' has github app data but provider is not set"), "{error}");
        let error = read(Some("github"), None).unwrap_err().to_string();
        assert!(error.starts_with("secretRef with github app data must be specified"), "{error}");
        // The Secret can still be mended then, unlike a GitRepository that names none.
        let (empty, url) = (json!({"other": "x"}), "https://github.com/a/b");
        assert!(read(Some("github"), Some(&empty)).is_err());
        let wrong = |provider, secret: Option<&Value>| {
            wrong_provider(&repository(url, provider), secret.and_then(data).as_ref()).is_some()
        };
        assert!(wrong(None, Some(&app)) && wrong(Some("github"), None));
        assert!(!wrong(Some("github"), Some(&empty)) && !wrong(None, None) && !wrong(Some("github"), Some(&app)));
        assert!(matches!(read(Some("github"), Some(&app)).unwrap().credentials, Credentials::GithubApp(_)));
    }
}
