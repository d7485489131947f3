//! `GET /api/v1/stream`: server-sent events. `hello` first; then `row`, `gone`, `event`, `counts` and `rollout` as the topics
//! ask; `ping` while nothing happens; `reset` where what was missed is not kept.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use reconcile::clock;
use serde_json::json;
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{
    Dashboard,
    answer::Refusal,
    live::{Board, Key, Subscription, Told},
};

/// Silence after which a `ping` is sent.
const PING: Duration = Duration::from_secs(5);
/// Messages that wait for a slow reader; then it has to wait for the next.
const BUFFER: usize = 64;

/// What a stream tells of.
#[derive(Default)]
struct Topics {
    rows: bool,
    events: bool,
    rollouts: Vec<Key>,
}

impl Topics {
    /// `overview,events,rollout:NAMESPACE/NAME`; everything but single rollouts when absent.
    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self { rows: true, events: true, ..Self::default() } };
        let mut topics = Self::default();
        for word in text.split(',') {
            match word.split_once(':') {
                Some(("rollout", name)) => topics
                    .rollouts
                    .extend(name.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))),
                _ => {
                    topics.rows |= word == "overview";
                    topics.events |= word == "events";
                }
            }
        }
        topics
    }

    fn cover(&self, told: &Told) -> bool {
        let is_own = told.key.as_ref().is_some_and(|key| self.rollouts.contains(key));
        match told.kind {
            "event" => self.events || is_own,
            // Every page shows the counts.
            "counts" => true,
            _ => self.rows || is_own,
        }
    }
}

/// Answers.
pub async fn stream(
    State(dashboard): State<Arc<Dashboard>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Ok(permit) = dashboard.streams.clone().try_acquire_owned() else {
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are connected").into_response();
    };
    let Some(board) = dashboard.live.board().await else {
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the rollouts are not listed yet").into_response();
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let (sender, mut receiver) = mpsc::channel(BUFFER);
    let feed = Feed { dashboard, board, topics: Topics::parse(query.get("topics").map(String::as_str)), sender };
    tokio::spawn(async move {
        let _permit = permit;
        let shutdown = feed.dashboard.shutdown.clone();
        tokio::select! {
            // An error says that the reader went away.
            _ = feed.run(last.as_deref()) => {}
            () = shutdown.cancelled() => {}
        }
    });
    let events = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    // Proxies that collect answers would keep it for themselves.
    let headers = [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(events)).into_response()
}

struct Feed {
    dashboard: Arc<Dashboard>,
    board: Arc<Board>,
    topics: Topics,
    sender: mpsc::Sender<Result<Event, Infallible>>,
}

/// The reader went away.
struct Gone;

impl Feed {
    async fn run(&self, last: Option<&str>) -> Result<(), Gone> {
        let seen = last.and_then(|id| id.split_once('-')).and_then(|(epoch, revision)| {
            let is_ours = epoch.parse() == Ok(self.board.epoch);
            revision.parse::<u64>().ok().filter(|_| is_ours)
        });
        let Subscription { mut news, revision, missed } = self.board.subscribe(seen);
        let hello = json!({"build": super::page::build(), "epoch": self.board.epoch, "now": clock::now()});
        // Whoever is cut off before what was missed asks for it again.
        let known = seen.filter(|_| missed.is_some()).unwrap_or(revision);
        self.send("hello", known, hello.to_string()).await?;
        match (last, missed) {
            (_, Some(missed)) => {
                for told in missed.iter().filter(|told| self.topics.cover(told)) {
                    self.tell(told).await?;
                }
            }
            (Some(_), None) => self.send("reset", revision, "{}".into()).await?,
            (None, None) => {}
        }
        let mut said = clock::instant();
        loop {
            tokio::select! {
                told = news.recv() => match told {
                    // What this stream does not tell leaves the reader as silent as before.
                    Ok(told) if self.topics.cover(&told) => {
                        self.tell(&told).await?;
                        said = clock::instant();
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        let fresh = self.board.subscribe(None);
                        news = fresh.news;
                        self.send("reset", fresh.revision, "{}".into()).await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                () = clock::sleep(PING.saturating_sub(said.elapsed())) => {
                    let ping = Event::default().event("ping").data(json!({"now": clock::now()}).to_string());
                    self.sender.send(Ok(ping)).await.map_err(|_| Gone)?;
                    said = clock::instant();
                }
            }
        }
    }

    async fn tell(&self, told: &Told) -> Result<(), Gone> {
        self.send(told.kind, told.revision, told.data.clone()).await?;
        if let ("row", Some(key)) = (told.kind, &told.key)
            && self.topics.rollouts.contains(key)
            && let Ok(rollout) = super::rollouts::record(&self.dashboard, &key.0, &key.1).await
        {
            self.send("rollout", told.revision, rollout.to_string()).await?;
        }
        Ok(())
    }

    async fn send(&self, kind: &str, revision: u64, data: String) -> Result<(), Gone> {
        let event = Event::default().id(format!("{}-{revision}", self.board.epoch)).event(kind).data(data);
        self.sender.send(Ok(event)).await.map_err(|_| Gone)
    }
}
