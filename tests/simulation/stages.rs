//! The controllers as `slipway run` starts them, without the part that runs processes.

use std::path::Path;

use futures::{FutureExt as _, future::BoxFuture};
use reconcile::{Context, Shutdown};

/// Every stage, each a task.
pub fn controllers(
    context: &Context,
    shutdown: &Shutdown,
    files: &Path,
    metrics_server: &str,
) -> Vec<BoxFuture<'static, ()>> {
    let mirrors = git::Mirrors::new(files.join("git"));
    let notification = notification::controller::Notification::new(context.clone(), Default::default());
    let updater = updater::controller::Options {
        mirrors: mirrors.clone(),
        no_cross_namespace_refs: false,
        object_level_workload_identity: false,
    };
    let canary = canary::controller::Options {
        metrics_server: metrics_server.to_owned(),
        min_analysis_interval: std::time::Duration::from_secs(2),
        ..Default::default()
    };
    vec![
        notification.run(shutdown.clone()).boxed(),
        scanner::controller::controllers(context.clone(), Default::default(), shutdown.clone()).boxed(),
        updater::controller::controllers(context.clone(), updater, shutdown.clone()).boxed(),
        delivery::controller::controllers(
            context.clone(),
            delivery::controller::Options::new(mirrors),
            shutdown.clone(),
        )
        .boxed(),
        canary::controller::controllers(context.clone(), canary, shutdown.clone()).boxed(),
    ]
}
