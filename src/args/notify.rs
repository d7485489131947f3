//! Verbs about messages and webhooks, as typed: `notify`, `receive`, `loadtester`.

use std::net::SocketAddr;

use super::Output;
use crate::loadtester::Kind;

/// `slipway notify -f MANIFESTS --event EVENT.json`
#[derive(Debug, clap::Args)]
pub struct Notify {
    /// Manifests with Alerts, Providers and their Secrets, and the object for `matchLabels`; `-` reads standard input.
    #[arg(short, long = "file", required = true)]
    pub files: Vec<String>,
    /// The event, in the form in which Flux's controllers post it.
    #[arg(short, long, value_name = "FILE")]
    pub event: String,
    /// How to print. Tokens in requests are shown.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway loadtester`
#[derive(Debug, clap::Args)]
pub struct Loadtester {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub listen: SocketAddr,
    /// Another port at the same address.
    #[arg(long)]
    pub port: Option<u16>,
    /// Longest time for a task.
    #[arg(long, default_value = "1h")]
    pub timeout: api::Duration,
    /// Canaries of other namespaces are refused.
    #[arg(long, value_name = "REGEX")]
    pub namespace_regexp: Option<String>,
    /// Types of tasks that may run whatever their command [default: all on loopback, none elsewhere]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TYPE")]
    pub enable: Vec<Kind>,
    /// Programs that tasks of type `cmd` may start where that type is not enabled.
    #[arg(long, value_delimiter = ',', default_value = "hey,ghz,wrk,k6,curl,grpc_health_probe,bats")]
    pub allow_commands: Vec<String>,
}

/// `slipway receive -f MANIFESTS --request REQUEST.json`
#[derive(Debug, clap::Args)]
pub struct Receive {
    /// Manifests with the Receiver, its Secret, and the objects that it may wake; `-` reads standard input.
    #[arg(short, long = "file", required = true)]
    pub files: Vec<String>,
    /// The call as JSON: `{"headers": {…}, "body": "…"}`, with `path`, and `bodyBase64` for other than text. Without it
    /// the Receiver's path is told.
    #[arg(short, long, value_name = "FILE")]
    pub request: Option<String>,
    /// The Receiver meant, if the manifests hold several and the request has no path.
    #[arg(long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// Refuse references to objects of other namespaces.
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
    /// Where the keys of Google's tokens are read, for Receivers of type gcr.
    #[arg(long, value_name = "URL", default_value = notification::controller::GOOGLE_KEYS)]
    pub google_keys: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}
