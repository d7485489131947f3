//! The process of a program that serves the gateway in our place, and its folder.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use reconcile::clock;
use rustix::process::Signal;
use tokio::process::Child;

use crate::{
    gateway::{
        outside::Addresses,
        proxy::server::Outcomes,
        table::{Socket, Table},
    },
    supervisor::{Supervisor, process},
};

/// Looks at something that takes a moment, before it is given up.
const LOOKS: u32 = 400;
/// Wait between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// A program on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file.
    pub file: PathBuf,
    /// Where its own pages and metrics are served.
    pub admin: SocketAddr,
    /// Where its configuration is.
    pub folder: PathBuf,
    /// Address that the gateway listens on.
    pub address: IpAddr,
    /// Starts it.
    pub supervisor: Supervisor,
}

/// A started program.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// The process, as long as it runs.
    pub fn id(&mut self) -> Option<u32> {
        match self.child.try_wait() {
            Ok(None) => self.child.id(),
            _ => None,
        }
    }

    /// Lets it end by itself, as it was told to.
    pub fn leave(mut self) {
        tokio::spawn(async move { self.child.wait().await });
    }

    /// Asks it to end by `signal`, and ends it when it has not after `limit`.
    pub async fn end(mut self, signal: Signal, limit: Duration) {
        if let Err(error) = process::end(&mut self.child, signal, limit).await {
            tracing::warn!(%error, "the gateway's program cannot be ended");
        }
    }
}

impl Program {
    /// Starts it.
    pub async fn start(&self, name: &str, arguments: Vec<String>) -> Result<Running, String> {
        let started = self.supervisor.start_program(name, &self.file, arguments).await;
        started.map(|child| Running { child }).map_err(|error| format!("cannot start {}: {error}", self.file.display()))
    }

    /// Where the sockets of a table are opened; those of any free port keep the one they have.
    pub fn addresses(&self, table: &Table, before: &Addresses) -> Result<Addresses, String> {
        let of = |socket: &Socket| -> io::Result<SocketAddr> {
            match (socket, before.get(socket)) {
                (Socket::Port(port), _) => Ok(SocketAddr::new(self.address, *port)),
                (Socket::Free { .. }, Some(known)) => Ok(*known),
                (Socket::Free { .. }, None) => TcpListener::bind((self.address, 0))?.local_addr(),
            }
        };
        let found = table.sockets.keys().map(|socket| Ok((socket.clone(), of(socket)?)));
        found.collect::<io::Result<_>>().map_err(|error| format!("no free port: {error}"))
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        replace(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Every socket is open where it was asked for.
pub fn open(addresses: &Addresses) -> Outcomes {
    addresses.iter().map(|(socket, address)| (socket.clone(), Ok(*address))).collect()
}

/// Looks until it holds; errs when it never does. An error of a look counts as not yet.
pub async fn eventually<F>(what: &str, holds: impl Fn() -> F) -> Result<(), String>
where
    F: Future<Output = Result<bool, String>>,
{
    let mut last = String::new();
    for _ in 0..LOOKS {
        match holds().await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(problem) => last = format!(": {problem}"),
        }
        clock::sleep(PAUSE).await;
    }
    Err(format!("{what} takes too long{last}"))
}
