//! What was typed: clap structs only. What it means is decided in `commands/` and `config.rs`.

pub mod canary;
pub mod check;
pub mod child;
pub mod cluster;
mod help;
pub mod install;
pub mod look;
pub mod notifier;
pub mod notify;
pub mod run;
pub mod scanner;
pub mod update;

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};

use crate::commands::mark::Color;

/// Image automation and progressive delivery: from the registry to all of traffic, and back.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub struct Arguments {
    /// When colour is used.
    #[arg(long, global = true, value_enum, default_value_t, hide_short_help = true)]
    pub color: Color,
    /// Write plain letters only.
    #[arg(long, global = true, hide_short_help = true)]
    pub ascii: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs, each in its file in `commands/`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the controllers.
    Run(Box<run::Run>),
    /// Watch the main job happen on this machine.
    Demo(run::Demo),
    /// Which versions a range accepts, and why not the others.
    Semver(Semver),
    /// How an image name is read: registry, repository, scheme.
    Image(Image),
    /// The tags of an image as its registry lists them now.
    Scan(look::Scan),
    /// Objects of a running system.
    Get(look::Get),
    /// Rollouts as they move; one by name until it has ended.
    Watch(look::Watch),
    /// What happened, oldest first.
    Events(look::Events),
    /// What slipway logs, or the pods of a workload.
    Logs(look::Logs),
    /// Ask a controller to act on an object now.
    Reconcile(look::Reconcile),
    /// One object: what it is, where it stands, what happened.
    Describe(look::Describe),
    /// Leave objects alone until they are resumed.
    Suspend(look::Suspend),
    /// Take suspended objects up again.
    Resume(look::Suspend),
    /// Which tag an ImagePolicy chooses, and why not the others.
    Choose(Choose),
    /// What Flux or Flagger would reject or silently ignore in manifests.
    Check(check::Check),
    /// What the next commit would change in files here, and the change.
    Set(update::Set),
    /// The markers in files here: their policy, their value; and new ones.
    Markers(update::Markers),
    /// The commit message that an automation would write.
    Message(update::Message),
    /// What Alerts and Providers would make of an event; nothing is sent.
    Notify(notify::Notify),
    /// What a webhook would wake, and why not.
    Receive(notify::Receive),
    /// Flagger's load tester API: gates, and tasks for webhooks.
    Loadtester(notify::Loadtester),
    /// Promote, roll back or pause a Canary; rehearse it, show its routes.
    #[command(subcommand)]
    Canary(canary::Canary),
    /// Put slipway into a cluster.
    Install(install::Install),
    /// Take slipway out of a cluster.
    Uninstall(install::Uninstall),
    /// The completions of a shell: `source <(slipway completion bash)`.
    Completion(Completion),
    /// Become a command that ends when whoever started it ends.
    #[command(hide = true)]
    PodProcess(child::PodProcess),
    /// The demo's web application.
    #[command(hide = true)]
    DemoApp,
}

/// Reads the command line. A variable that is set to nothing says nothing, as where it is not set.
pub fn parse() -> Result<Arguments, clap::Error> {
    let mut command = help::shortened(Arguments::command());
    if std::env::vars_os().any(|(_, value)| value.is_empty()) {
        command = without_empty(command);
    }
    let matches = command.try_get_matches()?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut Arguments::command()))
}

/// The command without variables that are set to nothing.
fn without_empty(command: clap::Command) -> clap::Command {
    let is_empty =
        |argument: &clap::Arg| argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let heard = |argument: clap::Arg| match is_empty(&argument) {
        true => argument.env(Resettable::Reset),
        false => argument,
    };
    command.mut_args(heard).mut_subcommands(without_empty)
}

/// What a word that is no verb here mostly means: the verbs below `canary`, and words of other programs.
pub fn meant(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let below = ["render", "weights", "queries", "simulate", "promote", "rollback", "pause", "retry", "skip"];
    match word.as_str() {
        "abort" => Some("slipway canary rollback".into()),
        "version" => Some("slipway --version".into()),
        "status" | "list" => Some("slipway get canary -A".into()),
        "diff" => Some("slipway set PATH -f POLICIES --dry-run --diff".into()),
        word => below.contains(&word).then(|| format!("slipway canary {word}{}", rest(word))),
    }
}

/// What was typed behind that word, to be typed again.
fn rest(word: &str) -> String {
    let typed = std::env::args_os().map(|typed| typed.to_string_lossy().into_owned());
    let behind = typed.skip_while(|typed| typed != word).skip(1);
    // What a shell would take to pieces is left to whoever typed it.
    let is_plain = |typed: &String| typed.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:@".contains(c));
    behind.take_while(is_plain).map(|typed| format!(" {typed}")).collect()
}

/// What the exit codes mean, below the help of the program.
const EXIT_CODES: &str = "Exit codes:
  0 done   1 the answer is no   2 the input is wrong   3 not reachable   4 not allowed
  5 refused in this state   6 waited in vain   130 interrupted

More: slipway VERB --help";

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs; field names are stable.
    Json,
}

/// `slipway completion SHELL`
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `slipway semver RANGE VERSION…`
#[derive(Debug, clap::Args)]
pub struct Semver {
    /// The range, as in `spec.policy.semver.range`.
    #[arg(allow_hyphen_values = true)]
    pub range: String,
    /// Versions to try; `-` reads them from standard input, one per line.
    pub versions: Vec<String>,
    /// Let pre-releases in wherever the range does not name any, which Flux does not.
    #[arg(long)]
    pub include_prerelease: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway image REF`
#[derive(Debug, clap::Args)]
pub struct Image {
    /// The image, as in `spec.image`: a repository without scheme, tag or digest.
    pub reference: String,
    /// Allow plain HTTP, as `spec.insecure` does.
    #[arg(long)]
    pub insecure: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `slipway choose -f IMAGEPOLICY.yaml --tags FILE|-` or `slipway choose NAME`
#[derive(Debug, clap::Args)]
#[command(override_usage = "slipway choose -f FILE --tags FILE [OPTIONS]
       slipway choose NAME [OPTIONS]", group = clap::ArgGroup::new("policies").args(["file", "name"]).required(true))]
pub struct Choose {
    /// An ImagePolicy of a running slipway, among the tags that it keeps.
    #[arg(conflicts_with = "file")]
    pub name: Option<String>,
    /// File that holds the ImagePolicy, and maybe its ImageRepository with an exclusion list. `-` is standard input.
    #[arg(short, long, value_name = "FILE", requires = "tags")]
    pub file: Option<String>,
    /// File with the tags, one per line or a JSON list. `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub tags: Option<String>,
    /// The ImagePolicy meant, if the file holds several.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Which running slipway.
    #[command(flatten)]
    pub place: look::Place,
    /// Tell the fate of this tag alone.
    #[arg(long, value_name = "TAG")]
    pub why_not: Option<String>,
    /// Tell the fate of every tag.
    #[arg(long, conflicts_with = "why_not")]
    pub all: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}
