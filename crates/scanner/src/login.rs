//! Logins that cloud providers hand out for their registries: which host belongs to whom, what is asked, what is answered.
//!
//! Values in, requests out. Source: reference image-automation.md section 4.3; the providers' API references.

pub mod aws;
pub mod azure;
pub mod gcp;

use api::image::ImageProvider;
use bytes::Bytes;
use oci::Credential;
use serde_json::Value;

/// A request as a value.
pub type Request = http::Request<Bytes>;

/// A login, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What the registry is entered with.
    pub credential: Credential,
    /// Life in seconds from the answer on.
    pub lasts_seconds: u64,
}

/// A registry whose provider is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Amazon ECR.
    Aws(aws::Registry),
    /// Azure container registry.
    Azure,
    /// Google artifact or container registry.
    Gcp,
}

/// The registry as the provider knows it; none if the host is not the provider's, or the provider needs no login.
pub fn target(provider: ImageProvider, host: &str, cloud: &azure::Cloud) -> Option<Target> {
    match provider {
        ImageProvider::Generic => None,
        ImageProvider::Aws => aws::Registry::parse(host).map(Target::Aws),
        ImageProvider::Azure => cloud.is_registry(host).then_some(Target::Azure),
        ImageProvider::Gcp => gcp::is_registry(host).then_some(Target::Gcp),
    }
}

/// The text at a place in an answer.
fn text<'a>(answer: &'a Value, pointer: &str) -> Result<&'a str, String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.ok_or_else(|| format!("the answer has no {}", pointer.trim_start_matches('/').replace('/', ".")))
}

/// Seconds at a place in an answer, as a number or a text.
fn seconds(answer: &Value, pointer: &str) -> u64 {
    let found = answer.pointer(pointer);
    found.and_then(|found| found.as_u64().or_else(|| found.as_str()?.parse().ok())).unwrap_or(0)
}

/// A request made of parts that are known to fit.
fn request(builder: http::request::Builder, body: impl Into<Bytes>) -> Result<Request, String> {
    builder.body(body.into()).map_err(|error| format!("the request cannot be made: {error}"))
}

/// Fields as a web form.
fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests;
