//! Tasks of the load tester: which may run, and running them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::ValueEnum;
use reconcile::Http;
use tokio::process::Command;

use super::{concord::Process, ngrinder::Test};

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
    /// A process of Concord, waited for.
    Concord,
    /// A test of nGrinder that is started and not waited for.
    Ngrinder,
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
    /// It is of another server, and cannot be understood.
    Unusable(String),
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
    work: Work,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Command(String),
    Concord(Process),
    Ngrinder(Test),
}

impl Task {
    /// Reads a task from a webhook's metadata.
    pub fn new(metadata: &BTreeMap<String, String>, permitted: &Permitted) -> Result<Self, Refusal> {
        let name = metadata.get("type").map_or("cmd", String::as_str);
        let kind = Kind::from_str(name, false).map_err(|_| Refusal::Wrong(format!("unknown task type {name}")))?;
        let is_listed = || kind == Kind::Cmd && metadata.get("cmd").is_some_and(|command| permitted.allows(command));
        let is_permitted = permitted.kinds.contains(&kind) || is_listed();
        let work = match kind {
            // What they name is looked at, so that they must be permitted first.
            Kind::Concord | Kind::Ngrinder if !is_permitted => return Err(not_permitted(name)),
            Kind::Concord => Work::Concord(Process::new(metadata).map_err(Refusal::Unusable)?),
            Kind::Ngrinder => Work::Ngrinder(Test::new(metadata).map_err(Refusal::Wrong)?),
            _ => {
                let command = metadata.get("cmd").filter(|command| !command.trim().is_empty());
                Work::Command(command.ok_or_else(|| Refusal::Wrong("cmd not found in metadata".into()))?.clone())
            }
        };
        if !is_permitted {
            return Err(not_permitted(name));
        }
        let flag = |key: &str| {
            metadata.get(key).is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
        };
        Ok(Self { kind, returns_output: flag("returnCmdOutput"), logs_output: flag("logCmdOutput"), work })
    }

    /// Whether nobody waits for its end.
    pub fn is_started_only(&self) -> bool {
        matches!(self.kind, Kind::Cmd | Kind::Ngrinder)
    }

    /// Runs the task to its end and gives its output. The error is what the caller is told.
    pub async fn run(&self, http: &Http, timeout: Duration) -> Result<Vec<u8>, String> {
        match &self.work {
            Work::Command(command) => self.run_command(command, timeout).await,
            Work::Ngrinder(test) => test.run(http, timeout).await.map(|()| Vec::new()),
            Work::Concord(process) => {
                let ended = tokio::time::timeout(timeout, process.run(http)).await;
                ended.unwrap_or_else(|_| Err("the concord process took too long".into())).map(|()| Vec::new())
            }
        }
    }

    async fn run_command(&self, text: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        let mut command = match self.kind {
            Kind::Bash => shell("bash", text),
            Kind::Helm | Kind::Helmv3 => program("helm", text),
            Kind::Kubectl => program("kubectl", text),
            Kind::Cmd | Kind::Concord | Kind::Ngrinder => shell("sh", text),
        };
        let running = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let told = |output: &[u8], problem: &str| {
            format!("command {text} failed: {}: {problem}", String::from_utf8_lossy(output))
        };
        let ended = tokio::time::timeout(timeout, running.output()).await;
        let ended = ended.map_err(|_| told(b"", "it took too long"))?.map_err(|error| told(b"", &error.to_string()))?;
        let mut output = [ended.stdout, ended.stderr].concat();
        output.truncate(MAX_OUTPUT_BYTES);
        if self.logs_output {
            tracing::info!(command = text, output = %String::from_utf8_lossy(&output), "task ended");
        }
        match ended.status.code() {
            Some(0) => Ok(output),
            Some(code) => Err(told(&output, &format!("exit status {code}"))),
            None => Err(told(&output, "ended by a signal")),
        }
    }

    /// What tells it from other tasks of the same canary.
    fn key(&self) -> String {
        match &self.work {
            Work::Command(command) => command.clone(),
            Work::Ngrinder(test) => test.key(),
            Work::Concord(_) => String::new(),
        }
    }
}

fn not_permitted(name: &str) -> Refusal {
    Refusal::NotPermitted(format!("task type {name} is not enabled for this command: see --enable"))
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

/// Tasks that were started and not waited for.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<HashSet<(String, String)>>>);

impl Running {
    /// Starts the task, unless the canary's same task still runs.
    pub fn start(&self, canary: String, task: Task, http: Http, timeout: Duration) {
        let key = (canary, task.key());
        {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if running.len() >= MAX_TASKS || !running.insert(key.clone()) {
                tracing::debug!(canary = key.0, "task is not started: it runs already, or too many do");
                return;
            }
        }
        let running = self.0.clone();
        tokio::spawn(async move {
            if let Err(problem) = task.run(&http, timeout).await {
                tracing::warn!(canary = key.0, problem, "task failed");
            }
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
    }
}
