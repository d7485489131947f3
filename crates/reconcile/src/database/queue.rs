//! Work done one piece after the other on one thread of the pool, which is given back when nothing is left.
//!
//! A lock would have each caller wait on a thread of its own, or, where it is an asynchronous one, let a caller that is
//! not polled keep all others waiting. Here a caller holds nothing.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_served: bool,
}

/// Serves the queue; dropped unrun, as by a runtime that ends, it lets go of the jobs, whose callers are told so.
struct Server {
    queue: Arc<Queue>,
    is_done: bool,
}

impl Queue {
    /// What the work gave, or how it panicked. `None` if the runtime ends before.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<Result<T, Box<dyn Any + Send>>> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move || {
            // Nobody waits any more: the work is done all the same.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        self.add(job);
        receiver.await.ok()
    }

    /// Has work done that nobody waits for. A panic in it is its own.
    pub fn start(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        self.add(Box::new(move || drop(catch_unwind(AssertUnwindSafe(work)))));
    }

    fn add(self: &Arc<Self>, job: Job) {
        #[cfg(feature = "simulation")]
        let job: Job = Box::new(crate::simulation::carried(job));
        if self.push(job) {
            let server = Server { queue: Arc::clone(self), is_done: false };
            tokio::task::spawn_blocking(move || server.serve());
        }
    }

    /// Whether nothing is done and nothing waits.
    pub fn is_idle(&self) -> bool {
        !self.state().is_served
    }

    /// Whether somebody must be found to serve.
    fn push(&self, job: Job) -> bool {
        let mut state = self.state();
        state.jobs.push_back(job);
        !std::mem::replace(&mut state.is_served, true)
    }

    /// The next job; without one, nobody serves any more.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let job = state.jobs.pop_front();
        state.is_served = job.is_some();
        job
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    fn serve(mut self) {
        while let Some(job) = self.queue.next() {
            job();
        }
        // Whoever comes from now on finds a server of its own.
        self.is_done = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_done {
            let jobs = {
                let mut state = self.queue.state();
                state.is_served = false;
                std::mem::take(&mut state.jobs)
            };
            drop(jobs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_and_a_panic_is_its_callers_alone() {
        let queue = Arc::new(Queue::default());
        let done = Arc::new(Mutex::new(Vec::new()));
        let work = (0..50).map(|number| {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            async move {
                let work = move || {
                    assert!(number != 7, "seven");
                    done.lock().unwrap().push(number);
                    number
                };
                queue.run(work).await
            }
        });
        let outcomes = futures::future::join_all(work).await;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.unwrap().ok(), (number != 7).then_some(number));
        }
        assert!(done.lock().unwrap().is_sorted());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_or_is_not_polled_keeps_nobody_waiting() {
        let queue = Arc::new(Queue::default());
        let (go, waits) = std::sync::mpsc::channel();
        let mut asleep = Box::pin(queue.run(move || waits.recv().map_or(0, |()| 1)));
        assert!(futures::poll!(&mut asleep).is_pending());
        go.send(()).unwrap();
        drop(Box::pin(queue.run(|| 2)));
        assert_eq!(queue.run(|| 3).await.unwrap().ok(), Some(3));
        assert_eq!(asleep.await.unwrap().ok(), Some(1));
    }

    #[test]
    fn a_runtime_that_ends_leaves_a_queue_that_works() {
        let queue = Arc::new(Queue::default());
        drop(Server { queue: Arc::clone(&queue), is_done: false });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(queue.run(|| 4)).unwrap().ok(), Some(4));
    }
}
