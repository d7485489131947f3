//! Publishes to a server of NATS: one connection for each message, closed when the server has confirmed it.

use std::sync::Arc;

use reconcile::{Endpoint, HttpError, Site, effect};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    Error,
    provider::nats::{Line, Publication, Server},
};

/// Longest line that is read.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Publishes to the first server that answers.
pub(super) async fn publish(publication: &Publication, endpoint: &Endpoint) -> Result<(), Error> {
    let mut last = Error::Invalid("no server is named".into());
    for server in &publication.servers {
        let key = format!("PUB {} {}", server.host, publication.subject);
        let exchange = async {
            let limited = tokio::time::timeout(endpoint.timeout, exchange(server, publication, endpoint));
            limited.await.unwrap_or(Err(Error::Http(HttpError::Timeout(endpoint.timeout))))
        };
        match effect(Site::Http, &key, exchange).await {
            Err(error @ Error::Http(_)) => last = error,
            outcome => return outcome,
        }
    }
    Err(last)
}

async fn exchange(server: &Server, publication: &Publication, endpoint: &Endpoint) -> Result<(), Error> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(broken)?;
    let mut stream = BufReader::new(stream);
    let info = line(&mut stream).await?;
    let Line::Info { tls_required, max_payload } = info else {
        return Err(Error::Invalid("the server does not speak as NATS does".into()));
    };
    if max_payload.is_some_and(|most| (publication.payload.len() as u64) > most) {
        return Err(Error::Invalid("the event is larger than the server takes".into()));
    }
    if !(server.needs_tls || tls_required) {
        return converse(stream, server, publication).await;
    }
    let name = ServerName::try_from(server.host.clone()).map_err(|_| Error::Invalid("the host has no name".into()))?;
    let connector = TlsConnector::from(Arc::new(tls(endpoint)?));
    let secured = connector.connect(name, stream.into_inner()).await.map_err(broken)?;
    converse(BufReader::new(secured), server, publication).await
}

/// Says everything and waits until the server has taken it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: BufReader<S>,
    server: &Server,
    publication: &Publication,
) -> Result<(), Error> {
    stream.write_all(&server.words(publication)).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    loop {
        match line(&mut stream).await? {
            Line::Pong => return Ok(()),
            Line::Ping => stream.write_all(b"PONG\r\n").await.map_err(broken)?,
            Line::Refusal(problem) => return Err(Error::Invalid(format!("the server refuses: {problem}"))),
            Line::Info { .. } | Line::Other => {}
        }
    }
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Line, Error> {
    let mut text = Vec::new();
    stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut text).await.map_err(broken)?;
    match text.ends_with(b"\n") {
        true => Ok(Line::parse(&String::from_utf8_lossy(&text))),
        false => Err(Error::Http(HttpError::Unreachable("the connection broke".into()))),
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::Http(HttpError::Unreachable(error.to_string()))
}

/// TLS with the system's authorities and the Provider's own, and its client certificate if it has one.
fn tls(endpoint: &Endpoint) -> Result<ClientConfig, Error> {
    let made = trust::client(endpoint.ca.as_deref(), endpoint.identity.as_deref());
    made.map_err(|problem| Error::Invalid(format!("the certificate's Secret: {problem}")))
}
