//! Keeps a HAProxy process in line with the routing table: weights and endpoints over its socket, rules by a new process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::Mutex,
};

use super::program::{self, Program, Running, eventually};
use crate::gateway::{
    haproxy::{Place, Wanted, busy, commands, config, places, wanted},
    outside::{Addresses, Endpoints},
    proxy::server::Outcomes,
    table::Table,
};

/// Commands in one line: HAProxy reads lines of up to 16 KiB.
const AT_ONCE: usize = 48;
/// Ends HAProxy once its connections have. Source: HAProxy 2.6 Management Guide, section 4.
const SOFT_STOP: Signal = Signal::USR1;

/// A HAProxy that serves the gateway. Clones are the same one.
#[derive(Clone, Debug)]
pub struct HaProxy {
    program: Arc<Program>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    /// What the process was started with, without endpoints.
    structure: String,
    addresses: Addresses,
}

impl HaProxy {
    /// Nothing runs before there is something to serve.
    pub fn new(program: Program) -> Self {
        Self { program: Arc::new(program), state: Arc::default() }
    }

    /// Serves this table from now on. When it returns, HAProxy has said so itself, and no server that left is at work.
    pub async fn serve(&self, table: &Table, endpoints: &Endpoints) -> Result<Outcomes, String> {
        let mut state = self.state.lock().await;
        if state.running.is_none() && table.sockets.is_empty() {
            return Ok(Outcomes::new());
        }
        state.addresses = self.program.addresses(table, &state.addresses)?;
        let config =
            |endpoints: &Endpoints| config(table, endpoints, &state.addresses, self.program.admin, &self.socket());
        let (structure, full) = (config(&Endpoints::new()), config(endpoints));
        let is_alive = state.running.as_mut().is_some_and(|running| running.id().is_some());
        if !is_alive || structure != state.structure {
            self.program.write("haproxy.cfg", &full)?;
            self.start(&mut state).await?;
            state.structure = structure;
        }
        let places = self.settle(&wanted(table, endpoints)).await?;
        eventually("the end of requests to pods that left", || async {
            Ok(busy(&places, &self.ask("show servers conn").await?) == 0)
        })
        .await?;
        Ok(program::open(&state.addresses))
    }

    /// Lets it answer what is under way, at most that long, and ends it.
    pub async fn shut_down(&self, limit: Duration) {
        if let Some(running) = self.state.lock().await.running.take() {
            running.end(SOFT_STOP, limit).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.program.folder.join("haproxy.sock")
    }

    /// Starts a process with the configuration as it is. One that runs hands over its sockets and finishes its requests.
    async fn start(&self, state: &mut State) -> Result<(), String> {
        let config = self.program.folder.join("haproxy.cfg").display().to_string();
        let mut arguments = vec!["-db".to_owned(), "-f".to_owned(), config];
        let mut old = state.running.take();
        if let Some(id) = old.as_mut().and_then(Running::id) {
            let socket = self.socket().display().to_string();
            arguments.extend(["-x".into(), socket, "-sf".into(), id.to_string()]);
        }
        let mut new = self.program.start("haproxy", arguments).await?;
        let id = new.id().ok_or("HAProxy ended at once; see its log")?;
        let pid = format!("Pid: {id}\n");
        eventually("the start of HAProxy", || async { Ok(self.ask("show info").await?.contains(&pid)) }).await?;
        if let Some(old) = old {
            old.leave();
        }
        state.running = Some(new);
        Ok(())
    }

    /// Gives the commands that are needed, and reads back what came of them.
    async fn settle(&self, wanted: &Wanted) -> Result<Vec<Place>, String> {
        let before = places(&self.ask("show servers state").await?);
        let needed = commands(wanted, &before);
        if needed.is_empty() {
            return Ok(before);
        }
        for some in needed.chunks(AT_ONCE) {
            self.ask(&some.join("; ")).await?;
        }
        let after = places(&self.ask("show servers state").await?);
        match commands(wanted, &after).first() {
            None => Ok(after),
            Some(left) => Err(format!("HAProxy did not do as it was told: {left}")),
        }
    }

    /// One line to the Runtime API, and the whole answer.
    async fn ask(&self, line: &str) -> Result<String, String> {
        let ask = async {
            let mut stream = UnixStream::connect(self.socket()).await?;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        ask.await.map_err(|error| format!("HAProxy's socket: {error}"))
    }
}
