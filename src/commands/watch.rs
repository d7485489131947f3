//! `slipway watch`: rollouts as they move, on a terminal repainted in place, in a pipe as lines.

mod lines;
mod list;
mod one;
mod screen;

use std::collections::BTreeMap;

use anyhow::bail;
use api::flagger::{Canary, Phase};
use canary::{
    report::{Rollout, Row, State},
    router,
    trail::Run,
};
use reconcile::clock;

use self::{lines::Line, screen::Screen};
use super::{
    Exit, get,
    kinds::{self, Named},
    mark, print,
    streams::is_heard,
    system::{self, System},
};
use crate::{args::look::Watch, rollouts::Rollouts};

/// What is watched, as it is now.
enum Seen {
    List(Vec<Row>),
    One(Box<Rollout>, Option<Run>),
    /// The object is not there.
    Nothing,
}

/// Runs the verb.
pub fn run(args: &Watch) -> anyhow::Result<Exit> {
    let name = name(args)?;
    if args.all_namespaces && name.is_some() {
        bail!("a name and --all-namespaces exclude each other; say -n NAMESPACE");
    }
    let states = states(args)?;
    super::wait_for(async {
        let system = system::open(&args.place).await?;
        let watcher = Watcher {
            rollouts: Rollouts::new(system.store.clone(), router::Options::default()),
            system,
            states,
            name,
            args,
        };
        if let (Some(name), Seen::Nothing) = (&watcher.name, watcher.look().await?) {
            if let Some(kind) = kinds::find("canary") {
                get::missing(&watcher.system.store, kind, &watcher.system.namespace, name).await?;
            }
            return Ok(Exit::No);
        }
        tokio::select! {
            ended = async {
                if mark::repaints() { watcher.paint().await } else { watcher.append().await }
            } => ended,
            stopped = crate::run::signalled() => stopped.map(|()| Exit::Interrupted),
        }
    })
}

/// The rollout that was named: `NAME`, `canary NAME` or `canary/NAME`.
fn name(args: &Watch) -> anyhow::Result<Option<String>> {
    match args.words.as_slice() {
        [] => Ok(None),
        [word] if !word.contains('/') && kinds::find(word).is_none() => Ok(Some(word.clone())),
        words => match kinds::parse(words).map_err(anyhow::Error::msg)? {
            Named::Kind(kind, names) if kind.kind == "Canary" && names.len() <= 1 => Ok(names.into_iter().next()),
            _ => bail!("one rollout or all of them can be watched: slipway watch canary NAME, or slipway watch -A"),
        },
    }
}

fn states(args: &Watch) -> anyhow::Result<Vec<State>> {
    let find = |word: &String| {
        let found = State::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(word));
        let known = || State::ALL.map(State::as_str).join(", ");
        found.ok_or_else(|| anyhow::anyhow!("no rollout is in the state {word:?}; states are {}", known()))
    };
    args.filter.iter().map(find).collect()
}

struct Watcher<'a> {
    system: System,
    rollouts: Rollouts,
    states: Vec<State>,
    name: Option<String>,
    args: &'a Watch,
}

impl Watcher<'_> {
    async fn look(&self) -> anyhow::Result<Seen> {
        let namespace = &self.system.namespace;
        let Some(name) = &self.name else {
            let mut rows = self.rollouts.rows(Some(namespace.as_str()).filter(|_| !self.args.all_namespaces)).await?;
            rows.retain(|row| self.states.is_empty() || self.states.contains(&row.state));
            return Ok(Seen::List(rows));
        };
        match self.system.store.get::<Canary>(namespace, name).await? {
            Some(canary) => {
                let (rollout, run) = self.rollouts.rollout(&canary).await?;
                Ok(Seen::One(Box::new(rollout), run))
            }
            None => Ok(Seen::Nothing),
        }
    }

    /// What the screen shows, of that width and height.
    fn lines(&self, seen: &Seen, size: (usize, usize), stale: Option<u64>) -> Vec<Line> {
        let now = clock::now();
        let place = match self.args.all_namespaces {
            true => "all namespaces".to_owned(),
            false => format!("namespace {}", self.system.namespace),
        };
        match seen {
            Seen::List(rows) => list::lines(rows, &place, size, now, stale),
            Seen::One(rollout, run) => one::lines(rollout, run.as_ref(), size, now, stale),
            Seen::Nothing => vec![Line::plain("The rollout was deleted.")],
        }
    }

    /// A terminal: what changed is written over what was there, until the rollout has ended.
    async fn paint(&self) -> anyhow::Result<Exit> {
        let mut screen = Screen::open();
        let mut seen = self.look().await?;
        let mut heard = clock::instant();
        loop {
            let age = heard.elapsed();
            let stale = Some(age.as_secs()).filter(|_| age > 2 * self.args.interval.get());
            screen.show(&self.lines(&seen, screen::size(), stale));
            if let Some(exit) = ended(&seen) {
                drop(screen);
                let (width, _) = screen::size();
                let last: String = self.lines(&seen, (width, usize::MAX), None).iter().map(Line::text).collect();
                print(&last);
                return Ok(exit);
            }
            clock::sleep(self.args.interval.get()).await;
            // What cannot be read now is shown as it was, with its age.
            if let Ok(fresh) = self.look().await {
                (seen, heard) = (fresh, clock::instant());
            }
        }
    }

    /// A pipe: one line for each change.
    async fn append(&self) -> anyhow::Result<Exit> {
        let mut told: BTreeMap<(String, String), String> = BTreeMap::new();
        loop {
            let seen = self.look().await?;
            let rows = match &seen {
                Seen::List(rows) => rows.iter().collect(),
                Seen::One(rollout, _) => vec![&rollout.row],
                Seen::Nothing => Vec::new(),
            };
            for row in rows {
                let line = list::plain(row);
                if told.insert((row.ns.clone(), row.name.clone()), line.clone()).as_ref() != Some(&line) {
                    print(&format!("{:.0}  {line}\n", clock::now()));
                }
            }
            if let Some(exit) = ended(&seen).or_else(|| (!is_heard()).then_some(Exit::Done)) {
                return Ok(exit);
            }
            clock::sleep(self.args.interval.get()).await;
        }
    }
}

/// How the one rollout ended, if it has.
fn ended(seen: &Seen) -> Option<Exit> {
    match seen {
        Seen::List(_) => None,
        Seen::Nothing => Some(Exit::No),
        Seen::One(rollout, _) => match rollout.row.phase {
            Phase::Failed => Some(Exit::No),
            Phase::Succeeded | Phase::Initialized => Some(Exit::Done),
            _ => None,
        },
    }
}

/// The sign before a state, which says it without colour.
fn sign(state: State) -> (&'static str, mark::Paint) {
    use mark::Paint;
    let (sign, ascii, paint) = match state {
        State::Failed => ("✗", "!", Paint::Red),
        State::Waiting => ("◎", "?", Paint::Yellow),
        State::Paused => ("॥", "=", Paint::Magenta),
        State::Progressing | State::Promoting => ("►", ">", Paint::Blue),
        State::Suspended => ("॥", "=", Paint::Magenta),
        State::Ready => (" ", " ", Paint::Green),
    };
    (if mark::is_ascii() { ascii } else { sign }, paint)
}
