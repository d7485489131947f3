//! Whose turn it is: no object runs twice at the same time, what happens to it meanwhile makes it run once more, who has
//! waited longest goes first, and no more run at once than may.
//!
//! In the place of kube-runtime's `applier`, which takes any of those that wait, looks at all runs whenever one of them
//! moves, and begins each a millisecond or two late, that being the grain of its timer.

use std::{
    collections::{HashMap, VecDeque},
    future,
    panic::resume_unwind,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::task::JoinSet;
use tokio_util::time::{DelayQueue, delay_queue};

use crate::Object;

/// The longest that the timer can wait is little more than two years.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What an object waits for.
enum Stage {
    /// Its time; `soon`: only for things to settle.
    Later { key: delay_queue::Key, soon: bool },
    /// Its turn.
    Ready,
    /// The end of its run; `again`: another one must follow at once.
    Running { again: bool },
}

/// The objects of a loop that wait for something or run.
struct Turns<Id> {
    stages: HashMap<Id, Stage>,
    ready: VecDeque<Id>,
    later: DelayQueue<Id>,
    running: usize,
    most: usize,
    /// How long after something happened a run begins.
    settle: Duration,
}

impl<Id: Clone + Eq + std::hash::Hash> Turns<Id> {
    fn new(most: usize, settle: Duration) -> Self {
        Self { stages: HashMap::new(), ready: VecDeque::new(), later: DelayQueue::new(), running: 0, most, settle }
    }

    /// Something happened to an object: it is to run as soon as it may.
    fn wake(&mut self, id: Id) {
        match self.stages.get_mut(&id) {
            Some(Stage::Ready | Stage::Later { soon: true, .. }) => return,
            Some(Stage::Running { again }) => {
                *again = true;
                return;
            }
            Some(Stage::Later { key, .. }) => {
                self.later.remove(key);
            }
            None => {}
        }
        match self.settle.is_zero() {
            true => self.is_ready(id),
            false => self.is_due(id, self.settle, true),
        }
    }

    /// The next object whose time has come, which then is ready; never ends while none waits for its time.
    async fn ripen(&mut self) {
        match self.later.next().await {
            Some(expired) => self.is_ready(expired.into_inner()),
            None => future::pending().await,
        }
    }

    fn is_due(&mut self, id: Id, wait: Duration, soon: bool) {
        let key = self.later.insert(id.clone(), wait.min(LONGEST));
        self.stages.insert(id, Stage::Later { key, soon });
    }

    fn is_ready(&mut self, id: Id) {
        self.stages.insert(id.clone(), Stage::Ready);
        self.ready.push_back(id);
    }

    /// The object whose turn it is, if one may run. It runs from now on.
    fn begin(&mut self) -> Option<Id> {
        if self.running >= self.most {
            return None;
        }
        let id = self.ready.pop_front()?;
        self.running += 1;
        self.stages.insert(id.clone(), Stage::Running { again: false });
        Some(id)
    }

    /// A run has ended; the next one is due after `wait`, or when something happens.
    fn end(&mut self, id: Id, wait: Option<Duration>) {
        self.running -= 1;
        match (self.stages.remove(&id), wait) {
            (Some(Stage::Running { again: true }), _) => self.wake(id),
            (_, Some(wait)) => self.is_due(id, wait, false),
            (_, None) => {}
        }
    }
}

/// Runs objects as they are triggered and as their time comes, at most so many at once. A run tells after what time the next
/// one is due. When the triggers end no run begins any more, and those under way are awaited. Where several watches tell of one
/// change, each in its time, `settle` lets the others catch up before the run that one of them triggers.
pub(super) async fn take<K: Object, Run>(
    cache: Store<K>,
    mut triggers: impl Stream<Item = ObjectRef<K>> + Unpin,
    (most, settle): (u16, Duration),
    run: impl Fn(Arc<K>) -> Run,
    gone: impl Fn(&ObjectRef<K>),
) where
    Run: Future<Output = Option<Duration>> + Send + 'static,
{
    let mut turns = Turns::new(usize::from(most), settle);
    let mut runs = JoinSet::new();
    let (mut is_open, mut is_filled) = (true, false);
    let filled = cache.wait_until_ready();
    let mut filled = std::pin::pin!(filled);
    loop {
        while is_open
            && is_filled
            && let Some(id) = turns.begin()
        {
            let Some(object) = cache.get(&id) else {
                gone(&id);
                turns.end(id, None);
                continue;
            };
            let run = run(object);
            runs.spawn(async move { (id, run.await) });
        }
        tokio::select! {
            Some(ended) = runs.join_next() => match ended {
                Ok((id, wait)) => turns.end(id, wait),
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                // The runtime ends.
                Err(_) => return,
            },
            trigger = triggers.next(), if is_open => match trigger {
                Some(id) => turns.wake(id),
                None => is_open = false,
            },
            () = turns.ripen(), if is_open => {}
            _ = &mut filled, if is_open && !is_filled => is_filled = true,
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::store::Writer;

    use super::*;

    fn all(turns: &mut Turns<char>) -> String {
        std::iter::from_fn(|| turns.begin()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_longest_goes_first_and_only_so_many_at_once() {
        let mut turns = Turns::new(2, Duration::ZERO);
        "abcab".chars().for_each(|id| turns.wake(id));
        assert_eq!(all(&mut turns), "ab");
        turns.end('b', None);
        turns.wake('d');
        assert_eq!(all(&mut turns), "c");
        turns.end('a', None);
        turns.end('c', None);
        assert_eq!(all(&mut turns), "d");
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_during_a_run_starts_one_more_and_only_one() {
        let mut turns = Turns::new(4, Duration::ZERO);
        turns.wake('a');
        assert_eq!(all(&mut turns), "a");
        turns.wake('a');
        turns.wake('a');
        assert_eq!(all(&mut turns), "", "an object runs alone");
        turns.end('a', Some(Duration::from_secs(60)));
        assert_eq!(all(&mut turns), "a");
        turns.end('a', None);
        assert_eq!(all(&mut turns), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_comes_once_and_is_forgotten_when_something_happens_before() {
        let mut turns = Turns::new(1, Duration::ZERO);
        for id in ['a', 'b'] {
            turns.wake(id);
            assert_eq!(all(&mut turns), id.to_string());
            turns.end(id, Some(Duration::from_secs(if id == 'a' { 60 } else { u64::MAX })));
        }
        turns.wake('b');
        assert_eq!(all(&mut turns), "b");
        turns.end('b', None);
        let start = crate::clock::instant();
        turns.ripen().await;
        assert!((60..62).contains(&start.elapsed().as_secs()));
        assert_eq!(all(&mut turns), "a");
        turns.end('a', None);
        let more = tokio::time::timeout(Duration::from_secs(10_000), turns.ripen()).await;
        assert!(more.is_err(), "nobody waits for a time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_happening_does_not_put_a_run_off() {
        let mut turns = Turns::new(1, Duration::from_millis(50));
        let start = crate::clock::instant();
        for _ in 0..3 {
            turns.wake('a');
            assert_eq!(all(&mut turns), "");
            crate::clock::sleep(Duration::from_millis(10)).await;
        }
        turns.ripen().await;
        assert!((50..60).contains(&start.elapsed().as_millis()));
        assert_eq!(all(&mut turns), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_ends_though_its_kind_was_never_listed() {
        let writer = Writer::<ConfigMap>::new(());
        let triggers = stream::iter([ObjectRef::new("a").within("n")]);
        let gone = |id: &ObjectRef<ConfigMap>| panic!("{id} was looked for");
        let ends = take(writer.as_reader(), triggers, (1, Duration::ZERO), |_| async { None }, gone);
        tokio::time::timeout(Duration::from_secs(60), ends).await.expect("an end");
    }
}
