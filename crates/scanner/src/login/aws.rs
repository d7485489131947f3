//! Amazon: the keys of an account, a role or a machine sign a request for the registry's password.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use oci::Credential;
use reconcile::identity::aws::{Keys, sign};
use serde_json::Value;

use super::{Login, Request, request, text};

/// ECR's passwords last twelve hours.
const LASTS_SECONDS: u64 = 12 * 3600;

/// A registry of Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Host of the API that hands out passwords.
    api: String,
    region: String,
    is_public: bool,
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
        let (service, target) = match self.is_public {
            true => ("ecr-public", "SpencerFrontendService.GetAuthorizationToken"),
            false => ("ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
        };
        let builder = http::Request::post(format!("{base}/"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target);
        let unsigned = |_| "the keys hold characters that cannot be sent".to_owned();
        sign(request(builder, "{}")?, keys, &self.region, service, now).map_err(unsigned)
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
