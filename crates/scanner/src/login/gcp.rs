//! Google: an access token of the machine's own account is the password.

use oci::Credential;
use serde_json::Value;

use super::{Login, seconds, text};

/// Whether the host is one of Google's registries.
pub fn is_registry(host: &str) -> bool {
    host == "gcr.io"
        || host.ends_with(".gcr.io")
        || host.ends_with("-docker.pkg.dev")
        || host.ends_with("-docker.s3nsregistry.fr")
}

/// The login in the metadata server's answer.
pub fn login(answer: &Value) -> Result<Login, String> {
    let password = text(answer, "/access_token")?.to_owned();
    let credential = Credential::Basic { username: "oauth2accesstoken".into(), password };
    Ok(Login { credential, lasts_seconds: seconds(answer, "/expires_in") })
}
