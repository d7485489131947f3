//! What a webhook proves, and whom it may wake. Pure: the call comes in, a verdict goes out.
//! Source: reference image-automation.md section 9, delivery.md section 3.4.

pub mod cdevents;
pub mod confirm;
pub mod jwt;
pub mod payload;
pub mod readiness;
pub mod resources;
pub mod signature;

use std::collections::BTreeMap;

use api::notification::{ReceiverSpec, ReceiverType};
use http::HeaderMap;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use self::jwt::{Expected, KeySet, Token};

/// A call as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, whole.
    pub body: &'a [u8],
}

impl<'a> Hook<'a> {
    /// The first value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &'a [u8] {
        self.headers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default()
    }

    /// The first value of a header as text.
    fn text(&self, name: &str) -> &'a str {
        std::str::from_utf8(self.header(name)).unwrap_or_default()
    }

    /// The bearer token of `Authorization`.
    fn bearer(&self) -> Result<&'a str, Refusal> {
        let token = self.text("authorization").strip_prefix("Bearer ").map(str::trim);
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| Refusal::new("the Authorization header holds no bearer token"))
    }
}

/// Why a call is not believed. The caller is told the status 400 and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// What the Secret of a Receiver holds.
pub type SecretData = BTreeMap<String, ByteString>;

/// Whose keys are needed to judge a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Issuer {
    /// Google's, for Pub/Sub.
    Google,
    /// Those which the issuer's discovery document names.
    Discovered(String),
}

/// Issuer names in Google's tokens.
const GOOGLE: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Whose keys must be at hand before [`verify`] can judge the call; none for most types.
pub fn issuer(spec: &ReceiverSpec, hook: Hook<'_>) -> Result<Option<Issuer>, Refusal> {
    match spec.kind {
        Some(ReceiverType::Gcr) => Token::parse(hook.bearer()?).map(|_| Some(Issuer::Google)),
        Some(ReceiverType::GenericOidc) => {
            let token = Token::parse(hook.bearer()?)?;
            let trusted = spec.oidc_providers.iter().find(|provider| provider.issuer_url == token.issuer());
            let provider =
                trusted.ok_or_else(|| Refusal::new("no oidcProvider is configured for the token's issuer"))?;
            Ok(Some(Issuer::Discovered(provider.issuer_url.clone())))
        }
        _ => Ok(None),
    }
}

/// Judges a call: its proof, then its event's name. Gives the claims of a `generic-oidc` token.
pub fn verify(
    spec: &ReceiverSpec,
    secret: &SecretData,
    hook: Hook<'_>,
    keys: Option<&KeySet>,
    now: jiff::Timestamp,
) -> Result<Option<Value>, Refusal> {
    let kind = spec.kind.ok_or_else(|| Refusal::new("the Receiver has no type"))?;
    if kind == ReceiverType::GenericOidc {
        return oidc(spec, hook, keys, now).map(Some);
    }
    let token = secret.get("token").map(|token| token.0.as_slice()).unwrap_or_default();
    if token.is_empty() {
        return Err(Refusal::new("the Secret holds no token"));
    }
    match kind {
        ReceiverType::Generic | ReceiverType::GenericOidc => {}
        ReceiverType::GenericHmac => signature::prefixed(hook.header("x-signature"), token, hook.body)?,
        ReceiverType::Github | ReceiverType::Bitbucket => signature::hub(hook, token)?,
        ReceiverType::Gitlab => signature::equal(hook, "x-gitlab-token", token)?,
        ReceiverType::Harbor => signature::equal(hook, "authorization", token)?,
        ReceiverType::Nexus => {
            signature::nexus(hook.header("x-nexus-webhook-signature"), token, hook.body)?;
            payload::check(kind, hook.body)?;
        }
        ReceiverType::Dockerhub | ReceiverType::Quay | ReceiverType::Acr => payload::check(kind, hook.body)?,
        ReceiverType::Gcr => {
            google(secret, hook, keys, now)?;
            payload::pubsub(hook.body)?;
        }
        ReceiverType::Cdevents => cdevents::check(hook.body)?,
    }
    allowed(kind, &spec.events, hook)?;
    Ok(None)
}

/// Checks the event's name for the types that have one. Names are compared without case.
fn allowed(kind: ReceiverType, events: &[String], hook: Hook<'_>) -> Result<(), Refusal> {
    let header = match kind {
        ReceiverType::Github => "x-github-event",
        ReceiverType::Gitlab => "x-gitlab-event",
        ReceiverType::Bitbucket => "x-event-key",
        ReceiverType::Cdevents => "ce-type",
        _ => return Ok(()),
    };
    let name = hook.text(header).to_lowercase();
    if events.is_empty() || events.iter().any(|event| event.to_lowercase() == name) {
        return Ok(());
    }
    Err(Refusal::new(format!("the event {name:?} is not among the Receiver's events")))
}

/// A token of Google for exactly this audience and account.
fn google(secret: &SecretData, hook: Hook<'_>, keys: Option<&KeySet>, now: jiff::Timestamp) -> Result<(), Refusal> {
    let text = |key: &str| {
        let value = secret.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()).map(str::trim);
        value.filter(|value| !value.is_empty()).ok_or_else(|| Refusal::new(format!("the Secret holds no {key}")))
    };
    let (email, audience) = (text("email")?, text("audience")?);
    let token = Token::parse(hook.bearer()?)?;
    let keys = keys.ok_or_else(|| Refusal::new("Google's keys are not at hand"))?;
    token.verify(keys, Expected { issuers: &GOOGLE, audience }, now)?;
    let claims = token.claims();
    if claims["email_verified"] != json!(true) || claims["email"] != json!(email) {
        return Err(Refusal::new("the token is of another account, or its account is not verified"));
    }
    Ok(())
}

/// A token of a trusted issuer whose claims fulfil every validation.
fn oidc(spec: &ReceiverSpec, hook: Hook<'_>, keys: Option<&KeySet>, now: jiff::Timestamp) -> Result<Value, Refusal> {
    let token = Token::parse(hook.bearer()?)?;
    let provider = spec.oidc_providers.iter().find(|provider| provider.issuer_url == token.issuer());
    let provider = provider.ok_or_else(|| Refusal::new("no oidcProvider is configured for the token's issuer"))?;
    let keys = keys.ok_or_else(|| Refusal::new("the issuer's keys are not at hand"))?;
    let expected = Expected { issuers: &[&provider.issuer_url], audience: provider.audience() };
    token.verify(keys, expected, now)?;
    let mut variables = json!({});
    for variable in &provider.variables {
        let expression = readiness::variable(&variable.expression).map_err(|error| Refusal::new(error.to_string()))?;
        let value = expression.value(&[("claims", token.claims()), ("vars", &variables)]);
        variables[&variable.name] =
            value.map_err(|error| Refusal::new(format!("variable {}: {error}", variable.name)))?;
    }
    let mut unmet = Vec::new();
    for validation in &provider.validations {
        let expression =
            readiness::validation(&validation.expression).map_err(|error| Refusal::new(error.to_string()))?;
        let holds = expression.holds(&[("claims", token.claims()), ("vars", &variables)]);
        if !holds.map_err(|error| Refusal::new(error.to_string()))? {
            unmet.push(validation.message.as_str());
        }
    }
    match unmet.as_slice() {
        [] if !provider.validations.is_empty() => Ok(token.claims().clone()),
        [] => Err(Refusal::new("the oidcProvider has no validations")),
        unmet => Err(Refusal::new(format!("token validation failed: {}", unmet.join("; ")))),
    }
}

#[cfg(test)]
mod tests;
