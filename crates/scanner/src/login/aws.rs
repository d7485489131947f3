//! Amazon: the keys of an account, a role or a machine sign a request for the registry's password.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use oci::Credential;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Login, Request, form, request, text};

/// ECR's passwords last twelve hours.
const LASTS_SECONDS: u64 = 12 * 3600;
/// Where the machine's metadata are.
const METADATA: &str = "http://169.254.169.254";
/// Where the agent of a container is.
const AGENT: &str = "http://169.254.170.2";

/// A registry of Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Host of the API that hands out passwords.
    api: String,
    region: String,
    is_public: bool,
}

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

impl Registry {
    /// `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]` and its kin, or `public.ecr.aws`.
    pub fn parse(host: &str) -> Option<Self> {
        if host == "public.ecr.aws" {
            let api = "api.ecr-public.us-east-1.amazonaws.com".to_owned();
            return Some(Self { api, region: "us-east-1".into(), is_public: true });
        }
        let (account, rest) = host.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        // The dual-stack form writes `dkr-ecr` and has a domain of its own.
        let (kind, rest) = rest.strip_prefix("dkr-").or_else(|| rest.strip_prefix("dkr."))?.split_once('.')?;
        let (region, domain) = rest.split_once('.')?;
        let is_domain = matches!(
            domain,
            "amazonaws.com"
                | "amazonaws.com.cn"
                | "amazonaws.eu"
                | "on.aws"
                | "c2s.ic.gov"
                | "sc2s.sgov.gov"
                | "cloud.adc-e.uk"
                | "csp.hci.ic.gov"
        );
        if !is_account || !is_domain || !matches!(kind, "ecr" | "ecr-fips") || region.is_empty() {
            return None;
        }
        let domain = match domain {
            "on.aws" => "amazonaws.com",
            domain => domain,
        };
        let service = if kind == "ecr" { "api.ecr" } else { "ecr-fips" };
        Some(Self { api: format!("{service}.{region}.{domain}"), region: region.to_owned(), is_public: false })
    }

    /// Region of the registry's API.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Name of the registry's API in variables that name other endpoints.
    pub const fn service(&self) -> &'static str {
        if self.is_public { "ECR_PUBLIC" } else { "ECR" }
    }

    /// Asks for the password, at another endpoint than Amazon's own if one is given.
    pub fn ask(&self, keys: &Keys, endpoint: Option<&str>, now: Timestamp) -> Result<Request, String> {
        let base = endpoint.map_or_else(|| format!("https://{}", self.api), |url| url.trim_end_matches('/').to_owned());
        let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
        let (service, target) = match self.is_public {
            true => ("ecr-public", "SpencerFrontendService.GetAuthorizationToken"),
            false => ("ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
        };
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers =
            vec![("content-type", "application/x-amz-json-1.1"), ("host", host), ("x-amz-date", date.as_str())];
        headers.extend(keys.session.as_deref().map(|session| ("x-amz-security-token", session)));
        headers.push(("x-amz-target", target));
        let call = Call { method: "POST", query: "", headers: &headers, body: "{}" };
        let authorization = call.authorization(keys, &self.region, service);
        let builder = headers
            .iter()
            .filter(|(name, _)| *name != "host")
            .fold(http::Request::post(format!("{base}/")), |builder, (name, value)| builder.header(*name, *value));
        request(builder.header("authorization", authorization), "{}")
    }

    /// The login in the API's answer.
    pub fn login(&self, answer: &Value) -> Result<Login, String> {
        let place = if self.is_public { "/authorizationData" } else { "/authorizationData/0" };
        let token = text(answer, &format!("{place}/authorizationToken"))?;
        let decoded = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (username, password) = decoded.split_once(':').ok_or("the token is not a user and a password")?;
        let credential = Credential::Basic { username: username.into(), password: password.into() };
        Ok(Login { credential, lasts_seconds: LASTS_SECONDS })
    }
}

/// Asks for keys of a role that the workload's token stands for.
pub fn ask_role(region: &str, role: &str, token: &str, endpoint: Option<&str>) -> Result<Request, String> {
    let body = form(&[
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "slipway"),
        ("WebIdentityToken", token),
    ]);
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let regional = || format!("https://sts.{region}.{domain}");
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
    let builder = http::Request::get(path);
    request(builder.header("X-aws-ec2-metadata-token", token), "")
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

/// What is signed of a request to the root of a host. Header names are in lower case and sorted.
struct Call<'a> {
    method: &'a str,
    query: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
}

impl Call<'_> {
    /// The `Authorization` header. Source: AWS Signature Version 4.
    fn authorization(&self, keys: &Keys, region: &str, service: &str) -> String {
        let date = self.headers.iter().find(|(name, _)| *name == "x-amz-date").map_or("", |(_, date)| date);
        let day = date.get(..8).unwrap_or_default();
        let names: Vec<_> = self.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let Self { method, query, body, .. } = self;
        let canonical = format!("{method}\n/\n{query}\n{headers}\n{names}\n{}", hex::encode(Sha256::digest(body)));
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let secret = format!("AWS4{}", keys.secret).into_bytes();
        let key = [day, region, service, "aws4_request"].iter().fold(secret, |key, part| hmac(&key, part).to_vec());
        let signature = hex::encode(hmac(&key, &text));
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.id)
    }
}

/// HMAC-SHA256. Source: RFC 2104.
fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut block = [0_u8; 64];
    let hashed = Sha256::digest(key);
    let short = if key.len() > block.len() { hashed.as_slice() } else { key };
    block[..short.len()].copy_from_slice(short);
    let pad = |value: u8| block.map(|byte| byte ^ value);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_amazons_own_example() {
        let keys =
            Keys { id: "AKIDEXAMPLE".into(), secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(), session: None };
        let headers = [
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let call = Call { method: "GET", query: "Action=ListUsers&Version=2010-05-08", headers: &headers, body: "" };
        let expected = "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let authorization = call.authorization(&keys, "us-east-1", "iam");
        assert!(authorization.ends_with(expected), "{authorization}");
    }
}
