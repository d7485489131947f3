//! GitHub Apps: the key of an app is exchanged for a token of one of its installations.
//! Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App", "Generating an installation access token".

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Request, jwt, request, text};

/// Where GitHub answers, unless another place is named.
const GITHUB: &str = "https://api.github.com";

/// An app and the installation that is spoken for. The debug form hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    id: String,
    installation: Installation,
    private_key: String,
    base: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Installation {
    Id(String),
    /// The one of this organisation or user.
    Owner(String),
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({})", self.id)
    }
}

impl App {
    /// The keys of a Secret that describe an app.
    pub const KEYS: [&'static str; 5] = [
        "githubAppID",
        "githubAppPrivateKey",
        "githubAppInstallationID",
        "githubAppInstallationOwner",
        "githubAppBaseURL",
    ];

    /// Reads these keys; none if they describe no app.
    pub fn read(data: &BTreeMap<&str, String>) -> Result<Option<Self>, String> {
        let [id, private_key, installation, owner, base] = Self::KEYS.map(|key| data.get(key).cloned());
        if id.is_none() && private_key.is_none() {
            return Ok(None);
        }
        let lacks = |key: &str| format!("github app data lacks '{key}'");
        let installation = match (installation, owner) {
            (Some(id), _) => Installation::Id(id),
            (None, Some(owner)) => Installation::Owner(owner),
            (None, None) => return Err(lacks("githubAppInstallationID' or 'githubAppInstallationOwner")),
        };
        Ok(Some(Self {
            id: id.ok_or_else(|| lacks("githubAppID"))?,
            private_key: private_key.ok_or_else(|| lacks("githubAppPrivateKey"))?,
            installation,
            base: base.as_deref().unwrap_or(GITHUB).trim_end_matches('/').to_owned(),
        }))
    }

    /// Tells apps and their keys apart without holding them.
    pub(super) fn key(&self) -> String {
        let (Installation::Id(installation) | Installation::Owner(installation)) = &self.installation;
        let digest = Sha256::digest(&self.private_key);
        format!("github {} {} {installation} {digest:x}", self.base, self.id)
    }

    /// The installation, if its number is given.
    pub(super) fn installation(&self) -> Result<&str, &str> {
        match &self.installation {
            Installation::Id(id) => Ok(id),
            Installation::Owner(owner) => Err(owner),
        }
    }

    /// Asks which installation an organisation or a user (`place` is `orgs` or `users`) has.
    pub(super) fn ask_installation(&self, place: &str, owner: &str, now: Timestamp) -> Result<Request, String> {
        self.request(http::Request::get(format!("{}/{place}/{owner}/installation", self.base)), now)
    }

    /// Asks for a token of an installation.
    pub(super) fn ask(&self, installation: &str, now: Timestamp) -> Result<Request, String> {
        let url = format!("{}/app/installations/{installation}/access_tokens", self.base);
        self.request(http::Request::post(url), now)
    }

    fn request(&self, builder: http::request::Builder, now: Timestamp) -> Result<Request, String> {
        // A minute back, for clocks that go wrong; ten minutes is all that GitHub allows.
        let claims = json!({"iat": now.as_second() - 60, "exp": now.as_second() + 480, "iss": self.id});
        let proof = jwt(&claims, &self.private_key).ok_or("the key of the GitHub App cannot sign")?;
        let builder = builder
            .header("authorization", format!("Bearer {proof}"))
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        request(builder, "")
    }
}

/// The number of an installation in the answer.
pub(super) fn found(answer: &Value) -> Result<String, String> {
    answer["id"].as_u64().map(|id| id.to_string()).ok_or_else(|| "the answer has no id".to_owned())
}

/// The token in the answer.
pub(super) fn token(answer: &Value) -> Result<String, String> {
    text(answer, "/token").map(str::to_owned)
}
