//! How pods and objects ask for new routes, and wait until these are in effect. Many requests become one run.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// Requests for new routes.
#[derive(Debug)]
pub struct Refresh {
    requested: AtomicU64,
    wake: Notify,
    served: watch::Sender<u64>,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { requested: AtomicU64::new(0), wake: Notify::new(), served: watch::Sender::new(0) }
    }
}

impl Refresh {
    /// Asks for new routes; returns the number of the request.
    pub fn request(&self) -> u64 {
        let number = self.requested.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        number
    }

    /// Asks for new routes and waits until they are in effect.
    pub async fn done(&self) {
        let mut served = self.served.subscribe();
        let number = self.request();
        // The sender lives as long as we do.
        let _ = served.wait_for(|served| *served >= number).await;
    }

    /// Waits for a request; returns the number of the latest.
    pub async fn asked(&self) -> u64 {
        loop {
            let number = self.requested.load(Ordering::SeqCst);
            if number > *self.served.borrow() {
                return number;
            }
            self.wake.notified().await;
        }
    }

    /// Notes that all requests up to this number are in effect.
    pub fn serve(&self, number: u64) {
        self.served.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn requests_wait_for_a_run_that_began_after_them() {
        let refresh = Arc::new(Refresh::default());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let refresh = refresh.clone();
                tokio::spawn(async move { refresh.done().await })
            })
            .collect();
        let mut served = 0;
        while served < 3 {
            served = refresh.asked().await;
            refresh.serve(served);
            tokio::task::yield_now().await;
        }
        for waiting in waiting {
            waiting.await.unwrap();
        }
    }
}
