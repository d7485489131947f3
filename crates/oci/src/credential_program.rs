//! Credential helpers: the programs `docker-credential-NAME` that `config.json` names.
//! Source: docker/docker-credential-helpers, README, "Development".

use std::process::Stdio;

use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{Credential, Error, Keychain, Name, Result, credentials::Source};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The credential for an image, asking a helper where the keychain says so. `None` means: ask the registry without one.
pub async fn resolve(keychain: &Keychain, name: &Name) -> Result<Option<Credential>> {
    match keychain.find(name) {
        Source::Anonymous => Ok(None),
        Source::Known(credential) => Ok(Some(credential)),
        Source::Helper { program, server } => ask(&program, &server).await,
    }
}

/// Runs `docker-credential-<program> get`. `None` if it knows nothing of the server.
pub async fn ask(program: &str, server: &str) -> Result<Option<Credential>> {
    let command = format!("docker-credential-{program}");
    let failed = |problem: &str| Error::Credentials(format!("{command} get, for {server}: {problem}"));
    if !program.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(failed("not a helper's name"));
    }
    let mut process = Command::new(&command);
    process.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = process.spawn().map_err(|error| failed(&error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input answers all the same.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        let says_unknown = String::from_utf8_lossy(&output.stdout).contains("credentials not found");
        return if says_unknown { Ok(None) } else { Err(failed(&output.status.to_string())) };
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("the answer is not readable JSON"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::IdentityToken { username: answer.username, token: answer.secret },
        _ => Credential::Basic { username: answer.username, password: answer.secret },
    }))
}
