//! Azure: a token of the workload's or the machine's identity is exchanged at the registry itself.

use oci::Credential;
use serde_json::Value;

use super::{Login, Request, form, request, text};

/// What the token is for.
const RESOURCE: &str = "https://management.azure.com/";
/// The user of a refresh token.
const USER: &str = "00000000-0000-0000-0000-000000000000";
/// The registry's tokens last three hours; it does not say so.
const LASTS_SECONDS: u64 = 3 * 3600;

/// Who the workload is, as Azure's webhook writes it into the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `AZURE_AUTHORITY_HOST`.
    pub authority: String,
    /// `AZURE_TENANT_ID`.
    pub tenant: String,
    /// `AZURE_CLIENT_ID`.
    pub client: String,
    /// Content of `AZURE_FEDERATED_TOKEN_FILE`.
    pub assertion: String,
}

/// Whether the host is one of Azure's registries.
pub fn is_registry(host: &str) -> bool {
    [".azurecr.io", ".azurecr.cn", ".azurecr.de", ".azurecr.us"].iter().any(|suffix| host.ends_with(suffix))
}

/// Asks for a token of the workload's identity.
pub fn ask_workload(workload: &Workload) -> Result<Request, String> {
    let address = format!("{}/{}/oauth2/v2.0/token", workload.authority.trim_end_matches('/'), workload.tenant);
    let body = form(&[
        ("client_id", &workload.client),
        ("grant_type", "client_credentials"),
        ("scope", &format!("{RESOURCE}.default")),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &workload.assertion),
    ]);
    post(&address, body)
}

/// Asks the metadata server for a token of the machine's identity, or of the client named.
pub fn ask_machine(client: Option<&str>) -> Result<Request, String> {
    let mut fields = vec![("api-version", "2018-02-01"), ("resource", RESOURCE)];
    fields.extend(client.map(|client| ("client_id", client)));
    let address = format!("http://169.254.169.254/metadata/identity/oauth2/token?{}", form(&fields));
    request(http::Request::get(address).header("Metadata", "true"), "")
}

/// Exchanges the token in the answer at the registry.
pub fn exchange(host: &str, answer: &Value) -> Result<Request, String> {
    let fields = [("grant_type", "access_token"), ("service", host), ("access_token", text(answer, "/access_token")?)];
    post(&format!("https://{host}/oauth2/exchange"), form(&fields))
}

/// The login in the registry's answer.
pub fn login(answer: &Value) -> Result<Login, String> {
    let password = text(answer, "/refresh_token")?.to_owned();
    let credential = Credential::Basic { username: USER.into(), password };
    Ok(Login { credential, lasts_seconds: LASTS_SECONDS })
}

/// A form sent to an address.
fn post(address: &str, body: String) -> Result<Request, String> {
    request(http::Request::post(address).header("Content-Type", "application/x-www-form-urlencoded"), body)
}
