//! The public keys of token issuers: fetched when first needed, kept for a while, never fetched at a caller's pace.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use reconcile::{Endpoint, Http, clock};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use crate::receiver::{Issuer, jwt::KeySet};

/// How long keys are believed.
const KEPT: Duration = Duration::from_secs(3600);
/// Shortest time between two fetches for one issuer, whatever tokens name.
const PAUSE: Duration = Duration::from_secs(30);
/// Limits of one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const LIMIT_BYTES: usize = 256 << 10;

/// The keys of all issuers that were asked for.
pub(super) struct Identities {
    http: Http,
    google: String,
    known: Mutex<HashMap<Issuer, Known>>,
}

struct Known {
    at: Instant,
    keys: Result<Arc<KeySet>, String>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Identities {
    pub(super) fn new(http: Http, google: String) -> Self {
        Self { http, google, known: Mutex::default() }
    }

    /// The issuer's keys; fetched anew where the named one is not among the kept ones.
    pub(super) async fn keys(&self, issuer: &Issuer, key: Option<&str>) -> Result<Arc<KeySet>, String> {
        // Held during the fetch: a flood of calls makes one.
        let mut known = self.known.lock().await;
        if let Some(Known { at, keys }) = known.get(issuer) {
            let age = clock::instant().duration_since(*at);
            let serves = keys.as_ref().is_ok_and(|keys| age < KEPT && keys.has(key));
            if serves || age < PAUSE {
                return keys.clone();
            }
        }
        let keys = self.fetch(issuer).await.map(Arc::new);
        known.insert(issuer.clone(), Known { at: clock::instant(), keys: keys.clone() });
        keys
    }

    async fn fetch(&self, issuer: &Issuer) -> Result<KeySet, String> {
        let address = match issuer {
            Issuer::Google => self.google.clone(),
            Issuer::Discovered(url) => {
                let document =
                    self.get(&format!("{}/.well-known/openid-configuration", url.trim_end_matches('/'))).await?;
                let found: Discovery =
                    serde_json::from_slice(&document).map_err(|_| "the issuer's discovery document cannot be read")?;
                if &found.issuer != url {
                    return Err("the issuer's discovery document is of another issuer".into());
                }
                found.jwks_uri
            }
        };
        KeySet::parse(&self.get(&address).await?).map_err(|error| error.to_string())
    }

    async fn get(&self, address: &str) -> Result<Bytes, String> {
        let request =
            http::Request::get(address).body(Bytes::new()).map_err(|_| "the issuer's address is not a URL")?;
        let endpoint = Endpoint { timeout: TIMEOUT, limit: LIMIT_BYTES, ..Endpoint::default() };
        let answer = self.http.send(request, &endpoint).await.map_err(|error| format!("the issuer's keys: {error}"))?;
        match answer.status() {
            http::StatusCode::OK => Ok(answer.into_body()),
            status => Err(format!("the issuer answered {status}")),
        }
    }
}
