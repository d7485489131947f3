//! GitHub Apps: the private key of an app is exchanged for a token of one of its installations, good for an hour.
//! Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App", "Generating an installation access token".

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use reqwest::blocking::{Client, RequestBuilder};
use rsa::{
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::DecodePrivateKey as _,
    signature::{SignatureEncoding as _, Signer as _},
};
use serde_json::{Value, json};

use crate::{Credentials, Error, InvalidSecret, SecretData, error::causes};

/// Where GitHub answers, unless the Secret names another place.
const GITHUB: &str = "https://api.github.com";
/// The user whose password an installation token is.
const USER: &str = "x-access-token";
/// A token is replaced so long before it ends.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// So many installations are remembered.
const REMEMBERED: usize = 64;

/// An app and the installation that is spoken for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GithubApp {
    id: String,
    installation: Installation,
    private_key: Vec<u8>,
    /// Address of the API.
    base: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Installation {
    Id(String),
    /// The one of this organisation or user.
    Owner(String),
}

impl fmt::Debug for GithubApp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = formatter.debug_struct("GithubApp").field("id", &self.id).field("base", &self.base).finish();
        app.and(formatter.write_str(" ***"))
    }
}

impl GithubApp {
    /// Whether a Secret is that of an app.
    pub(crate) fn is_in(data: &SecretData) -> bool {
        ["githubAppID", "githubAppPrivateKey"].iter().any(|key| data.contains_key(*key))
    }

    /// Reads the Secret of an app: `githubAppID`, `githubAppPrivateKey`, `githubAppInstallationID` or
    /// `githubAppInstallationOwner`, and `githubAppBaseURL` for GitHub Enterprise.
    pub(crate) fn from_secret(data: &SecretData) -> Result<Self, InvalidSecret> {
        let text = |key: &str| {
            let text = data.get(key).map(|value| String::from_utf8_lossy(value).trim().to_owned());
            text.filter(|text| !text.is_empty())
        };
        let required = |key: &str| text(key).ok_or_else(|| InvalidSecret(format!("github app data lacks '{key}'")));
        let installation = match (text("githubAppInstallationID"), text("githubAppInstallationOwner")) {
            (Some(id), _) => Installation::Id(id),
            (None, Some(owner)) => Installation::Owner(owner),
            (None, None) => {
                let lacks = "github app data lacks 'githubAppInstallationID' or 'githubAppInstallationOwner'";
                return Err(InvalidSecret(lacks.to_owned()));
            }
        };
        let base = text("githubAppBaseURL").unwrap_or_else(|| GITHUB.to_owned());
        let private_key = required("githubAppPrivateKey")?.into_bytes();
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { id: required("githubAppID")?, installation, private_key, base })
    }

    /// The proof that we are the app, good for nine minutes.
    fn proof(&self, now: Timestamp) -> Result<String, String> {
        let text = std::str::from_utf8(&self.private_key).map_err(|error| error.to_string())?;
        let key = match text.contains("BEGIN RSA PRIVATE KEY") {
            true => rsa::RsaPrivateKey::from_pkcs1_pem(text).map_err(|error| error.to_string()),
            false => rsa::RsaPrivateKey::from_pkcs8_pem(text).map_err(|error| error.to_string()),
        };
        let key = rsa::pkcs1v15::SigningKey::<sha2::Sha256>::new(key?);
        let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        // A minute back, for clocks that go wrong; ten minutes is all that GitHub allows.
        let claims = json!({"iat": now.as_second() - 60, "exp": now.as_second() + 480, "iss": self.id});
        let signed = format!("{}.{}", encoded(json!({"alg": "RS256", "typ": "JWT"})), encoded(claims));
        let signature = key.try_sign(signed.as_bytes()).map_err(|error| error.to_string())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_vec())))
    }
}

/// A token of an installation.
#[derive(Clone)]
struct Token {
    text: String,
    expires: Timestamp,
}

/// The tokens of a process.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Vec<(GithubApp, Token)>>);

impl Tokens {
    /// A login for the app's installation, from memory while it is good.
    pub(crate) fn login(
        &self,
        app: &GithubApp,
        client: &Client,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Credentials, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, token)| token.expires > now + MARGIN);
        let token = match known.iter().find(|(other, _)| other == app) {
            Some((_, token)) => token.clone(),
            None => {
                let exchange = Exchange { app, client, timeout };
                let token = exchange.token(now)?;
                if known.len() == REMEMBERED {
                    known.remove(0);
                }
                known.push((app.clone(), token.clone()));
                token
            }
        };
        Ok(Credentials::Basic { username: USER.to_owned(), password: token.text })
    }
}

struct Exchange<'a> {
    app: &'a GithubApp,
    client: &'a Client,
    timeout: Duration,
}

impl Exchange<'_> {
    fn token(&self, now: Timestamp) -> Result<Token, Error> {
        let app = self.app;
        let client = |cause: String| Error::Client { url: app.base.clone(), cause };
        let proof = app.proof(now).map_err(|cause| client(format!("githubAppPrivateKey: {cause}")))?;
        let id = match &app.installation {
            Installation::Id(id) => id.clone(),
            Installation::Owner(owner) => self.installation(owner, &proof)?,
        };
        let answer =
            self.ask(self.client.post(format!("{}/app/installations/{id}/access_tokens", app.base)), &proof)?;
        let text = answer["token"].as_str().map(str::to_owned);
        let expires = answer["expires_at"].as_str().and_then(|time| time.parse().ok());
        match (text, expires) {
            (Some(text), Some(expires)) => Ok(Token { text, expires }),
            _ => Err(Error::Protocol { url: app.base.clone(), what: "there is no token in it".to_owned() }),
        }
    }

    /// The installation of an organisation, else of a user.
    fn installation(&self, owner: &str, proof: &str) -> Result<String, Error> {
        let base = &self.app.base;
        let found = self.ask(self.client.get(format!("{base}/orgs/{owner}/installation")), proof);
        let found = match found {
            Err(Error::RepositoryNotFound { .. }) => {
                self.ask(self.client.get(format!("{base}/users/{owner}/installation")), proof)?
            }
            other => other?,
        };
        let id = found["id"].as_u64().map(|id| id.to_string());
        id.ok_or_else(|| Error::Protocol { url: base.clone(), what: "there is no installation in it".to_owned() })
    }

    fn ask(&self, request: RequestBuilder, proof: &str) -> Result<Value, Error> {
        let url = self.app.base.clone();
        let request = request
            .bearer_auth(proof)
            .header("Accept", "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28")
            .timeout(self.timeout);
        let failed = |error: reqwest::Error| Error::Request { url: url.clone(), cause: causes(&error.without_url()) };
        let answer = request.send().map_err(failed)?;
        match answer.status().as_u16() {
            200..300 => {}
            status @ (401 | 403) => return Err(Error::AuthenticationFailed { url, status }),
            404 => return Err(Error::RepositoryNotFound { url: format!("{url} (installation of the GitHub App)") }),
            status => return Err(Error::Status { url, status }),
        }
        let bytes = answer.bytes().map_err(failed)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Protocol { url, what: error.to_string() })
    }
}
