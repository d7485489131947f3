//! `slipway loadtester`: Flagger's load tester API.

use anyhow::Context as _;
use clap::ValueEnum as _;
use reconcile::Shutdown;
use regex::Regex;

use super::Exit;
use crate::{
    args::notify::Loadtester,
    loadtester::{self, Kind, Options, Permitted},
};

/// Answers until a signal to end.
pub fn run(args: Loadtester) -> anyhow::Result<Exit> {
    let mut address = args.listen;
    if let Some(port) = args.port {
        address.set_port(port);
    }
    let namespaces = args.namespace_regexp.filter(|pattern| !pattern.is_empty());
    let namespaces =
        namespaces.map(|pattern| Regex::new(&pattern).with_context(|| format!("--namespace-regexp {pattern}")));
    // Whoever can call loopback can run commands here anyway.
    let all = Kind::value_variants();
    let kinds = match args.enable {
        kinds if !kinds.is_empty() => kinds.into_iter().collect(),
        _ if address.ip().is_loopback() => all.iter().copied().collect(),
        _ => Default::default(),
    };
    let permitted = Permitted { kinds, programs: args.allow_commands.into_iter().collect() };
    let options = Options { permitted, timeout: args.timeout.get(), namespaces: namespaces.transpose()? };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        eprintln!("load tester listens on {}", listener.local_addr()?);
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        tokio::spawn(async move {
            if crate::run::signalled().await.is_ok() {
                stop.cancel();
            }
        });
        loadtester::serve(listener, options, shutdown).await.context("the load tester ended")
    })?;
    Ok(Exit::Done)
}
