//! Google: access tokens of a service account whose key we have, or of the machine's own account.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Request, form, jwt, request, text};

/// Host of the machine's metadata.
pub(super) const METADATA: &str = "metadata.google.internal";
/// How long an assertion is good for, in seconds; the longest that Google takes.
const LASTS: i64 = 3600;

/// A service account's key, as Google hands it out.
#[derive(Clone, Deserialize)]
pub struct Account {
    client_email: String,
    private_key: String,
    #[serde(default = "usual_token_uri")]
    token_uri: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.client_email)
    }
}

impl Account {
    /// Reads the JSON file of a key. The error repeats nothing of it.
    pub fn parse(key: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(key).map_err(|_| "the service account's key is not readable".to_owned())
    }
}

fn usual_token_uri() -> String {
    "https://oauth2.googleapis.com/token".into()
}

/// Asks for a token in exchange for a signed assertion. Source: RFC 7523; Google's "OAuth 2.0 for server to server".
pub fn ask(account: &Account, scope: &str, now: Timestamp) -> Result<Request, String> {
    let issued = now.as_second();
    let claims = json!({
        "iss": account.client_email, "scope": scope, "aud": account.token_uri, "iat": issued, "exp": issued + LASTS,
    });
    let assertion = jwt(&claims, &account.private_key).ok_or("the service account's key cannot sign")?;
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let builder = http::Request::post(&account.token_uri).header("Content-Type", "application/x-www-form-urlencoded");
    request(builder, form(&[grant, ("assertion", &assertion)]))
}

/// Asks the metadata server, or the host given in its place, for the machine's token.
pub fn ask_machine(host: Option<&str>) -> Result<Request, String> {
    let host = host.unwrap_or(METADATA);
    let address = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    request(http::Request::get(address).header("Metadata-Flavor", "Google"), "")
}

/// The token in either's answer.
pub fn token(answer: &Value) -> Result<String, String> {
    text(answer, "/access_token").map(str::to_owned)
}
