//! `slipway logs`: what slipway logs, and what the pods of a workload write.
//!
//! Standalone both are files in the storage folder, so they are there after a crash too. On a cluster they are the pods' logs.

mod cluster;
mod entry;
mod files;

use anyhow::{bail, ensure};
use jiff::Timestamp;
use reconcile::clock;

use self::entry::{Entry, Level};
use super::{
    Exit,
    kinds::{self, Kind},
    print, system,
};
use crate::args::{Output, look::Logs};

/// Kinds whose pods write logs of their own.
const WORKLOADS: [&str; 3] = ["Deployment", "DaemonSet", "Pod"];

/// Which lines are wanted.
struct Wanted<'a> {
    args: &'a Logs,
    object: Option<(&'static Kind, String)>,
    level: Level,
    from: Option<Timestamp>,
    namespace: String,
}

/// Runs the verb.
pub fn run(args: &Logs) -> anyhow::Result<Exit> {
    logs(args).map_err(|error| super::wrong_in_a_line(args.output, error))
}

fn logs(args: &Logs) -> anyhow::Result<Exit> {
    let object = args.object.as_deref().map(kinds::parse_one).transpose().map_err(anyhow::Error::msg)?;
    let level = Level::parse(&args.level)?;
    let since = args.since.map(|since| clock::now() - since.get());
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let namespace = system.namespace.clone();
        let wanted = Wanted { args, object, level, from: since.or(args.since_time), namespace };
        let ended = async {
            match &args.place.state {
                Some(_) => files::run(&wanted, &system.store).await,
                None => cluster::run(&wanted).await,
            }
        };
        tokio::select! {
            ended = ended => ended,
            stopped = crate::run::signalled() => stopped.map(|()| Exit::Interrupted),
        }
    })
}

impl Wanted<'_> {
    /// The workload whose pods are asked for.
    fn workload(&self) -> Option<(&'static Kind, &str)> {
        let (kind, name) = self.object.as_ref()?;
        WORKLOADS.contains(&kind.kind).then_some((*kind, name.as_str()))
    }

    /// What a line of slipway's own log is shown as; nothing if it is not wanted.
    fn own(&self, line: &str) -> Option<String> {
        let entry = Entry::parse(line)?;
        let is_about = self.object.as_ref().is_none_or(|(kind, name)| {
            let in_place = self.args.all_namespaces || entry.namespace == self.namespace;
            entry.kind == kind.kind && entry.name == *name && in_place
        });
        let is_late = self.from.is_none_or(|from| entry.at.is_some_and(|at| at >= from));
        let is_wanted = is_about && is_late && entry.level >= self.level;
        is_wanted.then(|| match self.args.output {
            Output::Json => format!("{line}\n"),
            Output::Table => entry.text() + "\n",
        })
    }

    /// What a line of a pod is shown as.
    fn of_pod(&self, pod: &str, line: &str) -> String {
        match self.args.output {
            Output::Json => serde_json::json!({"pod": pod, "line": line}).to_string() + "\n",
            Output::Table => format!("{pod}  {line}\n"),
        }
    }

    /// Prints what there is, or its end.
    fn show(&self, lines: &[String]) {
        let first = self.args.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        print(&lines[first..].concat());
    }

    /// Refuses what the lines of pods cannot be asked for.
    fn check_pods(&self) -> anyhow::Result<()> {
        ensure!(self.level <= Level::Debug, "--level: the lines of pods have no level that slipway knows");
        if self.args.place.state.is_some() && self.from.is_some() {
            bail!("--since: the lines of pods carry no time standalone; say --tail LINES");
        }
        Ok(())
    }
}
