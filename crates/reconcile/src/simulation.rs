//! Plans for tests: number the effects of a run, and fail, delay or cut the k-th one, under virtual time.
//!
//! A plan belongs to a thread, as a simulated world runs on one single-threaded runtime.

pub mod clouds;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::Duration,
};

use tokio::sync::Notify;

use crate::effect::{Fault, Site};

/// What happens to an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It happens.
    Pass,
    /// The world stops before it: it does not happen, and nothing after it does.
    CutBefore,
    /// It happens, and nothing after it does.
    CutAfter,
    /// It does not happen, and the caller sees an error.
    Fail,
    /// It happens, but the caller sees an error: an answer that was lost.
    LoseAnswer,
    /// It happens after this much virtual time.
    Delay(Duration),
}

/// One effect of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Its number in the run, from 1.
    pub number: u64,
    /// Its kind.
    pub site: Site,
    /// What it is done on.
    pub key: String,
}

type Judge = Rc<dyn Fn(&Occurrence) -> Verdict>;

struct Plan {
    judge: Judge,
    count: u64,
    start: (jiff::Timestamp, tokio::time::Instant),
    seed: u64,
    is_apart: bool,
    stopped: Rc<Notify>,
}

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
    /// The virtual time of who waits for this thread's work.
    static CARRIED: Cell<Option<jiff::Timestamp>> = const { Cell::new(None) };
}

/// Work for another thread, which then has the virtual time of this one.
pub(crate) fn carried(work: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
    let now = now();
    move || {
        let before = CARRIED.replace(now);
        work();
        CARRIED.set(before);
    }
}

/// Takes the plan off the thread when dropped.
#[derive(Debug)]
pub struct Guard {
    stopped: Rc<Notify>,
}

impl Guard {
    /// From here on each write is an effect of its own, also where one machine stores several in one transaction: as on a
    /// cluster, so that it can be cut between them.
    pub fn apart(&self) {
        PLAN.with_borrow_mut(|plan| plan.iter_mut().for_each(|plan| plan.is_apart = true));
    }

    /// Ends when the world has stopped at a cut; where the cut comes after the effect, once that has happened. It does not
    /// wait for time to pass: virtual time stands while any thread blocks, as on a lock that the cut task holds.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        PLAN.with_borrow_mut(|plan| *plan = None);
    }
}

/// Puts a plan on this thread. `start` is what the clock shows now; from here on it follows the runtime's paused time.
/// Must be called inside the runtime.
pub fn plan(start: jiff::Timestamp, judge: impl Fn(&Occurrence) -> Verdict + 'static) -> Guard {
    let stopped = Rc::new(Notify::new());
    let start = (start, tokio::time::Instant::now());
    let plan = Plan { judge: Rc::new(judge), count: 0, start, seed: 1, is_apart: false, stopped: Rc::clone(&stopped) };
    PLAN.with_borrow_mut(|slot| *slot = Some(plan));
    Guard { stopped }
}

/// The virtual time, if a plan is on this thread or on the one that it works for.
pub(crate) fn now() -> Option<jiff::Timestamp> {
    PLAN.with_borrow(|plan| plan.as_ref().map(|plan| plan.start.0 + plan.start.1.elapsed())).or(CARRIED.get())
}

/// The next number of a fixed sequence, if a plan is on this thread.
pub(crate) fn random() -> Option<u64> {
    PLAN.with_borrow_mut(|plan| {
        let plan = plan.as_mut()?;
        plan.seed = plan.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(plan.seed >> 11)
    })
}

/// Whether writes that belong together are effects of their own.
pub(crate) fn is_apart() -> bool {
    PLAN.with_borrow(|plan| plan.as_ref().is_some_and(|plan| plan.is_apart))
}

fn consult(site: Site, key: &str) -> Verdict {
    let found = PLAN.with_borrow_mut(|plan| {
        let plan = plan.as_mut()?;
        plan.count += 1;
        Some((plan.judge.clone(), Occurrence { number: plan.count, site, key: key.to_owned() }))
    });
    found.map_or(Verdict::Pass, |(judge, occurrence)| judge(&occurrence))
}

/// Stops the task that has come to a cut, and tells the plan's owner.
async fn stop<T>() -> T {
    PLAN.with_borrow(|plan| {
        if let Some(plan) = plan {
            plan.stopped.notify_one();
        }
    });
    std::future::pending().await
}

/// Lets an effect happen as the plan says.
pub(crate) async fn pass<T, E: From<Fault>>(
    site: Site,
    key: &str,
    f: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let fault = || E::from(Fault { site, key: key.to_owned() });
    match consult(site, key) {
        Verdict::Pass => f.await,
        Verdict::CutBefore => stop().await,
        Verdict::CutAfter => {
            let _ = f.await;
            stop().await
        }
        Verdict::Fail => Err(fault()),
        Verdict::LoseAnswer => {
            let _ = f.await;
            Err(fault())
        }
        Verdict::Delay(time) => {
            tokio::time::sleep(time).await;
            f.await
        }
    }
}
