//! Where all rollouts stand, followed while somebody looks: one board for all streams, thrown away a minute after the last.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::flagger::Canary;
use canary::report::{Row, State};
use futures::StreamExt as _;
use reconcile::{Context, Event, Severity, Shutdown, clock, watcher};
use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::rollouts::Rollouts;

/// Changes of that long are told together.
const BATCH: Duration = Duration::from_millis(250);
/// How long a board outlives its last reader.
const LINGER: Duration = Duration::from_secs(60);
/// How long the first list may take.
const FIRST: Duration = Duration::from_secs(10);
/// Messages kept for streams that were cut.
const KEPT: usize = 1024;

/// Namespace and name.
pub type Key = (String, String);

/// Makes a board when one is needed.
pub struct Live(Arc<Inner>);

struct Inner {
    context: Context,
    rollouts: Rollouts,
    shutdown: Shutdown,
    board: Mutex<Option<Arc<Board>>>,
}

/// All rollouts, and what changed lately.
pub struct Board {
    /// Tells this board from those before it.
    pub epoch: i64,
    bus: broadcast::Sender<Arc<Told>>,
    listed: watch::Sender<bool>,
    state: Mutex<Content>,
}

struct Content {
    revision: u64,
    rows: BTreeMap<Key, Row>,
    kept: VecDeque<Arc<Told>>,
    used: Instant,
}

/// What a stream is fed from.
pub struct Subscription {
    /// Messages from now on.
    pub news: broadcast::Receiver<Arc<Told>>,
    /// The number of the last one before.
    pub revision: u64,
    /// Those that were missed, if all of them are kept.
    pub missed: Option<Vec<Arc<Told>>>,
}

/// One message of the stream.
#[derive(Debug)]
pub struct Told {
    /// Its number.
    pub revision: u64,
    /// `row`, `gone`, `event` or `counts`.
    pub kind: &'static str,
    /// The rollout that it is about.
    pub key: Option<Key>,
    /// JSON.
    pub data: String,
}

impl Live {
    /// Nothing is followed yet.
    pub fn new(context: Context, rollouts: Rollouts, shutdown: Shutdown) -> Self {
        Self(Arc::new(Inner { context, rollouts, shutdown, board: Mutex::default() }))
    }

    /// The board, once it is complete; none if the store does not answer in time.
    pub async fn board(&self) -> Option<Arc<Board>> {
        let board = {
            let mut current = locked(&self.0.board);
            let board = current.get_or_insert_with(|| {
                let board = Arc::new(Board::new());
                tokio::spawn(self.0.clone().follow(board.clone()));
                board
            });
            board.content().used = clock::instant();
            board.clone()
        };
        let mut listed = board.listed.subscribe();
        tokio::select! {
            listed = listed.wait_for(|listed| *listed) => listed.is_ok().then(|| board.clone()),
            () = clock::sleep(FIRST) => None,
        }
    }
}

impl Board {
    fn new() -> Self {
        let content = Content { revision: 0, rows: BTreeMap::new(), kept: VecDeque::new(), used: clock::instant() };
        Self {
            epoch: clock::now().as_millisecond(),
            bus: broadcast::channel(KEPT).0,
            listed: watch::Sender::new(false),
            state: Mutex::new(content),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        locked(&self.state)
    }

    /// Every row, in the order of names.
    pub fn rows(&self) -> Vec<Row> {
        self.content().rows.values().cloned().collect()
    }

    /// How many rollouts are in each state.
    pub fn counts(&self) -> Value {
        counts(self.content().rows.values())
    }

    /// A subscription that goes on after the message of that number, if what came after it is kept.
    pub fn subscribe(&self, seen: Option<u64>) -> Subscription {
        let content = self.content();
        let missed = seen.filter(|seen| *seen <= content.revision).and_then(|seen| {
            let first = content.kept.front().map_or(content.revision + 1, |told| told.revision);
            let all = || content.kept.iter().filter(|told| told.revision > seen).cloned().collect();
            (seen + 1 >= first).then(all)
        });
        Subscription { news: self.bus.subscribe(), revision: content.revision, missed }
    }

    fn tell(&self, content: &mut Content, kind: &'static str, key: Option<Key>, data: String) {
        content.revision += 1;
        let told = Arc::new(Told { revision: content.revision, kind, key, data });
        if content.kept.len() == KEPT {
            content.kept.pop_front();
        }
        content.kept.push_back(told.clone());
        // Nobody listening is fine.
        let _ = self.bus.send(told);
    }

    /// Takes a row in; told only if it says something new.
    fn put(&self, row: Row) {
        let key = (row.ns.clone(), row.name.clone());
        let mut content = self.content();
        if content.rows.get(&key) != Some(&row) {
            let data = serde_json::to_string(&row).unwrap_or_default();
            content.rows.insert(key.clone(), row);
            self.tell(&mut content, "row", Some(key), data);
        }
    }

    fn remove(&self, key: Key) {
        let mut content = self.content();
        if content.rows.remove(&key).is_some() {
            let data = json!({"ns": key.0, "name": key.1}).to_string();
            self.tell(&mut content, "gone", Some(key), data);
        }
    }

    fn happened(&self, event: &Event) {
        if event.severity == Severity::Trace {
            return;
        }
        let data = super::events::told(event).to_string();
        let about = &event.involved_object.reference;
        let key = (about.kind == "Canary").then(|| (about.namespace.clone(), about.name.clone()));
        self.tell(&mut self.content(), "event", key, data);
    }

    fn is_unused(&self) -> bool {
        self.bus.receiver_count() == 0 && self.content().used.elapsed() > LINGER
    }
}

/// How many rollouts are in each state.
fn counts<'a>(rows: impl Iterator<Item = &'a Row>) -> Value {
    let mut counts: BTreeMap<String, u64> =
        State::ALL.into_iter().map(|state| (state.as_str().to_lowercase(), 0)).collect();
    rows.for_each(|row| *counts.entry(row.state.as_str().to_lowercase()).or_default() += 1);
    json!(counts)
}

/// What changed and was not told yet.
#[derive(Default)]
struct Changes {
    dirty: BTreeMap<Key, Canary>,
    gone: BTreeSet<Key>,
    /// Those of a list that is not complete yet.
    listing: Option<BTreeSet<Key>>,
    is_listed: bool,
    due: Option<Instant>,
}

impl Changes {
    fn take(&mut self, change: watcher::Event<Canary>, board: &Board) {
        match change {
            watcher::Event::Init => self.listing = Some(BTreeSet::new()),
            watcher::Event::InitApply(canary) | watcher::Event::Apply(canary) => {
                let key = (canary.namespace().to_owned(), canary.name().to_owned());
                self.listing.as_mut().map(|listing| listing.insert(key.clone()));
                self.gone.remove(&key);
                self.dirty.insert(key, canary);
            }
            watcher::Event::Delete(canary) => {
                let key = (canary.namespace().to_owned(), canary.name().to_owned());
                self.dirty.remove(&key);
                self.gone.insert(key);
            }
            watcher::Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                self.gone.extend(board.content().rows.keys().filter(|key| !listing.contains(*key)).cloned());
                self.is_listed = true;
            }
        }
        // The first list is told at once.
        let wait = if *board.listed.borrow() { BATCH } else { Duration::ZERO };
        self.due = self.due.or(Some(clock::instant() + wait));
    }

    /// How long until they are told; an hour where there is nothing to tell.
    fn rest(&self) -> Duration {
        self.due.map_or(Duration::from_secs(3600), |due| due.saturating_duration_since(clock::instant()))
    }
}

impl Inner {
    /// Follows the store and the events until nobody looks any more.
    async fn follow(self: Arc<Self>, board: Arc<Board>) {
        let mut changes = self.context.store.watch::<Canary>();
        let mut events = self.context.events.subscribe();
        let mut untold = Changes::default();
        loop {
            let idle = LINGER.min(untold.rest());
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                change = changes.next() => match change {
                    Some(Ok(change)) => untold.take(change, &board),
                    Some(Err(error)) => tracing::debug!(%error, "the dashboard's watch broke and is taken up again"),
                    None => return self.forget(&board),
                },
                event = events.recv() => {
                    // Who falls behind misses some lines of the list of events, which is complete when it is asked for.
                    if let Ok(event) = event {
                        board.happened(&event);
                    }
                }
                () = clock::sleep(idle) => {}
            }
            if untold.rest().is_zero() {
                self.tell(&board, &mut untold).await;
            }
            if board.is_unused() {
                return self.forget(&board);
            }
        }
    }

    async fn tell(&self, board: &Board, untold: &mut Changes) {
        untold.due = None;
        let before = board.counts();
        for (_, canary) in std::mem::take(&mut untold.dirty) {
            match self.rollouts.row(&canary).await {
                Ok(row) => board.put(row),
                Err(error) => tracing::debug!(%error, "a rollout cannot be told"),
            }
        }
        std::mem::take(&mut untold.gone).into_iter().for_each(|key| board.remove(key));
        let counts = board.counts();
        if counts != before {
            board.tell(&mut board.content(), "counts", None, counts.to_string());
        }
        if untold.is_listed {
            board.listed.send_replace(true);
        }
    }

    fn forget(&self, board: &Arc<Board>) {
        let mut current = locked(&self.board);
        // Somebody may have come meanwhile; then the next look ends it.
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, board)) {
            *current = None;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
