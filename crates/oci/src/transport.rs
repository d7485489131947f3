//! What the client sends requests through. The shell above owns sockets, TLS, proxies, timeouts and time.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};

/// The body of an answer, as it arrives.
pub type Body = BoxStream<'static, Result<Bytes, TransportError>>;

type Send = dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>>
    + std::marker::Send
    + Sync;
type Sleep = dyn Fn(Duration) -> BoxFuture<'static, ()> + std::marker::Send + Sync;

/// A way to send one request and a way to wait. Sending must not follow redirects, retry, or add headers of its own.
#[derive(Clone)]
pub struct Transport {
    send: Arc<Send>,
    sleep: Arc<Sleep>,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    message: String,
    transient: bool,
}

impl TransportError {
    /// A failure that may be gone a moment later: a reset connection, a time limit.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true }
    }

    /// A failure that a repetition cannot mend: a bad certificate, an unknown host.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

impl Transport {
    /// A transport made of the two effects.
    pub fn new<S, W>(send: S, sleep: W) -> Self
    where
        S: Fn(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>>,
        S: std::marker::Send + Sync + 'static,
        W: Fn(Duration) -> BoxFuture<'static, ()> + std::marker::Send + Sync + 'static,
    {
        Self { send: Arc::new(send), sleep: Arc::new(sleep) }
    }

    /// A transport over a client whose answers stream. `is_transient` tells which of its errors may be gone a moment later.
    pub fn over<S, A, B, E, W, F>(send: S, is_transient: fn(&E) -> bool, sleep: W) -> Self
    where
        S: Fn(http::Request<Bytes>) -> A + std::marker::Send + Sync + 'static,
        A: Future<Output = Result<http::Response<B>, E>> + std::marker::Send + 'static,
        B: Stream<Item = Result<Bytes, E>> + std::marker::Send + 'static,
        E: fmt::Display + 'static,
        W: Fn(Duration) -> F + std::marker::Send + Sync + 'static,
        F: Future<Output = ()> + std::marker::Send + 'static,
    {
        let failure = move |error: E| TransportError { message: error.to_string(), transient: is_transient(&error) };
        let send = move |request| {
            let answer = send(request);
            async move {
                let answer = answer.await.map_err(failure)?;
                Ok(answer.map(|body| body.map(move |piece| piece.map_err(failure)).boxed()))
            }
            .boxed()
        };
        Self::new(send, move |time| sleep(time).boxed())
    }

    pub(crate) async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        (self.send)(request).await
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        (self.sleep)(duration).await;
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// A body whose bytes are all here.
pub fn full(bytes: Bytes) -> Body {
    stream::iter([Ok(bytes)]).boxed()
}

/// The whole body. It errs once more than `limit_bytes` have come.
pub async fn collect(mut body: Body, limit_bytes: usize) -> Result<Bytes, TransportError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if whole.len() + chunk.len() > limit_bytes {
            return Err(TransportError::permanent(format!("the answer is larger than {limit_bytes} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
