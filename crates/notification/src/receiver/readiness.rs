//! Whether a Receiver can be used, and the path it listens on. Pure.
//! Source: reference image-automation.md sections 9.1 and 9.2.

use std::{collections::BTreeSet, net::IpAddr};

use api::notification::{OidcProvider, Receiver, ReceiverSpec, ReceiverType};
use expression::{CelError, Expression, Output};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use super::{SecretData, confirm};

/// Annotation: addresses and networks that may call, with commas between. For services that sign nothing.
pub const ALLOW_FROM: &str = "notification.slipway.dev/allow-from";

/// Why a Receiver cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// Reason of the condition.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Whether only a change of the Receiver helps.
    pub is_terminal: bool,
}

impl Unready {
    fn terminal(reason: &'static str, problem: String) -> Self {
        let message = format!("Reconciliation failed terminally due to configuration error: {problem}");
        Self { reason, message, is_terminal: true }
    }

    fn token(message: String) -> Self {
        Self { reason: "TokenNotFound", message, is_terminal: false }
    }
}

/// The path of a webhook: whoever knows it has seen the token.
pub fn path(token: &[u8], name: &str, namespace: &str) -> String {
    let digest = Sha256::new().chain_update(token).chain_update(name).chain_update(namespace).finalize();
    format!("/hook/{}", hex::encode(digest))
}

/// The path that the Receiver listens on, or why it does not.
///
/// Differs: an empty token is refused; with Flux it makes a path that everybody can work out, and signatures optional.
pub fn check(receiver: &Receiver, secret: Option<&SecretData>) -> Result<String, Unready> {
    let (spec, name) = (&receiver.spec, receiver.name_any());
    let namespace = receiver.namespace().unwrap_or_default();
    let invalid = |problem: String| Unready::terminal("ValidationFailed", problem);
    let kind = spec.kind.ok_or_else(|| invalid("spec.type is required".into()))?;
    networks(receiver).map_err(invalid)?;
    confirm::read(receiver).map_err(invalid)?;
    expressions(spec, kind).map_err(|problem| Unready::terminal("InvalidCELExpression", problem))?;
    if kind == ReceiverType::GenericOidc {
        providers(&spec.oidc_providers).map_err(invalid)?;
        return Ok(path(&[], &name, &namespace));
    }
    let reference = spec
        .secret_ref
        .as_ref()
        .ok_or_else(|| invalid(format!("spec.secretRef is required for type {}", kind.as_str())))?;
    let at = format!("{namespace}/{}", reference.name);
    let secret = secret.ok_or_else(|| {
        let problem = format!("secrets {:?} not found", reference.name);
        Unready::token(format!("unable to read token from secret '{at}' error: {problem}"))
    })?;
    let value = |key: &str| secret.get(key).map(|value| value.0.as_slice()).filter(|value| !value.is_empty());
    let required: &[&str] = if kind == ReceiverType::Gcr { &["token", "email", "audience"] } else { &["token"] };
    if let Some(missing) = required.iter().find(|key| value(key).is_none()) {
        return Err(Unready::token(format!("invalid '{at}' secret data: required fields '{missing}'")));
    }
    Ok(path(value("token").unwrap_or_default(), &name, &namespace))
}

/// A filter over a resource and the call, and over the claims of the caller's token where calls bring one.
pub fn filter(source: &str, kind: Option<ReceiverType>) -> Result<Expression, CelError> {
    let variables: &[&str] =
        if kind == Some(ReceiverType::GenericOidc) { &["res", "req", "claims"] } else { &["res", "req"] };
    Expression::compile(source, variables)?.giving(Output::Bool)
}

/// An expression over the call alone.
pub fn call(source: &str) -> Result<Expression, CelError> {
    Expression::compile(source, &["req"])
}

/// A variable over the claims of a token.
pub fn variable(source: &str) -> Result<Expression, CelError> {
    Expression::compile(source, &["claims", "vars"])
}

/// A validation over the claims of a token.
pub fn validation(source: &str) -> Result<Expression, CelError> {
    variable(source)?.giving(Output::Bool)
}

fn expressions(spec: &ReceiverSpec, kind: ReceiverType) -> Result<(), String> {
    let filters = spec.resources.iter().map(|resource| &resource.filter).chain([&spec.resource_filter]);
    for source in filters.filter(|source| !source.is_empty()) {
        filter(source, Some(kind)).map_err(|error| format!("failed to parse expression {source}: {error}"))?;
    }
    for (index, provider) in spec.oidc_providers.iter().enumerate() {
        let failed = |what: &str, name: &str, source: &str, error: CelError| {
            let at = format!("oidcProviders[{index}] (issuerURL={:?})", provider.issuer_url);
            format!("{at}: invalid expression for {what} {name:?}: failed to parse expression {source}: {error}")
        };
        for one in provider.variables.iter().filter(|one| !one.expression.is_empty()) {
            variable(&one.expression).map_err(|error| failed("variable", &one.name, &one.expression, error))?;
        }
        for one in provider.validations.iter().filter(|one| !one.expression.is_empty()) {
            validation(&one.expression).map_err(|error| failed("validation", &one.message, &one.expression, error))?;
        }
    }
    Ok(())
}

fn providers(providers: &[OidcProvider]) -> Result<(), String> {
    if providers.is_empty() {
        return Err("spec.oidcProviders is required for type generic-oidc".into());
    }
    let mut seen = BTreeSet::new();
    for (index, provider) in providers.iter().enumerate() {
        let at = format!("oidcProviders[{index}]");
        let url = &provider.issuer_url;
        if !(url.starts_with("https://") || url.starts_with("http://")) {
            return Err(format!("{at}: issuerURL {url:?} is not an http or https URL"));
        }
        if !seen.insert(url) {
            return Err(format!("{at}: issuerURL {url:?} is named twice"));
        }
        if provider.validations.is_empty() {
            return Err(format!("{at}: without validations everybody with a token of {url} could call"));
        }
        let variables = provider.variables.iter().map(|variable| (&variable.name, &variable.expression));
        let validations = provider.validations.iter().map(|validation| (&validation.message, &validation.expression));
        if variables.chain(validations).any(|(name, expression)| name.is_empty() || expression.is_empty()) {
            return Err(format!(
                "{at}: each variable needs name and expression, each validation expression and message"
            ));
        }
    }
    Ok(())
}

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpAddr, u8);

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self(address, bits))
    }

    /// Whether the address lies in the network.
    pub fn holds(self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u32| {
            let rest = width - u32::from(self.1);
            own.checked_shr(rest).unwrap_or_default() == other.checked_shr(rest).unwrap_or_default()
        };
        match (self.0, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// The networks that may call; empty for all.
pub fn networks(receiver: &Receiver) -> Result<Vec<Network>, String> {
    let Some(list) = receiver.annotations().get(ALLOW_FROM) else { return Ok(Vec::new()) };
    let entries = list.split(',').map(str::trim).map(|entry| {
        Network::parse(entry).ok_or_else(|| format!("annotation {ALLOW_FROM}: {entry:?} is no address or network"))
    });
    entries.collect()
}
