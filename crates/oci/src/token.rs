//! Authorization of one request: Basic, or a bearer token fetched from the realm that the registry names.
//! Source: `reference/image-automation.md`, section 4.4, items 2 and 3.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    Client, Credential, Error, Result,
    challenge::{Bearer, Demand},
    client::{Answer, Call, Door, is_private_address},
};

const TOKEN_LIMIT_BYTES: usize = 1 << 20;
/// Tokens kept; each may have some kilobytes.
const MAX_TOKENS: usize = 1024;

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// A token that is wanted: where, for what, as whom.
pub(crate) struct Wanted<'a> {
    pub(crate) door: &'a Door,
    pub(crate) bearer: &'a Bearer,
    pub(crate) scopes: Vec<String>,
    pub(crate) credential: Option<&'a Credential>,
}

impl Client {
    /// The value of `Authorization` for a door, from memory where possible.
    pub(crate) async fn authorization(
        &self,
        door: &Door,
        scopes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Option<String>> {
        match (&door.demand, credential) {
            (_, Some(Credential::RegistryToken(token))) => Ok(Some(format!("Bearer {token}"))),
            (Demand::Open, _) | (Demand::Basic, None) => Ok(None),
            (Demand::Basic, Some(credential)) => Ok(basic(credential)),
            (Demand::Bearer(bearer), credential) => {
                let wanted = Wanted { door, bearer, scopes: scopes.to_vec(), credential };
                let known = self.memory().tokens.get(&wanted.key()).cloned();
                let token = match known {
                    Some(token) => token,
                    None => self.fetch_token(&wanted).await?,
                };
                Ok(Some(format!("Bearer {token}")))
            }
        }
    }

    /// Fetches a token, whatever is remembered, and remembers it.
    pub(crate) async fn fetch_token(&self, wanted: &Wanted<'_>) -> Result<String> {
        let realm = wanted.realm()?;
        let answer = match wanted.credential {
            Some(Credential::IdentityToken { token, .. }) => {
                let answer = self.send_to_realm(wanted, wanted.post(realm.clone(), token)).await?;
                // Some token servers only know the older request.
                if answer.response.status() == StatusCode::NOT_FOUND {
                    self.send_to_realm(wanted, wanted.get(realm)).await?
                } else {
                    answer
                }
            }
            _ => self.send_to_realm(wanted, wanted.get(realm)).await?,
        };
        let answer = answer.expect(&[StatusCode::OK]).await?;
        let request = answer.request.clone();
        let (_, body) = answer.collect(TOKEN_LIMIT_BYTES).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| Error::protocol(&request, "the token server's answer is not readable JSON"))?;
        let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| Error::protocol(&request, "the token server's answer holds no token"))?;
        let mut memory = self.memory();
        if memory.tokens.len() >= MAX_TOKENS {
            // A token that is missed is fetched again.
            memory.tokens.clear();
        }
        memory.tokens.insert(wanted.key(), token.clone());
        Ok(token)
    }

    async fn send_to_realm(&self, wanted: &Wanted<'_>, call: Call) -> Result<Answer> {
        // An identity token sent as a form already proves who we are.
        let authorization = if call.method == Method::GET { wanted.credential.and_then(basic) } else { None };
        self.follow(call, authorization.as_deref(), |next| wanted.allowed(next)).await
    }
}

impl Wanted<'_> {
    fn realm(&self) -> Result<Url> {
        let request = format!("GET {}/v2/", self.door.base.origin().ascii_serialization());
        let realm = Url::parse(&self.bearer.realm)
            .map_err(|_| Error::protocol(&request, "the challenge's realm is not an address"))?;
        self.allowed(&realm).map_err(|problem| Error::protocol(&request, problem))?;
        Ok(realm)
    }

    /// Whether this address may see our credentials.
    fn allowed(&self, realm: &Url) -> Result<(), &'static str> {
        match realm.scheme() {
            "https" => {}
            "http" if self.door.base.scheme() == "http" => {}
            _ => return Err("refused a token realm that is not HTTPS"),
        }
        if is_private_address(realm) && realm.host() != self.door.base.host() {
            return Err("refused a token realm at a private address");
        }
        Ok(())
    }

    fn get(&self, mut realm: Url) -> Call {
        {
            let mut query = realm.query_pairs_mut();
            for scope in &self.scopes {
                query.append_pair("scope", scope);
            }
            if let Some(service) = &self.bearer.service {
                query.append_pair("service", service);
            }
        }
        Call::get(realm)
    }

    fn post(&self, realm: Url, token: &str) -> Call {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "slipway")
            .append_pair("refresh_token", token);
        form.append_pair("scope", &self.scopes.join(" "));
        form.append_pair("service", self.bearer.service.as_deref().unwrap_or_default());
        let mut call = Call::new(Method::POST, realm);
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        call.body = form.finish().into();
        call
    }

    /// What tells this token from others. Hashed, so that no secret is kept as a key.
    fn key(&self) -> [u8; 32] {
        let service = self.bearer.service.as_deref().unwrap_or_default();
        let place = [self.door.base.as_str(), &self.bearer.realm, service];
        let texts = place.into_iter().chain(self.scopes.iter().map(String::as_str)).map(str::as_bytes);
        let credential = self.credential.map(Credential::fingerprint).unwrap_or_default();
        fingerprint(texts.chain([credential.as_slice()]))
    }
}

impl Credential {
    /// What tells it from others without holding it.
    pub fn fingerprint(&self) -> [u8; 32] {
        let parts = match self {
            Self::Basic { username, password } => ["basic", username, password],
            Self::IdentityToken { username, token } => ["identity", username, token],
            Self::RegistryToken(token) => ["registry", "", token],
        };
        fingerprint(parts.into_iter().map(str::as_bytes))
    }
}

/// A hash over parts that cannot run into each other.
fn fingerprint<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn basic(credential: &Credential) -> Option<String> {
    let pair = match credential {
        Credential::Basic { username, password } => format!("{username}:{password}"),
        Credential::IdentityToken { username, token } => format!("{username}:{token}"),
        Credential::RegistryToken(_) => return None,
    };
    Some(format!("Basic {}", STANDARD.encode(pair)))
}
