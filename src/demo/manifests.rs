//! The demo's manifests: ordinary ones, as they would be written for Flux and Flagger.

use std::net::SocketAddr;

/// Where the parts are.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The registry.
    pub registry: SocketAddr,
    /// The repository's URL, without credentials.
    pub repository: String,
    /// User name and password of the Git server.
    pub login: (String, String),
    /// Port of the gateway.
    pub gateway: u16,
    /// Where alerts are posted.
    pub sink: SocketAddr,
}

/// What the platform team writes into the manifests folder.
pub fn platform(addresses: &Addresses) -> String {
    let (user, password) = &addresses.login;
    fill(
        include_str!("manifests/platform.yaml"),
        &[
            ("REGISTRY", addresses.registry.to_string()),
            ("REPOSITORY", addresses.repository.clone()),
            ("USER", user.clone()),
            ("PASSWORD", password.clone()),
            ("GATEWAY", addresses.gateway.to_string()),
            ("SINK", addresses.sink.to_string()),
        ],
    )
}

/// What the application team keeps in Git: a Deployment with a marked image, and its Canary.
pub fn application(registry: SocketAddr, version: &str) -> String {
    let values = [("REGISTRY", registry.to_string()), ("VERSION", version.to_owned())];
    fill(include_str!("manifests/application.yaml"), &values)
}

/// Puts values in the place of `${NAME}`.
fn fill(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}
