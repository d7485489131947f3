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
    Ok(login_by((text(answer, "/access_token")?.to_owned(), seconds(answer, "/expires_in"))))
}

/// The login with an access token that lasts so many seconds.
pub fn login_by((password, lasts_seconds): (String, u64)) -> Login {
    Login { credential: Credential::Basic { username: "oauth2accesstoken".into(), password }, lasts_seconds }
}
