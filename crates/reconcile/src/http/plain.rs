//! Requests without TLS and without a proxy: what hooks, gates and metrics servers nearby mostly speak, at each tick of each
//! Canary. They go to `hyper` directly, which is what `reqwest` sends them with; it would read the address five times anew.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{Body, CONNECT_TIMEOUT, HttpError, IDLE, KEPT, causes, pieces};

/// A server that does not acknowledge what it is sent is given up after this time. `reqwest` has the same.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Between two signs of life on a connection that is silent. `reqwest` has the same.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Signs of life without an answer after which the connection is given up. `reqwest` has the same.
const KEEPALIVE_TRIES: u32 = 3;

/// The client. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    user_agent: Option<HeaderValue>,
}

impl Plain {
    pub(super) fn new(user_agent: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .build(connector);
        Self { client, user_agent: HeaderValue::from_str(user_agent).ok() }
    }

    pub(super) async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        let mut request = request.map(Full::new);
        self.introduce(request.headers_mut());
        let answer = self.client.request(request).await.map_err(|error| HttpError::Unreachable(causes(&error)))?;
        Ok(answer.map(|body| pieces(body, |error| HttpError::Unreachable(causes(error)))))
    }

    /// What every client says of itself, unless the request says something else.
    fn introduce(&self, headers: &mut HeaderMap) {
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if let Some(user_agent) = &self.user_agent {
            headers.entry(USER_AGENT).or_insert_with(|| user_agent.clone());
        }
    }
}
