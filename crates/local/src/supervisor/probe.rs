//! Asks a container whether it is well.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use reconcile::clock;
use tokio::net::TcpStream;

use crate::container::{Check, Probing};

/// Wait between the first checks, so that a pod is used as soon as it is ready; doubles up to the period.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// Longest wait between checks before the first success.
const EAGER_WAIT: Duration = Duration::from_secs(1);

/// What a probe has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `successThreshold` successes in a row.
    Well,
    /// `failureThreshold` failures in a row.
    Unwell,
}

/// Asks again and again, and tells each verdict that differs from the one before. Never ends by itself.
///
/// Differs: until the first success a readiness probe asks more often than its period, which only makes it ready sooner.
pub async fn watch(probing: &Probing, address: Ipv4Addr, eager: Eager, mut tell: impl FnMut(Verdict)) {
    clock::sleep(probing.initial_delay).await;
    let (mut successes, mut failures, mut last) = (0, 0, None);
    let mut eager_wait = match eager {
        Eager::Yes => Some(FIRST_WAIT),
        Eager::No => None,
    };
    loop {
        let well = matches!(tokio::time::timeout(probing.timeout, ask(&probing.check, address)).await, Ok(true));
        (successes, failures) = if well { (successes + 1, 0) } else { (0, failures + 1) };
        let verdict = if successes >= probing.success_threshold {
            Some(Verdict::Well)
        } else if failures >= probing.failure_threshold && eager_wait.is_none() {
            Some(Verdict::Unwell)
        } else {
            None
        };
        if verdict.is_some() && verdict != last {
            verdict.into_iter().for_each(&mut tell);
            last = verdict;
        }
        eager_wait = eager_wait.filter(|_| !well).map(|wait| (wait * 2).min(EAGER_WAIT));
        clock::sleep(eager_wait.unwrap_or(probing.period).min(probing.period)).await;
    }
}

/// Whether a probe asks more often than its period until the first success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eager {
    /// It does.
    Yes,
    /// Its failures count from the beginning.
    No,
}

/// One check.
async fn ask(check: &Check, address: Ipv4Addr) -> bool {
    match check {
        Check::Tcp { port } => TcpStream::connect((address, *port)).await.is_ok(),
        Check::Http { port, path, headers } => {
            get(address, *port, path, headers).await.is_some_and(|status| (200..400).contains(&status.as_u16()))
        }
    }
}

async fn get(address: Ipv4Addr, port: u16, path: &str, headers: &[(String, String)]) -> Option<StatusCode> {
    let stream = TcpStream::connect((address, port)).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let mut request =
        Request::get(path).header(header::USER_AGENT, "kube-probe/slipway").header(header::CONNECTION, "close");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, format!("{address}:{port}"));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::<Bytes>::default()).ok()?;
    let exchange = async move {
        let status = sender.send_request(request).await.ok().map(|response| response.status());
        // Without its sender the connection ends.
        drop(sender);
        status
    };
    // The connection may end in the same moment in which the answer comes.
    let (status, _) = futures::join!(exchange, connection);
    status
}
