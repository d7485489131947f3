//! The one loop: queue, one run per object at a time, retry, suspend, conditions, events, metrics, a span.
//!
//! A stage says what to do with one object ([`Reconciler`]); everything around it happens here, the same for every kind.

mod ending;
mod finalizer;
mod line;
mod memory;
mod outcome;
mod queue;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use api::meta::ObjectReference;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use kube::{Resource as _, runtime::reflector::ObjectRef};
use serde_json::{Value, json};
use tracing::Instrument as _;

pub use outcome::{Announce, Done, Failure, Retry};
pub use queue::{Concerned, fingerprint};
pub(crate) use status::invalid_status;

use self::{line::Line, memory::Memory};
use crate::{
    Context, Error, Object, backoff, clock, object,
    store::merge::merge_patch,
    telemetry::{Awaited, Ending, ObjectLabels},
};

/// Told when the process ends: no new run begins, those under way are finished.
pub type Shutdown = tokio_util::sync::CancellationToken;

/// The metadata of an object of a kind.
pub type Metadata<K> = kube::core::PartialObjectMeta<K>;

/// How long a run may take before the object says that work is under way. Most end earlier, and one write does.
const UNTOLD: Duration = Duration::from_secs(1);

/// On a cluster each watch tells in its own time. A run that one of them triggers lets the others catch up.
const SETTLE: Duration = Duration::from_millis(5);

/// The outcome of a run, or that it broke off.
type Unbroken = std::thread::Result<Result<Done, Failure>>;

/// An object at the beginning of its run.
enum Found {
    /// It is not there.
    Gone,
    /// It is as it was when it joined the queue.
    AsQueued,
    /// It is like this.
    Is(Value),
}

/// When an object runs again.
enum Next {
    /// When something happens to it.
    OnChange,
    /// After this time.
    After(Duration),
    /// Never: it is gone.
    Gone,
}

/// Who writes the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The loop, as Flux's controllers do: finalizer, Ready/Reconciling/Stalled, `observedGeneration`, handled requests.
    Flux,
    /// The reconciler itself; the loop queues, retries and measures.
    Own,
}

/// What a stage does with one object of its kind.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Kind: Object;
    /// Field manager and event source, spelled as the controller that Flux or Flagger users know.
    const CONTROLLER: &'static str;
    /// Who writes the conditions.
    const STYLE: Style = Style::Flux;
    /// When a success becomes an event.
    const ANNOUNCE: Announce = Announce::MessageChange;
    /// Whether objects carry Flux's finalizer, so that none goes before [`Reconciler::finalize`] ran. Where nothing is
    /// left behind it would only be one more write for each object; one that is there is taken off.
    const FINALIZES: bool = true;

    /// Whether `spec.suspend` is set: nothing is done then, nothing is written.
    fn suspended(&self, _object: &Self::Kind) -> bool {
        false
    }

    /// One run: brings the world in line with the object as it is now.
    fn reconcile(&self, object: Arc<Self::Kind>) -> impl Future<Output = Result<Done, Failure>> + Send;

    /// The object is being deleted; what it leaves behind is cleaned up before its finalizer goes.
    fn finalize(&self, _object: Arc<Self::Kind>) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// The object is gone. For what needs no finalizer: memory, processes, connections.
    fn removed(&self, _object: &Self::Kind) {}

    /// A change of this number starts a run. By default generation, request annotation, deletion; own-style kinds also
    /// labels and annotations.
    fn fingerprint(&self, object: &Self::Kind) -> u64 {
        queue::fingerprint(object, Self::STYLE)
    }
}

/// The loop for one kind.
pub struct Controller<R: Reconciler> {
    context: Context,
    reconciler: Arc<R>,
    queue: queue::Queue<R>,
    filled: Awaited,
    concurrency: u16,
}

impl<R: Reconciler> Controller<R> {
    /// A loop that runs `reconciler` for every object of its kind.
    pub fn new(context: Context, reconciler: R) -> Self {
        let reconciler = Arc::new(reconciler);
        let queue = queue::Queue::new(&context.store, reconciler.clone());
        let filled = context.metrics.readiness().wait_for();
        Self { context, reconciler, queue, filled, concurrency: 4 }
    }

    /// Most objects worked on at the same time; 4 unless told.
    #[must_use]
    pub fn concurrency(mut self, concurrency: u16) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Also runs objects when an object of another kind changes. The function gets that object before (none: it is new)
    /// and after (none: it is gone), and says which objects of the loop's kind that concerns.
    #[must_use]
    pub fn watches<Other: Object>(
        mut self,
        map: impl for<'a> Fn(Option<&'a Other>, Option<&'a Other>) -> Concerned<'a, R::Kind> + Send + 'static,
    ) -> Self {
        self.queue.watch(self.context.store.watch::<Other>(), map);
        self
    }

    /// The same for a kind of which many objects are there and little of each is looked at: the rest is taken away before
    /// they are kept.
    #[must_use]
    pub fn watches_part<Other: Object>(
        mut self,
        trim: fn(&mut Other),
        map: impl for<'a> Fn(Option<&'a Other>, Option<&'a Other>) -> Concerned<'a, R::Kind> + Send + 'static,
    ) -> Self {
        self.queue.watch(self.context.store.watch_part(trim), map);
        self
    }

    /// The same for a kind of which only metadata without annotations is looked at, so that its content is neither
    /// fetched nor kept.
    #[must_use]
    pub fn watches_metadata<Other: Object>(
        mut self,
        map: impl for<'a> Fn(Option<&'a Metadata<Other>>, Option<&'a Metadata<Other>>) -> Concerned<'a, R::Kind>
        + Send
        + 'static,
    ) -> Self {
        self.queue.watch(self.context.store.watch_metadata::<Other>(), map);
        self
    }

    /// Runs until told to stop, then finishes what is under way.
    pub async fn run(self, shutdown: Shutdown) {
        let (cache, triggers) = self.queue.into_stream(shutdown);
        let line = Arc::new(Line::new(self.context.metrics.queue(&R::Kind::kind(&()), self.concurrency)));
        let joining = line.clone();
        let triggers = triggers.inspect(move |id| joining.joins(id));
        let runner =
            Arc::new(Runner { context: self.context, reconciler: self.reconciler, memory: Memory::default(), line });
        let (filling, awaited) = (cache.clone(), self.filled);
        let filled = async move {
            if filling.wait_until_ready().await.is_ok() {
                awaited.came();
            }
        };
        let run = |object| {
            let runner = runner.clone();
            async move { runner.run(object).await }
        };
        let gone = |id: &ObjectRef<R::Kind>| {
            tracing::debug!(kind = %R::Kind::kind(&()), %id, "object left the queue");
            runner.forget(id.namespace.as_deref().unwrap_or_default(), &id.name);
        };
        let limits = (self.concurrency, if runner.context.store.is_standalone() { Duration::ZERO } else { SETTLE });
        futures::join!(turns::take(cache, triggers, limits, run, gone), filled);
    }
}

struct Runner<R: Reconciler> {
    context: Context,
    reconciler: Arc<R>,
    memory: Memory<R::Kind>,
    line: Arc<Line<R::Kind>>,
}

impl<R: Reconciler> Runner<R> {
    /// One run of one object, from a fresh look at it to the time after which it is due again; none: when something happens.
    async fn run(&self, queued: Arc<R::Kind>) -> Option<Duration> {
        let id = object::reference(&*queued);
        let span = tracing::info_span!("reconcile", kind = %id.kind, namespace = %id.namespace, name = %id.name);
        let labels = labels::<R::Kind>(&id.namespace, &id.name);
        let start = clock::instant();
        let _working = self.line.leaves(&queued);
        let action = async {
            match self.look(&queued, &id).await? {
                Found::Gone => Ok(Next::Gone),
                Found::AsQueued => self.step(queued.clone(), None).await,
                Found::Is(value) => self.step(Arc::new(object::from_value(&value)?), Some(value)).await,
            }
        }
        .instrument(span.clone())
        .await;
        self.context.metrics.observe_reconcile(&labels, start.elapsed().as_secs_f64());
        match action {
            Ok(Next::After(time)) => Some(time),
            Ok(Next::OnChange) => None,
            Ok(Next::Gone) => {
                self.forget(&id.namespace, &id.name);
                None
            }
            Err(error) => {
                self.context.metrics.count(&labels.kind, Ending::Error);
                span.in_scope(|| tracing::warn!(%error, "outcome could not be kept; the run is repeated"));
                Some(self.failed(&queued))
            }
        }
    }

    /// The object is gone.
    fn forget(&self, namespace: &str, name: &str) {
        let id = ObjectRef::new(name).within(namespace);
        self.line.gives_up(&id);
        self.memory.forget(&id);
        self.context.metrics.forget(&labels::<R::Kind>(namespace, name));
    }

    /// The object as it is now. On a cluster that may be a moment ago: what others change meanwhile starts another run.
    async fn look(&self, queued: &R::Kind, id: &ObjectReference) -> Result<Found, Error> {
        let store = &self.context.store;
        let found = match (queued.meta().deletion_timestamp.is_none(), &queued.meta().resource_version) {
            // Who writes the status itself has no use for the JSON form, and most often nothing has happened since.
            (true, Some(version)) if R::STYLE == Style::Own && store.is_at(id, version).await? => {
                return Ok(Found::AsQueued);
            }
            // The watch that queued it may be ahead of the one that tells what is known.
            (true, _) => match store.find_cached(id).await?.filter(|found| !is_older(found, queued)) {
                None => store.find(id).await?,
                found => found,
            },
            (false, _) => store.find(id).await?,
        };
        Ok(found.map_or(Found::Gone, Found::Is))
    }

    /// One run of an object; `value` is its JSON form, where it was read: always in Flux's style.
    async fn step(&self, object: Arc<R::Kind>, value: Option<Value>) -> Result<Next, Error> {
        if object.meta().deletion_timestamp.is_some() {
            return self.delete(object).await;
        }
        if self.reconciler.suspended(&object) {
            value.iter().for_each(|value| self.note(value));
            tracing::debug!("object is suspended");
            return Ok(Next::OnChange);
        }
        let (object, before, begun) = match (R::STYLE, value) {
            (Style::Flux, Some(value)) => match self.claim(&*object, value).await {
                Ok(claimed) => {
                    let is_same = object::version(&claimed) == object.meta().resource_version.as_deref();
                    let (before, begun) = begun(claimed);
                    let is_same = is_same && begun.is_none();
                    let object = if is_same { object } else { Arc::new(object::from_value(&before)?) };
                    (object, Some(before), begun)
                }
                // Deleted meanwhile.
                Err(Error::NotFound(_)) => return Ok(Next::Gone),
                Err(error) => return Err(error),
            },
            (_, value) => (object, value, None),
        };
        let outcome = self.telling(&object, begun).await.unwrap_or_else(|_| {
            Err(Failure::new("Failed", "the run broke off: this is a defect of slipway; the log tells where"))
        });
        self.keep(&*object, before, &outcome).await?;
        Ok(self.next(&object, &outcome))
    }

    /// The run of a stage. On the heap: it is large, and a worker's stack is small.
    fn reconciling(&self, object: Arc<R::Kind>) -> BoxFuture<'_, Unbroken> {
        AssertUnwindSafe(self.reconciler.reconcile(object)).catch_unwind().boxed()
    }

    /// Awaits a run. Where it takes a while, the object says meanwhile that work is under way.
    async fn telling(&self, object: &Arc<R::Kind>, begun: Option<Value>) -> Unbroken {
        let mut run = self.reconciling(object.clone());
        let Some(begun) = begun else { return run.await };
        tokio::select! {
            biased;
            outcome = &mut run => return outcome,
            () = clock::sleep(UNTOLD) => {}
        }
        let (outcome, told) = tokio::join!(run, self.tell(object, &begun));
        if let Err(error) = told {
            tracing::debug!(%error, "object does not say that work is under way");
        }
        outcome
    }

    /// Says that work is under way, unless the reconciler itself has said more since.
    async fn tell(&self, object: &R::Kind, begun: &Value) -> Result<(), Error> {
        let (id, version) = (object::reference(object), object.meta().resource_version.as_deref());
        let found = self.context.store.find_cached(&id).await?.unwrap_or_default();
        if object::version(&found) == version {
            self.context.store.write_status(&id, R::CONTROLLER, begun).await?;
        }
        Ok(())
    }

    /// Takes note of an object for the scraper. Kinds that write their own status bring their own numbers.
    fn note(&self, object: &Value) {
        if R::STYLE == Style::Flux {
            self.context.metrics.note(object);
        }
    }

    fn next(&self, object: &R::Kind, outcome: &Result<Done, Failure>) -> Next {
        match outcome {
            Ok(done) => {
                self.memory.forget(&ObjectRef::from_obj(object));
                done.requeue.map_or(Next::OnChange, Next::After)
            }
            Err(Failure { retry: Retry::After(time) | Retry::Unsaid(time), .. }) => Next::After(*time),
            Err(Failure { retry: Retry::Never, .. }) => Next::OnChange,
            Err(Failure { retry: Retry::Backoff, .. }) => Next::After(self.failed(object)),
        }
    }

    /// Counts a failure and says how long to wait.
    fn failed(&self, object: &R::Kind) -> Duration {
        self.line.is_retried();
        backoff::delay(self.memory.failed(object), clock::random())
    }
}

/// The object as the scraper knows it.
fn labels<K: Object>(namespace: &str, name: &str) -> ObjectLabels {
    ObjectLabels { kind: K::kind(&()).into_owned(), name: name.to_owned(), namespace: namespace.to_owned() }
}

/// Whether an object is of an earlier version than that.
fn is_older<K: Object>(found: &Value, than: &K) -> bool {
    let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
    number(object::version(found)) < number(than.meta().resource_version.as_deref())
}

/// The object as a run finds it, and the status that says that work is under way: none where the last outcome still holds.
fn begun(mut object: Value) -> (Value, Option<Value>) {
    let status = status::begun(&object, clock::now());
    if let Some(status) = &status {
        merge_patch(&mut object, &json!({ "status": status }));
    }
    (object, status)
}
