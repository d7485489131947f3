//! How the loops keep up, under the names of client-go's work queues and controller-runtime's workers.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::ControllerLabels;
use crate::clock;

/// Labels of a queue's series: twice its kind in lower case, as controller-runtime names both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    name: String,
    controller: String,
}

type Waits = Family<QueueLabels, Histogram, fn() -> Histogram>;

/// The series of all loops. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    depth: Family<QueueLabels, Gauge>,
    adds: Family<QueueLabels, Counter>,
    retries: Family<QueueLabels, Counter>,
    waits: Waits,
    work: Waits,
    active: Family<ControllerLabels, Gauge>,
    most: Family<ControllerLabels, Gauge>,
}

/// The series of one loop.
#[derive(Clone, Debug)]
pub struct Queue {
    depth: Gauge,
    adds: Counter,
    retries: Counter,
    waits: Histogram,
    work: Histogram,
    active: Gauge,
}

/// One run under way; it ends when this goes.
#[derive(Debug)]
#[must_use]
pub struct Working {
    work: Histogram,
    active: Gauge,
    begun: tokio::time::Instant,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.active.dec();
        self.work.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// client-go's buckets: powers of ten, here from a microsecond on.
fn histogram() -> Histogram {
    Histogram::new((-6..=3).map(|power| 10.0_f64.powi(power)))
}

impl Queues {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = || Family::new_with_constructor(histogram as fn() -> Histogram);
        let this = Self {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waits: new(),
            work: new(),
            active: Family::default(),
            most: Family::default(),
        };
        registry.register("workqueue_depth", "Current depth of workqueue", this.depth.clone());
        registry.register("workqueue_adds", "Total number of adds handled by workqueue", this.adds.clone());
        registry.register("workqueue_retries", "Total number of retries handled by workqueue", this.retries.clone());
        let help = "How long in seconds an item stays in workqueue before being requested";
        registry.register("workqueue_queue_duration_seconds", help, this.waits.clone());
        let help = "How long in seconds processing an item from workqueue takes";
        registry.register("workqueue_work_duration_seconds", help, this.work.clone());
        let help = "Number of currently used workers per controller";
        registry.register("controller_runtime_active_workers", help, this.active.clone());
        let help = "Maximum number of concurrent reconciles per controller";
        registry.register("controller_runtime_max_concurrent_reconciles", help, this.most.clone());
        this
    }

    /// The series of the loop of this kind, which works on so many objects at once.
    pub(super) fn of(&self, kind: &str, concurrency: u16) -> Queue {
        let controller = kind.to_lowercase();
        let queue = QueueLabels { name: controller.clone(), controller: controller.clone() };
        let worker = ControllerLabels { controller };
        self.most.get_or_create(&worker).set(i64::from(concurrency));
        Queue {
            depth: self.depth.get_or_create_owned(&queue),
            adds: self.adds.get_or_create_owned(&queue),
            retries: self.retries.get_or_create_owned(&queue),
            waits: self.waits.get_or_create_owned(&queue),
            work: self.work.get_or_create_owned(&queue),
            active: self.active.get_or_create_owned(&worker),
        }
    }
}

impl Queue {
    /// One more object waits.
    pub(crate) fn joined(&self) {
        self.adds.inc();
    }

    /// So many objects wait now.
    pub(crate) fn is_long(&self, depth: usize) {
        self.depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// A run begins that was waited for so long.
    pub(crate) fn left(&self, waited_seconds: f64) -> Working {
        self.waits.observe(waited_seconds);
        self.active.inc();
        Working { work: self.work.clone(), active: self.active.clone(), begun: clock::instant() }
    }

    /// A run failed and is tried again.
    pub(crate) fn retried(&self) {
        self.retries.inc();
    }
}
