//! Bodies on their way through the gateway: streamed, never collected.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep},
};

use super::upstream::InFlight;
use crate::gateway::metrics::Cluster;

/// Frames that wait for a slow mirror before the copy is given up.
const MIRROR_FRAMES: usize = 64;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side failed.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// The mirror was too slow, or the request that is mirrored ended early.
    #[error("the copy of the request was given up")]
    MirrorGivenUp,
    /// `timeouts.request` ran out.
    #[error("the request took longer than its timeout")]
    Timeout,
}

/// The body of a request that was not sent, to be taken back for another attempt.
pub type Kept = Arc<Mutex<Option<Incoming>>>;

/// The body of a request to a backend.
#[derive(Debug)]
pub enum Outgoing {
    /// No body.
    Empty,
    /// The client's, as it arrives.
    Streamed {
        /// The client's body.
        body: Kept,
        /// Receivers of a copy.
        mirrors: Vec<mpsc::Sender<Option<Bytes>>>,
    },
    /// A copy of what another `Streamed` passes on. `None` is its proper end.
    Copy(mpsc::Receiver<Option<Bytes>>),
}

impl Outgoing {
    /// A copy of this body, fed while it is passed on.
    pub fn mirror(&mut self) -> Self {
        match self {
            Self::Streamed { mirrors, .. } => {
                let (sender, receiver) = mpsc::channel(MIRROR_FRAMES);
                mirrors.push(sender);
                Self::Copy(receiver)
            }
            _ => Self::Empty,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Copy(receiver) => Poll::Ready(match ready!(receiver.poll_recv(context)) {
                Some(Some(data)) => Some(Ok(Frame::data(data))),
                Some(None) => None,
                None => Some(Err(BodyError::MirrorGivenUp)),
            }),
            Self::Streamed { body, mirrors } => {
                let mut body = body.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(incoming) = body.as_mut() else { return Poll::Ready(None) };
                let frame = ready!(Pin::new(incoming).poll_frame(context));
                let copy = match &frame {
                    Some(Ok(frame)) => frame.data_ref().map(|data| Some(data.clone())),
                    None => Some(None),
                    Some(Err(_)) => {
                        mirrors.clear();
                        None
                    }
                };
                if let Some(copy) = copy {
                    // A mirror must not slow the request down: one that does not keep up is given up.
                    mirrors.retain(|mirror| mirror.try_send(copy.clone()).is_ok());
                }
                if frame.is_none() {
                    body.take();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            // With mirrors the end has to be seen, so that they get it too.
            Self::Streamed { mirrors, .. } if !mirrors.is_empty() => false,
            Self::Streamed { body, .. } => {
                body.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(Body::is_end_stream)
            }
            Self::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed { body, .. } => body
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
            Self::Copy(_) => SizeHint::default(),
        }
    }
}

/// Ends the exchange when dropped: counts its time and frees the pod.
#[derive(Debug)]
pub struct Exchange {
    cluster: Option<Arc<Cluster>>,
    begun: Instant,
    /// When it must be over.
    pub deadline: Option<Instant>,
    _in_flight: Option<InFlight>,
}

impl Exchange {
    /// An exchange with a backend that begins; `timeout` is for the whole of it.
    pub fn begin(cluster: Arc<Cluster>, in_flight: Option<InFlight>, timeout: Option<Duration>) -> Self {
        let begun = reconcile::clock::instant();
        Self { cluster: Some(cluster), begun, deadline: timeout.map(|timeout| begun + timeout), _in_flight: in_flight }
    }

    /// Ends it without a trace: nothing was sent.
    pub fn forget(mut self) {
        self.cluster = None;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.took(self.begun.elapsed());
        }
    }
}

/// The body of a response to a client.
#[derive(Debug)]
pub enum Reply {
    /// One of our own.
    Own(Option<Bytes>),
    /// That of a backend.
    Backend {
        /// As it arrives.
        body: Incoming,
        /// Ends with the body.
        exchange: Option<Exchange>,
        /// Wakes us at the deadline, if there is one.
        deadline: Option<Pin<Box<Sleep>>>,
    },
}

impl Reply {
    /// A backend's body, which belongs to an exchange.
    pub fn backend(body: Incoming, exchange: Exchange) -> Self {
        let deadline = exchange.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        let exchange = (!body.is_end_stream()).then_some(exchange);
        Self::Backend { body, exchange, deadline }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Backend { body, exchange, deadline } => {
                let polled = Pin::new(&mut *body).poll_frame(context);
                if polled.is_pending()
                    && let Some(deadline) = deadline
                    && deadline.as_mut().poll(context).is_ready()
                {
                    exchange.take();
                    return Poll::Ready(Some(Err(BodyError::Timeout)));
                }
                let frame = ready!(polled);
                if body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
                    exchange.take();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Backend { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Backend { body, .. } => body.size_hint(),
        }
    }
}
