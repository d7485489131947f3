//! The shell: events come from the bus, go into the outbox, and from there to the Providers' services.
//!
//! An event is put into the outbox before anything is sent, and marked there afterwards. What happened while we were
//! away is read from the store's kept events, so a restart loses nothing; keys that stay the same keep it from repeating.

mod records;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::{
    meta::EVENT_ANNOTATION_PREFIX,
    notification::{Alert, Provider},
};
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use http::HeaderValue;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Context, Event, Notice, Severity, Shutdown, clock, object, store::EventFilter, watcher};
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use records::Records;

pub use records::OUTBOX;

use crate::{
    CONTROLLER, Error,
    alert::{needs_labels, outgoing, verdict},
    outbox::{Entry, State},
    provider::{self, Secrets, Service},
};

/// Events may come in another order than their times say.
const OVERLAP: Duration = Duration::from_secs(10);
/// Older events are no news after a restart.
const NEWS: Duration = Duration::from_secs(3600);
/// Wait before the store is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// How long what is being sent may take when the process ends.
const GRACE: Duration = Duration::from_secs(5);
/// Services that are talked to at once.
const CONCURRENCY: usize = 8;

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long the repetition of an event is dropped. Flux: `--rate-limit-interval`.
    pub rate_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate_limit: Duration::from_secs(300) }
    }
}

/// The controller of Alerts and Providers.
pub struct Notification {
    context: Context,
    records: Records,
    settings: Settings,
    bus: Receiver<Event>,
    pending: BTreeMap<String, Entry>,
    /// Providers that are being talked to: one message at a time, in order.
    busy: BTreeSet<(String, String)>,
    /// When the kept events are read again after a failure.
    catch_up_at: Option<jiff::Timestamp>,
    /// When old records are dropped.
    tidy_at: jiff::Timestamp,
}

/// A try that ended.
struct Tried {
    key: String,
    entry: Entry,
    outcome: Result<(), Error>,
}

type Sending = FuturesUnordered<BoxFuture<'static, Tried>>;

impl Notification {
    /// A controller that hears every event published from now on.
    pub fn new(context: Context, settings: Settings) -> Self {
        let bus = context.events.subscribe();
        let records = Records(context.store.database().clone());
        Self {
            context,
            records,
            settings,
            bus,
            pending: BTreeMap::new(),
            busy: BTreeSet::new(),
            catch_up_at: None,
            tidy_at: clock::now(),
        }
    }

    /// Runs until the shutdown; then finishes what is being sent.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut providers = self.context.store.watch::<Provider>();
        let mut sending = Sending::new();
        self.catch_up().await;
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
                Ok(event) => self.hear(&event).await,
                Err(RecvError::Lagged(_)) => self.catch_up().await,
                // The process ends: the sender is gone before the shutdown reached us.
                Err(RecvError::Closed) => shutdown.cancelled().await,
            },
            Some(change) = providers.next() => self.look_at(change).await,
            () = clock::sleep(wait) => {
                let now = clock::now();
                if self.catch_up_at.is_some_and(|at| at <= now) {
                    self.catch_up().await;
                }
                if self.tidy_at <= now {
                    self.tidy(now).await;
                }
            }
        }
    }

    /// Time until something is due.
    fn wait(&self) -> Duration {
        let idle = self.pending.values().filter(|entry| !self.busy.contains(&destination(entry)));
        let next = idle.map(|entry| entry.due).chain(self.catch_up_at).fold(self.tidy_at, std::cmp::min);
        next.duration_since(clock::now()).try_into().unwrap_or_default()
    }

    /// Starts the first due entry of each Provider that is not being talked to.
    fn start_due(&mut self, sending: &mut Sending) {
        let now = clock::now();
        for (key, entry) in &self.pending {
            let destination = destination(entry);
            if sending.len() >= CONCURRENCY || entry.due > now || self.busy.contains(&destination) {
                continue;
            }
            self.busy.insert(destination);
            let (context, key, entry) = (self.context.clone(), key.clone(), entry.clone());
            sending.push(Box::pin(async move {
                let outcome = send(&context, &key, &entry).await;
                Tried { key, entry, outcome }
            }));
        }
    }

    /// Marks what came of a try.
    async fn ended(&mut self, Tried { key, entry, outcome }: Tried) {
        self.busy.remove(&destination(&entry));
        let now = clock::now();
        let entry = match &outcome {
            Ok(()) => entry.sent(now),
            Err(error) => entry.failed(error.is_transient(), now),
        };
        if let Err(error) = self.records.keep(&key, &entry).await {
            tracing::warn!(%error, "the outcome of a notification is not kept");
        }
        match entry.state {
            State::Pending => self.pending.insert(key, entry.clone()),
            State::Sent | State::Failed => self.pending.remove(&key),
        };
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

    async fn tidy(&mut self, now: jiff::Timestamp) {
        self.tidy_at = now + NEWS;
        if let Err(error) = self.records.tidy(now).await {
            tracing::warn!(%error, "old notifications are not dropped");
        }
    }

    /// Reads the outbox and the events that were kept since it was last looked at. A failure is taken up again later.
    async fn catch_up(&mut self) {
        self.catch_up_at = None;
        if let Err(error) = self.try_catch_up().await {
            tracing::warn!(%error, "events are read again in a moment");
            self.catch_up_at = Some(clock::now() + PAUSE);
        }
    }

    async fn try_catch_up(&mut self) -> Result<(), Error> {
        for (key, entry) in self.records.pending().await? {
            self.pending.entry(key).or_insert(entry);
        }
        let now = clock::now();
        let Some(cursor) = self.records.cursor().await? else {
            // The first start: what happened before was nobody's to tell.
            return self.records.move_cursor(now).await;
        };
        let since = std::cmp::max(cursor, now - NEWS) - OVERLAP;
        for event in self.context.store.events(&EventFilter::default()).await? {
            if event.timestamp >= since {
                self.take(&event).await?;
            }
        }
        Ok(())
    }

    /// An event from the bus. If it cannot be taken in it is read again from the kept events.
    async fn hear(&mut self, event: &Event) {
        if let Err(error) = self.take(event).await {
            tracing::warn!(%error, "event is taken up again in a moment");
            self.catch_up_at = Some(clock::now() + PAUSE);
        }
    }

    /// Puts an entry into the outbox for each Alert that takes the event.
    async fn take(&mut self, event: &Event) -> Result<(), Error> {
        // Our own warnings would otherwise call for further ones.
        if event.severity == Severity::Trace || event.reporting_controller == CONTROLLER {
            return Ok(());
        }
        let mut about = None;
        let mut taken = Vec::new();
        for alert in self.context.store.list::<Alert>(None).await? {
            let is_older = alert
                .metadata
                .creation_timestamp
                .as_ref()
                .is_none_or(|created| created.0.as_second() <= event.timestamp.as_second());
            let labels = if needs_labels(&alert, event) {
                labels(self.about(&mut about, event).await?)
            } else {
                BTreeMap::new()
            };
            let verdict = verdict(&alert, event, &labels);
            for problem in verdict.problems {
                self.warn(&object::to_value(&alert), "InvalidConfig", problem).await;
            }
            if verdict.takes && is_older {
                taken.push(alert);
            }
        }
        if taken.is_empty() || self.records.is_repetition(event, self.settings.rate_limit).await? {
            return Ok(());
        }
        for alert in taken {
            let annotations = annotations(self.about(&mut about, event).await?);
            self.put(&alert, event, &annotations).await?;
        }
        self.records.remember(event).await?;
        self.records.move_cursor(event.timestamp).await
    }

    async fn put(&mut self, alert: &Alert, event: &Event, annotations: &BTreeMap<String, String>) -> Result<(), Error> {
        let outgoing = outgoing(alert, event, annotations);
        let namespace = alert.namespace().unwrap_or_default();
        let entry =
            Entry::new(&namespace, &alert.name_any(), &alert.spec.provider_ref.name, outgoing.event, clock::now());
        let key = entry.key();
        if self.pending.contains_key(&key) || self.records.knows(&key).await? {
            return Ok(());
        }
        if !outgoing.conflicts.is_empty() {
            let message =
                format!("metadata keys set twice, the stronger value is sent: {}", outgoing.conflicts.join(", "));
            self.warn(&object::to_value(alert), "MetadataAppendFailed", message).await;
        }
        self.records.keep(&key, &entry).await?;
        self.pending.insert(key, entry);
        Ok(())
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

/// One try: Provider and Secrets are read anew, so that a mended one helps what is waiting.
async fn send(context: &Context, key: &str, entry: &Entry) -> Result<(), Error> {
    let found = context.store.get::<Provider>(&entry.namespace, &entry.provider).await?;
    let provider = found.ok_or_else(|| Error::Missing(format!("Provider {}/{}", entry.namespace, entry.provider)))?;
    if provider.spec.suspend {
        return Ok(());
    }
    let spec = &provider.spec;
    Service::of(&spec.kind)?;
    let main = secret(context, &entry.namespace, spec.secret_ref.as_ref()).await?;
    let certificate = secret(context, &entry.namespace, spec.cert_secret_ref.as_ref()).await?;
    let proxy = secret(context, &entry.namespace, spec.proxy_secret_ref.as_ref()).await?;
    let secrets = Secrets { main: main.as_ref(), certificate: certificate.as_ref(), proxy: proxy.as_ref() };
    let settings = provider::Settings::read(spec, secrets)?;
    if !settings.service.takes(&entry.event) {
        return Ok(());
    }
    let mut request = provider::message(&settings, &entry.event)?;
    if let (Service::Generic | Service::GenericHmac, Ok(key)) = (settings.service, HeaderValue::from_str(key)) {
        // A try whose answer was lost can be told from a second event.
        request.headers_mut().insert("idempotency-key", key);
    }
    let answer = context.http.send(request, &settings.endpoint).await?;
    provider::answered(&settings, &answer)
}

async fn secret(
    context: &Context,
    namespace: &str,
    reference: Option<&api::meta::LocalReference>,
) -> Result<Option<Secret>, Error> {
    let Some(reference) = reference else { return Ok(None) };
    let found = context.store.get::<Secret>(namespace, &reference.name).await?;
    found.map(Some).ok_or_else(|| Error::Missing(format!("Secret {namespace}/{}", reference.name)))
}

fn destination(entry: &Entry) -> (String, String) {
    (entry.namespace.clone(), entry.provider.clone())
}

fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object.pointer(pointer).and_then(|map| serde_json::from_value(map.clone()).ok()).unwrap_or_default()
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    texts(object, "/metadata/labels")
}

/// The object's annotations that travel with its events, without their prefix.
fn annotations(object: &Value) -> BTreeMap<String, String> {
    let all = texts(object, "/metadata/annotations").into_iter();
    all.filter_map(|(key, value)| Some((key.strip_prefix(EVENT_ANNOTATION_PREFIX)?.to_owned(), value))).collect()
}
