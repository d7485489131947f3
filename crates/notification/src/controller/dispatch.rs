//! Alerts: events come from the bus, go into the outbox, and from there to the Providers' services.
//!
//! An event is put into the outbox before anything is sent, and marked there afterwards. What happened while we were
//! away is read from the store's kept events, so a restart loses nothing; keys that stay the same keep it from repeating.

use std::{collections::BTreeMap, time::Duration};

use api::notification::{Alert, Provider};
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use kube::ResourceExt as _;
use reconcile::{Context, Event, Notice, Severity, Shutdown, clock, object, store::EventFilter, watcher};
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Settings,
    about::canary_facts,
    batch::Batch,
    health::Health,
    login::Logins,
    queues::Queues,
    records::Records,
    send::{Sent, send},
};
use crate::{
    CONTROLLER, Error,
    alert::{annotations, labels, needs_labels, outgoing, verdict},
    outbox::{Entry, Failure, Patience},
    provider::Service,
};

/// Events may come in another order than their times say.
const OVERLAP: Duration = Duration::from_secs(10);
/// Older events are no news after a restart.
const NEWS: Duration = Duration::from_secs(3600);
/// Wait before the store is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// How long what is being sent may take when the process ends.
const GRACE: Duration = Duration::from_secs(5);
/// Events that are taken in together at most.
const BATCH: usize = 256;

/// The controller of Alerts and Providers.
pub struct Notification {
    context: Context,
    logins: Logins,
    records: Records,
    settings: Settings,
    bus: Receiver<Event>,
    queues: Queues,
    /// When this process began to listen.
    began: jiff::Timestamp,
    /// When the kept events are read again after a failure.
    catch_up_at: Option<jiff::Timestamp>,
    /// When old records are dropped.
    tidy_at: jiff::Timestamp,
    /// How each Alert fares.
    health: Health,
}

/// When events were that may not have been heard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// Before this process began to listen.
    Before,
    /// Since then, too.
    Since,
}

/// A try that ended.
struct Tried {
    key: String,
    entry: Entry,
    outcome: Result<Sent, Error>,
}

type Sending = FuturesUnordered<BoxFuture<'static, Tried>>;

impl Notification {
    /// A controller that hears every event published from now on.
    pub fn new(context: Context, settings: Settings) -> Self {
        let bus = context.events.subscribe();
        let records = Records(context.store.database().clone());
        Self {
            logins: Logins::new(context.http.clone(), settings.accounts),
            context,
            records,
            settings,
            bus,
            queues: Queues::default(),
            began: clock::now(),
            catch_up_at: None,
            tidy_at: clock::now(),
            health: Health::default(),
        }
    }

    /// Runs until the shutdown; then finishes what is being sent.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut providers = self.context.store.watch::<Provider>();
        let mut sending = Sending::new();
        self.catch_up(Missed::Before).await;
        while !shutdown.is_cancelled() {
            self.start_due(&mut sending);
            self.turn(&shutdown, &mut providers, &mut sending).await;
        }
        let finish = async {
            while let Some(tried) = sending.next().await {
                self.ended(tried).await;
            }
        };
        tokio::select! { () = finish => {}, () = clock::sleep(GRACE) => {} }
    }

    /// Waits for the next thing to happen and deals with it.
    async fn turn(
        &mut self,
        shutdown: &Shutdown,
        providers: &mut BoxStream<'static, reconcile::Result<watcher::Event<Provider>>>,
        sending: &mut Sending,
    ) {
        let wait = self.wait();
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(tried) = sending.next() => self.ended(tried).await,
            event = self.bus.recv() => match event {
                Ok(event) => self.hear(event).await,
                Err(RecvError::Lagged(_)) => self.catch_up(Missed::Since).await,
                // The process ends: the sender is gone before the shutdown reached us.
                Err(RecvError::Closed) => shutdown.cancelled().await,
            },
            Some(change) = providers.next() => self.look_at(change).await,
            () = clock::sleep(wait) => {
                let now = clock::now();
                if self.catch_up_at.is_some_and(|at| at <= now) {
                    self.catch_up(Missed::Since).await;
                }
                if self.tidy_at <= now {
                    self.tidy(now).await;
                }
                self.health.tell(&self.context.store, &self.queues, now).await;
            }
        }
    }

    /// Time until something is due.
    fn wait(&self) -> Duration {
        let others = self.catch_up_at.into_iter().chain(self.health.due());
        let next = self.queues.next_due().into_iter().chain(others).fold(self.tidy_at, std::cmp::min);
        next.duration_since(clock::now()).try_into().unwrap_or_default()
    }

    /// Starts what is due, one message at a time for each Provider.
    fn start_due(&mut self, sending: &mut Sending) {
        for (key, entry) in self.queues.start(clock::now()) {
            let (context, logins) = (self.context.clone(), self.logins.clone());
            let records = self.records.clone();
            sending.push(Box::pin(async move {
                // A record that cannot be read costs the end of an old alert, not the message.
                let firing = records.firing(&entry).await.unwrap_or_default();
                let outcome = send(&context, &logins, &key, &entry, firing.as_ref()).await;
                Tried { key, entry, outcome }
            }));
        }
    }

    /// Marks what came of a try.
    async fn ended(&mut self, Tried { key, entry, outcome }: Tried) {
        let now = clock::now();
        let entry = match &outcome {
            Ok(_) => entry.sent(now),
            Err(error) if error.is_transient() => {
                let wait = error.retry_after(now);
                entry.failed(Failure::Transient { wait }, self.patience(), now)
            }
            Err(_) => entry.failed(Failure::Final, self.patience(), now),
        };
        // What a service did not hear of ends nothing.
        if matches!(outcome, Ok(Sent::Told))
            && let Err(error) = self.records.told(&entry).await
        {
            tracing::debug!(%error, "what the service was told of last is not kept");
        }
        self.health.tried(&entry, outcome.as_ref().err(), now);
        if let Err(error) = self.records.tried(&key, &entry).await {
            tracing::warn!(%error, "the outcome of a notification is not kept");
        }
        self.queues.end(key, entry.clone());
        let Err(error) = outcome else { return };
        tracing::debug!(%error, tries = entry.tries, alert = entry.alert, "notification not delivered");
        if entry.is_told() {
            let about = &entry.event.involved_object.reference;
            let message = format!("failed to send notification for {about} to provider {}: {error}", entry.provider);
            let alert = self.context.store.get::<Alert>(&entry.namespace, &entry.alert).await;
            if let Ok(Some(alert)) = alert {
                self.warn(&object::to_value(&alert), "NotificationDispatchFailed", message).await;
            }
        }
    }

    fn patience(&self) -> Patience {
        Patience { first_wait: self.settings.first_wait, max_age: self.settings.max_age }
    }

    async fn tidy(&mut self, now: jiff::Timestamp) {
        self.tidy_at = now + NEWS;
        if let Err(error) = self.records.tidy(now).await {
            tracing::warn!(%error, "old notifications are not dropped");
        }
    }

    /// Reads the outbox and the events that were kept since it was last looked at. A failure is taken up again later.
    async fn catch_up(&mut self, missed: Missed) {
        self.catch_up_at = None;
        if let Err(error) = self.try_catch_up(missed).await {
            if !matches!(&error, Error::Store(error) if error.is_interruption()) {
                tracing::warn!(%error, "events are read again in a moment");
            }
            self.catch_up_at = Some(clock::now() + PAUSE);
        }
    }

    async fn try_catch_up(&mut self, missed: Missed) -> Result<(), Error> {
        for (key, entry) in self.records.pending().await? {
            self.queues.add(key, entry);
        }
        let now = clock::now();
        let since = match self.records.cursor().await? {
            Some(cursor) => std::cmp::max(cursor, now - NEWS) - OVERLAP,
            // The first start: what happened before was nobody's to tell.
            None => {
                self.records.move_cursor(self.began).await?;
                if missed == Missed::Before {
                    return Ok(());
                }
                self.began
            }
        };
        let mut events = self.context.store.events(&EventFilter::default()).await?;
        events.retain(|event| event.timestamp >= since);
        for events in events.chunks(BATCH) {
            self.take_all(events).await?;
        }
        Ok(())
    }

    /// An event from the bus and those that wait behind it. If they cannot be taken in they are read again from the kept
    /// events.
    async fn hear(&mut self, first: Event) {
        let mut events = vec![first];
        while events.len() < BATCH
            && let Ok(event) = self.bus.try_recv()
        {
            events.push(event);
        }
        if let Err(error) = self.take_all(&events).await {
            tracing::warn!(%error, "events are taken up again in a moment");
            self.catch_up_at = Some(clock::now() + PAUSE);
        }
    }

    async fn take_all(&mut self, events: &[Event]) -> Result<(), Error> {
        if events.iter().all(is_ours_or_nothing) {
            return Ok(());
        }
        let alerts = self.context.store.list::<Alert>(None).await?;
        // While older events have yet to be taken in, they are read from where they are.
        let mut batch = Batch::of(&self.records, self.catch_up_at.is_none());
        for event in events {
            self.take(event, &alerts, &mut batch).await?;
        }
        for (key, entry) in batch.commit().await? {
            self.health.put(&entry, clock::now());
            self.queues.add(key, entry);
        }
        Ok(())
    }

    /// Puts an entry into the outbox for each Alert that takes the event.
    async fn take(&mut self, event: &Event, alerts: &[Alert], batch: &mut Batch) -> Result<(), Error> {
        if is_ours_or_nothing(event) {
            return Ok(());
        }
        let mut about = None;
        let mut taken = Vec::new();
        for alert in alerts {
            if self.settings.no_cross_namespace_refs
                && alert.namespace().unwrap_or_default() != event.involved_object.reference.namespace
            {
                continue;
            }
            let is_older = alert
                .metadata
                .creation_timestamp
                .as_ref()
                .is_none_or(|created| created.0.as_second() <= event.timestamp.as_second());
            let labels =
                if needs_labels(alert, event) { labels(self.about(&mut about, event).await?) } else { BTreeMap::new() };
            let verdict = verdict(alert, event, &labels);
            self.health.heard(alert, &verdict, clock::now());
            for problem in verdict.problems {
                self.warn(&object::to_value(alert), "InvalidConfig", problem).await;
            }
            if verdict.takes && is_older {
                taken.push(alert);
            }
        }
        if taken.is_empty() || batch.is_repetition(event, self.settings.rate_limit).await? {
            return Ok(());
        }
        let facts = self.facts(&mut about, event).await?;
        let mut told = event.clone();
        for (key, value) in facts {
            told.metadata.entry(key).or_insert(value);
        }
        for alert in taken {
            let annotations = annotations(self.about(&mut about, event).await?);
            self.put(alert, &told, &annotations, batch).await?;
        }
        batch.remember(event);
        Ok(())
    }

    async fn put(
        &mut self,
        alert: &Alert,
        event: &Event,
        annotations: &BTreeMap<String, String>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let outgoing = outgoing(alert, event, annotations);
        let namespace = alert.namespace().unwrap_or_default();
        let entry =
            Entry::new(&namespace, &alert.name_any(), &alert.spec.provider_ref.name, outgoing.event, clock::now());
        let key = entry.key();
        if self.queues.holds(&key, &entry) || batch.knows(&key).await? {
            return Ok(());
        }
        if !outgoing.conflicts.is_empty() {
            let message =
                format!("metadata keys set twice, the stronger value is sent: {}", outgoing.conflicts.join(", "));
            self.warn(&object::to_value(alert), "MetadataAppendFailed", message).await;
        }
        batch.keep(key, entry);
        Ok(())
    }

    /// What is told of a Canary beside its event.
    async fn facts(&self, about: &mut Option<Value>, event: &Event) -> Result<BTreeMap<String, String>, Error> {
        if event.involved_object.reference.kind != "Canary" {
            return Ok(BTreeMap::new());
        }
        let canary = self.about(about, event).await?;
        Ok(canary_facts(&self.context.store, canary, self.settings.external_url.as_deref()).await)
    }

    /// The object that the event is about, looked up once.
    async fn about<'a>(&self, known: &'a mut Option<Value>, event: &Event) -> Result<&'a Value, Error> {
        if known.is_none() {
            *known = Some(self.context.store.find(&event.involved_object.reference).await?.unwrap_or_default());
        }
        Ok(known.get_or_insert(Value::Null))
    }

    /// Tells of a Provider whose type we cannot speak, when it appears and not only when something is to be sent.
    async fn look_at(&self, change: reconcile::Result<watcher::Event<Provider>>) {
        let Ok(watcher::Event::Apply(provider) | watcher::Event::InitApply(provider)) = change else { return };
        if let Err(error) = Service::of(&provider.spec.kind) {
            self.warn(&object::to_value(&provider), error.reason(), error.to_string()).await;
        }
    }

    async fn warn(&self, about: &Value, reason: &str, message: String) {
        if let Err(error) = self.context.events.publish(about, CONTROLLER, &Notice::error(reason, message)).await {
            tracing::warn!(%error, "event is not recorded");
        }
    }
}

/// Our own warnings would call for further ones; a trace says that nothing happened.
fn is_ours_or_nothing(event: &Event) -> bool {
    event.severity == Severity::Trace || event.reporting_controller == CONTROLLER
}
