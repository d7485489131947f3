//! What Git services are told about a commit: which one, under which name, and how it went. Pure.

use api::notification::{Alert, Provider};
use expression::{Expression, Output};
use kube::ResourceExt as _;
use reconcile::{Event, object};
use ring::digest;

use super::Settings;
use crate::Error;

/// Longest description that every service takes.
const MAX_DESCRIPTION_CHARACTERS: usize = 140;

/// The commit that an event is about: its fact `commit`, else that of the origin, else of the revision.
pub fn commit(event: &Event) -> Result<String, Error> {
    let fact = |key: &str| event.metadata.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let revision = fact("commit").or(fact("originRevision")).or(fact("revision"));
    let revision = revision.ok_or_else(|| Error::Invalid("the event names no revision, so no commit".into()))?;
    // `main@sha1:abc`, `main/abc`, `sha1:abc`, `abc`.
    let commit = revision.rsplit([':', '/', '@']).next().unwrap_or_default();
    if commit.len() < 7 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::Invalid(format!("the revision {revision:?} names no commit")));
    }
    Ok(commit.to_owned())
}

/// What the status is filed under: as the Provider's expression says, else object and the first part of the Provider's UID.
pub fn context(provider: &Provider, alert: &Alert, event: &Event) -> Result<String, Error> {
    let source = &provider.spec.commit_status_expr;
    if source.is_empty() {
        let uid = provider.uid().unwrap_or_default();
        let about = &event.involved_object.reference;
        let first = uid.split('-').next().unwrap_or_default();
        return Ok(format!("{}/{}/{first}", about.kind, about.name).to_lowercase());
    }
    let failed = |error: expression::CelError| Error::Invalid(format!("commitStatusExpr: {error}"));
    let expression = Expression::compile(source, &["event", "alert", "provider"]);
    let expression = expression.and_then(|expression| expression.giving(Output::String)).map_err(failed)?;
    let event = serde_json::to_value(event).map_err(|error| Error::Invalid(error.to_string()))?;
    let (alert, provider) = (object::to_value(alert), object::to_value(provider));
    expression.text(&[("event", &event), ("alert", &alert), ("provider", &provider)]).map_err(failed)
}

/// The context as a key of at most 40 characters, for Bitbucket.
pub fn key(settings: &Settings) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, settings.status_context.as_bytes());
    hex::encode(digest)
}

/// What happened, in a line.
pub fn description(event: &Event) -> String {
    super::words::reason(event).chars().take(MAX_DESCRIPTION_CHARACTERS).collect()
}

/// Host with scheme, and path without `.git`, of a repository's address in any of Git's forms.
pub fn repository(address: &str) -> Result<(String, Vec<String>), Error> {
    let invalid = || Error::Invalid("the address is not that of a Git repository".into());
    let long = match address.split_once(':') {
        Some((host, path)) if !address.contains("://") => {
            format!("https://{}/{}", host.rsplit('@').next().unwrap_or_default(), path.trim_start_matches('/'))
        }
        _ => address.to_owned(),
    };
    let url = url::Url::parse(&long).map_err(|_| invalid())?;
    let host = url.host_str().ok_or_else(invalid)?;
    let (scheme, port) = match url.scheme() {
        scheme @ ("http" | "https") => (scheme, url.port()),
        _ => ("https", None),
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = url.path().trim_matches('/').trim_end_matches(".git");
    Ok((format!("{scheme}://{host}{port}"), path.split('/').map(str::to_owned).collect()))
}

/// Owner and name of a repository whose path has exactly these two parts.
pub fn owner_and_name(address: &str) -> Result<(String, String, String), Error> {
    let (host, path) = repository(address)?;
    match path.as_slice() {
        [owner, name] if !owner.is_empty() && !name.is_empty() => Ok((host, owner.clone(), name.clone())),
        _ => Err(Error::Invalid("the address is not of the form HOST/OWNER/REPOSITORY".into())),
    }
}
