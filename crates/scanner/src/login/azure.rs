//! Azure: a token of the workload's or the machine's identity is exchanged at the registry itself.

use oci::{Credential, name::Scheme};
use serde::Deserialize;
use serde_json::Value;

use super::{Login, Request, form, request, text};

/// The user of a refresh token.
const USER: &str = "00000000-0000-0000-0000-000000000000";
/// The registry's tokens last three hours; it does not say so.
const LASTS_SECONDS: u64 = 3 * 3600;

/// Which of Azure's clouds, as the environment file of a private one describes it; by default the public one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cloud {
    /// What the token is for.
    resource_manager_endpoint: String,
    /// Ending of the registries' hosts, beside those of the public clouds.
    #[serde(rename = "containerRegistryDNSSuffix")]
    registry_suffix: Option<String>,
}

impl Default for Cloud {
    fn default() -> Self {
        Self { resource_manager_endpoint: "https://management.azure.com/".into(), registry_suffix: None }
    }
}

impl Cloud {
    /// Reads the file that `AZURE_ENVIRONMENT_FILEPATH` names.
    pub fn parse(content: &str) -> Result<Self, String> {
        serde_json::from_str(content).map_err(|error| format!("the environment file is not readable: {error}"))
    }

    /// Whether the host is one of Azure's registries.
    pub fn is_registry(&self, host: &str) -> bool {
        let own = self.registry_suffix.as_deref().map(|suffix| format!(".{}", suffix.trim_start_matches('.')));
        [".azurecr.io", ".azurecr.cn", ".azurecr.de", ".azurecr.us"].iter().any(|suffix| host.ends_with(suffix))
            || own.is_some_and(|suffix| suffix.len() > 1 && host.ends_with(&suffix))
    }

    /// What the token is for, ending in a slash.
    pub fn resource(&self) -> String {
        format!("{}/", self.resource_manager_endpoint.trim_end_matches('/'))
    }
}

/// Exchanges the identity's token at the registry.
pub fn exchange(scheme: Scheme, host: &str, token: &str) -> Result<Request, String> {
    let fields = form(&[("grant_type", "access_token"), ("service", host), ("access_token", token)]);
    let builder = http::Request::post(format!("{}://{host}/oauth2/exchange", scheme.as_str()));
    request(builder.header("Content-Type", "application/x-www-form-urlencoded"), fields)
}

/// The login in the registry's answer.
pub fn login(answer: &Value) -> Result<Login, String> {
    let password = text(answer, "/refresh_token")?.to_owned();
    let credential = Credential::Basic { username: USER.into(), password };
    Ok(Login { credential, lasts_seconds: LASTS_SECONDS })
}
