//! Amazon: where its keys come from, and how they sign a request.

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Request, form, request, text};

/// Where the machine's metadata are.
const METADATA: &str = "http://169.254.169.254";
/// Where the agent of a container is.
const AGENT: &str = "http://169.254.170.2";

/// Keys that sign requests. The debug form hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key's name.
    pub id: String,
    /// The key.
    pub secret: String,
    /// Goes with keys that expire.
    pub session: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

/// Domain of the services in a region.
pub fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// The request with a signature over its path, query, body, host, content type and Amazon's own headers.
///
/// Source: AWS Signature Version 4. Fails when a key holds characters that no header can hold.
pub fn sign(
    request: http::Request<Bytes>,
    keys: &Keys,
    region: &str,
    service: &str,
    now: Timestamp,
) -> Result<http::Request<Bytes>, http::Error> {
    let (mut parts, body) = request.into_parts();
    let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    parts.headers.insert("x-amz-date", date.parse()?);
    if let Some(session) = &keys.session {
        parts.headers.insert("x-amz-security-token", session.parse()?);
    }
    let mut headers: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .filter(|(name, _)| *name == "content-type" || name.as_str().starts_with("x-amz-"))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?.trim())))
        .collect();
    let host = parts.uri.authority().map_or("", http::uri::Authority::as_str);
    headers.push(("host", host));
    headers.sort_unstable();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let mut query: Vec<_> = parts.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let (method, path, query) = (&parts.method, parts.uri.path(), query.join("&"));
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(&body)));
    let signature = signature(keys, region, service, &date, &canonical);
    let credential = format!("{}/{}", keys.id, scope(&date, region, service));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
    parts.headers.insert(http::header::AUTHORIZATION, authorization.parse()?);
    Ok(http::Request::from_parts(parts, body))
}

/// The signature of a request in its canonical form, at a time written `20261121T120000`, with a `Z` or without.
pub(super) fn signature(keys: &Keys, region: &str, service: &str, time: &str, canonical: &str) -> String {
    let scope = scope(time, region, service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let secret = format!("AWS4{}", keys.secret).into_bytes();
    let key = scope.split('/').fold(secret, |key, part| mac(&key, part));
    hex::encode(mac(&key, &text))
}

/// What a signature is good for.
fn scope(time: &str, region: &str, service: &str) -> String {
    format!("{}/{region}/{service}/aws4_request", time.get(..8).unwrap_or_default())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("because HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Asks for keys of a role that the workload's token stands for, at another endpoint than Amazon's own if one is given.
pub fn ask_role(region: &str, role: &str, token: &str, endpoint: Option<&str>) -> Result<Request, String> {
    let body = form(&[
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "slipway"),
        ("WebIdentityToken", token),
    ]);
    let regional = || format!("https://sts.{region}.{}", domain(region));
    let base = endpoint.map_or_else(regional, |url| url.trim_end_matches('/').to_owned());
    let builder = http::Request::post(format!("{base}/"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Accept", "application/json");
    request(builder, body)
}

/// The keys in the answer about a role.
pub fn role_keys(answer: &Value) -> Result<Keys, String> {
    let place = "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials";
    keys(answer, place, "/SessionToken")
}

/// Address of the agent of a container, of which the environment has the path only.
pub fn agent(path: &str) -> String {
    format!("{AGENT}{path}")
}

/// Asks the agent beside the pod for keys.
pub fn ask_agent(address: &str, token: Option<&str>) -> Result<Request, String> {
    let builder = http::Request::get(address);
    let builder = token.into_iter().fold(builder, |builder, token| builder.header("Authorization", token));
    request(builder, "")
}

/// The keys in the agent's or the metadata server's answer.
pub fn machine_keys(answer: &Value) -> Result<Keys, String> {
    keys(answer, "", "/Token")
}

/// Asks the metadata server for the token that its other answers need.
pub fn ask_metadata_token(server: Option<&str>) -> Result<Request, String> {
    let builder = http::Request::put(format!("{}/latest/api/token", metadata(server)));
    request(builder.header("X-aws-ec2-metadata-token-ttl-seconds", "300"), "")
}

/// Asks the metadata server for the name of the machine's role, or for the keys of one.
pub fn ask_metadata(server: Option<&str>, token: &str, role: &str) -> Result<Request, String> {
    let path = format!("{}/latest/meta-data/iam/security-credentials/{role}", metadata(server));
    request(http::Request::get(path).header("X-aws-ec2-metadata-token", token), "")
}

/// Address of the metadata server.
fn metadata(server: Option<&str>) -> &str {
    server.unwrap_or(METADATA).trim_end_matches('/')
}

/// Keys at a place in an answer.
fn keys(answer: &Value, place: &str, session: &str) -> Result<Keys, String> {
    let part = |name: &str| text(answer, &format!("{place}{name}")).map(str::to_owned);
    Ok(Keys { id: part("/AccessKeyId")?, secret: part("/SecretAccessKey")?, session: Some(part(session)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_amazons_own_example() {
        let keys =
            Keys { id: "AKIDEXAMPLE".into(), secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(), session: None };
        let request = http::Request::get("https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers")
            .header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(Bytes::new())
            .expect("a request");
        let now = "2015-08-30T12:36:00Z".parse().expect("a time");
        let signed = sign(request, &keys, "us-east-1", "iam", now).expect("a signature");
        assert_eq!(signed.headers()["x-amz-date"], "20150830T123600Z");
        let authorization = signed.headers()["authorization"].to_str().expect("text");
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
