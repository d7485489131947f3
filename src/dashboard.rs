//! The dashboard at `/`, and `/api/v1`, from which it and other programs learn where rollouts stand.
//!
//! Nothing is computed unless somebody is connected: [`live`] follows the store while there are streams, and for a minute
//! after the last one. All domain knowledge is `canary::report`'s.

mod actions;
mod answer;
mod events;
mod guard;
mod images;
mod live;
mod page;
mod rollouts;
mod series;
mod stream;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use axum::{Router, middleware, routing};
use canary::controller::Asker;
use reconcile::{Context, Metrics, Shutdown};
use tokio::sync::Semaphore;

use crate::{args::run::Dashboard as Mode, rollouts::Rollouts};
use live::Live;

/// Streams at the same time.
const MAX_STREAMS: usize = 64;
/// Answers that are being made at the same time: a page cannot crowd out the controllers.
const MAX_ANSWERS: usize = 8;

/// What the command line says about the dashboard.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether it is there, and whether it acts.
    pub mode: Mode,
    /// File with the tokens of those who may act.
    pub tokens: Option<PathBuf>,
    /// Where it is reached from outside.
    pub external_url: Option<String>,
    /// Name of the cluster.
    pub cluster: String,
}

/// What every answer is made of.
struct Dashboard {
    options: Options,
    context: Context,
    rollouts: Rollouts,
    live: Live,
    shutdown: Shutdown,
    streams: Arc<Semaphore>,
    answers: Semaphore,
    asker: OnceLock<Asker>,
    asker_options: canary::controller::Options,
    asked: actions::Asked,
    guard: guard::Guard,
}

impl Dashboard {
    /// Asks metrics services as the controller does; made when somebody first looks at a query.
    fn asker(&self) -> &Asker {
        self.asker.get_or_init(|| {
            // Its numbers are not the controller's.
            let context = Context { metrics: Metrics::default(), ..self.context.clone() };
            Asker::new(context, self.asker_options.clone())
        })
    }
}

/// The pages, on a server that listens at `address`.
pub fn routes(
    options: Options,
    address: SocketAddr,
    context: &Context,
    canary: canary::controller::Options,
    shutdown: Shutdown,
) -> Router {
    if options.mode == Mode::Off {
        return Router::new();
    }
    let rollouts = Rollouts::new(context.store.clone(), canary.router());
    let guard = guard::Guard::new(&options, address);
    let dashboard = Arc::new(Dashboard {
        live: Live::new(context.clone(), rollouts.clone(), shutdown.clone()),
        rollouts,
        context: context.clone(),
        shutdown,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        answers: Semaphore::new(MAX_ANSWERS),
        asker: OnceLock::new(),
        asker_options: canary,
        asked: actions::Asked::default(),
        guard: guard.clone(),
        options,
    });
    let api = Router::new()
        .route("/overview", routing::get(rollouts::overview))
        .route("/rollouts", routing::get(rollouts::list))
        .route("/rollouts/{ns}/{name}", routing::get(rollouts::one))
        .route("/rollouts/{ns}/{name}/runs", routing::get(rollouts::runs))
        .route("/rollouts/{ns}/{name}/runs/{run}", routing::get(rollouts::run))
        .route("/rollouts/{ns}/{name}/runs/{run}/series", routing::get(series::series))
        .route("/rollouts/{ns}/{name}/actions/{action}", routing::post(actions::act))
        .route("/images", routing::get(images::list))
        .route("/images/{ns}/{name}", routing::get(images::one))
        .route("/events", routing::get(events::list))
        .route("/stream", routing::get(stream::stream))
        .fallback(answer::unknown);
    Router::new()
        .nest("/api/v1", api)
        .merge(page::routes())
        .with_state(dashboard)
        .layer(middleware::from_fn_with_state(guard, guard::check))
}
