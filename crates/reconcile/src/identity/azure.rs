//! Azure: a token of the workload's identity, else of the machine's.

use serde_json::Value;

use super::{Request, form, request, text};

/// Where the machine's metadata are.
const METADATA: &str = "http://169.254.169.254";
/// Where workloads prove who they are, if the environment names no other place.
pub const AUTHORITY: &str = "https://login.microsoftonline.com/";

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

/// Asks for a token of the workload's identity. `resource` is what the token is for, with a slash at its end if it is a URL.
pub fn ask_workload(resource: &str, workload: &Workload) -> Result<Request, String> {
    let address = format!("{}/{}/oauth2/v2.0/token", workload.authority.trim_end_matches('/'), workload.tenant);
    let scope = match resource.ends_with('/') {
        true => format!("{resource}.default"),
        false => format!("{resource}/.default"),
    };
    let body = form(&[
        ("client_id", &workload.client),
        ("grant_type", "client_credentials"),
        ("scope", &scope),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &workload.assertion),
    ]);
    request(http::Request::post(address).header("Content-Type", "application/x-www-form-urlencoded"), body)
}

/// Asks the metadata server, or the one given in its place, for a token of the machine's identity, or of the client named.
pub fn ask_machine(resource: &str, server: Option<&str>, client: Option<&str>) -> Result<Request, String> {
    let mut fields = vec![("api-version", "2018-02-01"), ("resource", resource)];
    fields.extend(client.map(|client| ("client_id", client)));
    let server = server.unwrap_or(METADATA).trim_end_matches('/');
    let address = format!("{server}/metadata/identity/oauth2/token?{}", form(&fields));
    request(http::Request::get(address).header("Metadata", "true"), "")
}

/// The token in either's answer.
pub fn token(answer: &Value) -> Result<String, String> {
    text(answer, "/access_token").map(str::to_owned)
}
