//! Tasks of the load tester: which may run, and running them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::ValueEnum;
use tokio::process::Command;

/// Most bytes of a task's output that are kept.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Tasks that run beside each other at most; further ones are dropped, as the next tick asks again.
const MAX_TASKS: usize = 64;

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// A command that is started and not waited for.
    Cmd,
    /// A script that is waited for.
    Bash,
    /// Helm, waited for.
    Helm,
    /// Helm under its older name.
    Helmv3,
    /// kubectl, waited for.
    Kubectl,
}

/// Which tasks may run.
#[derive(Clone, Debug)]
pub struct Permitted {
    /// These types, whatever their command.
    pub kinds: BTreeSet<Kind>,
    /// Programs that the type `cmd` may start where it is not permitted as a whole.
    pub programs: BTreeSet<String>,
}

/// Why a task does not run.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be understood.
    Wrong(String),
    /// It is not permitted here.
    NotPermitted(String),
}

/// A task that may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its type.
    pub kind: Kind,
    /// Whether its output is the answer.
    pub returns_output: bool,
    logs_output: bool,
    command: String,
}

impl Task {
    /// Reads a task from a webhook's metadata.
    pub fn new(metadata: &BTreeMap<String, String>, permitted: &Permitted) -> Result<Self, Refusal> {
        let wrong = |problem: String| Err(Refusal::Wrong(problem));
        let kind = match metadata.get("type").map_or("cmd", String::as_str) {
            "cmd" => Kind::Cmd,
            "bash" => Kind::Bash,
            "helm" => Kind::Helm,
            "helmv3" => Kind::Helmv3,
            "kubectl" => Kind::Kubectl,
            other @ ("concord" | "ngrinder") => return wrong(format!("task type {other} is not supported by slipway")),
            other => return wrong(format!("unknown task type {other}")),
        };
        let Some(command) = metadata.get("cmd").filter(|command| !command.trim().is_empty()) else {
            return wrong("cmd not found in metadata".into());
        };
        let is_listed = kind == Kind::Cmd && permitted.allows(command);
        if !is_listed && !permitted.kinds.contains(&kind) {
            let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            return Err(Refusal::NotPermitted(format!(
                "task type {name} is not enabled for this command: see --enable"
            )));
        }
        let flag = |key: &str| {
            metadata.get(key).is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
        };
        Ok(Self {
            kind,
            returns_output: flag("returnCmdOutput"),
            logs_output: flag("logCmdOutput"),
            command: command.clone(),
        })
    }

    /// Runs the task to its end. The error is what the caller is told.
    pub async fn run(&self, timeout: Duration) -> Result<Vec<u8>, String> {
        let mut command = match self.kind {
            Kind::Cmd => shell("sh", &self.command),
            Kind::Bash => shell("bash", &self.command),
            Kind::Helm | Kind::Helmv3 => program("helm", &self.command),
            Kind::Kubectl => program("kubectl", &self.command),
        };
        let running = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let told = |output: &[u8], problem: &str| {
            format!("command {} failed: {}: {problem}", self.command, String::from_utf8_lossy(output))
        };
        let ended = tokio::time::timeout(timeout, running.output()).await;
        let ended = ended.map_err(|_| told(b"", "it took too long"))?.map_err(|error| told(b"", &error.to_string()))?;
        let mut output = [ended.stdout, ended.stderr].concat();
        output.truncate(MAX_OUTPUT_BYTES);
        if self.logs_output {
            tracing::info!(command = self.command, output = %String::from_utf8_lossy(&output), "task ended");
        }
        match ended.status.code() {
            Some(0) => Ok(output),
            Some(code) => Err(told(&output, &format!("exit status {code}"))),
            None => Err(told(&output, "ended by a signal")),
        }
    }
}

impl Permitted {
    /// Whether the command starts one of the programs and nothing else: no other command hides in what the shell expands.
    fn allows(&self, command: &str) -> bool {
        let program = command.split_whitespace().next().unwrap_or_default();
        self.programs.contains(program) && is_plain(command)
    }
}

/// Whether a shell would read the text as one command without expansions.
fn is_plain(command: &str) -> bool {
    let mut quote = None;
    for character in command.chars() {
        match (character, quote) {
            (_, Some('\'')) if character != '\'' => {}
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            ('`' | '$' | '\\', _) => return false,
            (';' | '|' | '&' | '<' | '>' | '(' | ')' | '{' | '}' | '*' | '?' | '~' | '#' | '!' | '\n', None) => {
                return false;
            }
            _ => {}
        }
    }
    quote.is_none()
}

fn shell(name: &str, script: &str) -> Command {
    let mut command = Command::new(name);
    command.args(["-c", script]);
    command
}

fn program(name: &str, arguments: &str) -> Command {
    let mut command = Command::new(name);
    command.args(arguments.split_whitespace());
    command
}

/// Commands that were started and not waited for.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<HashSet<(String, String)>>>);

impl Running {
    /// Starts the command, unless the canary's same command still runs.
    pub fn start(&self, canary: String, task: Task, timeout: Duration) {
        let key = (canary, task.command.clone());
        {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if running.len() >= MAX_TASKS || !running.insert(key.clone()) {
                tracing::debug!(canary = key.0, "command is not started: it runs already, or too many do");
                return;
            }
        }
        let running = self.0.clone();
        tokio::spawn(async move {
            if let Err(problem) = task.run(timeout).await {
                tracing::warn!(canary = key.0, problem, "command failed");
            }
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
    }
}
