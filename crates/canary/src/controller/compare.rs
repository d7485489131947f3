//! Facts about the primary beside the canary: requests, samples and shares of the same window.

use std::time::Duration;

use api::flagger::{Canary, Metric};
use reconcile::{Endpoint, clock};
use serde_json::Value;

use super::Rollouts;
use crate::{
    analysis::{self, Kind},
    judge::proportion::Share,
    machine::{Measurement, Samples, Shares},
    metrics::{self, Observer, Scene},
    recorded::{self, Sample, Span},
};

/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);

impl Rollouts {
    /// The requests that the metric at that place was measured on. `objects` are those around the Canary.
    pub(super) async fn requests(&self, canary: &Canary, objects: &[Value], index: usize) -> Measurement {
        let (metric, additions) = (canary.analysis().metrics[index].clone(), canary.additions().unwrap_or_default());
        let query = additions.metrics.get(&metric.name).and_then(|more| more.requests.clone()).unwrap_or_default();
        self.measure_by(canary, objects, &inline(&metric, query)).await
    }

    /// The failed requests of canary and primary.
    pub(super) async fn shares(&self, canary: &Canary, objects: &[Value], index: usize) -> Result<Shares, String> {
        let (metric, additions) = (canary.analysis().metrics[index].clone(), canary.additions()?);
        let more = additions.metrics.get(&metric.name).and_then(|more| more.errors.clone());
        let share = more.ok_or("no errors are named")?;
        let of_primary = |given: Option<String>, own: &str| given.unwrap_or_else(|| recorded::of_primary(canary, own));
        let failed = of_primary(share.primary_failed, &share.failed);
        let total = of_primary(share.primary_total, &share.total);
        let count = |query: String| self.count(canary, objects, inline(&metric, query));
        Ok(Shares {
            canary: Share { failed: count(share.failed).await?, total: count(share.total).await? },
            primary: Share { failed: count(failed).await?, total: count(total).await? },
        })
    }

    async fn count(&self, canary: &Canary, objects: &[Value], metric: Metric) -> Result<f64, String> {
        match self.measure_by(canary, objects, &metric).await {
            Measurement::Value(value) => Ok(value),
            // A series that nobody has counted yet counts nothing.
            Measurement::NoData(_) => Ok(0.0),
            Measurement::Error(problem) | Measurement::Invalid(problem) => Err(problem),
        }
    }

    /// The samples of canary and primary.
    pub(super) async fn samples(&self, canary: &Canary, objects: &[Value], index: usize) -> Result<Samples, String> {
        let (metric, additions) = (canary.analysis().metrics[index].clone(), canary.additions()?);
        let more = additions.metrics.get(&metric.name).and_then(|more| more.compare.clone());
        let comparison = more.ok_or("no comparison is named")?;
        let own = match comparison.canary.is_empty() {
            true => self.own_query(canary, objects, &metric).await?,
            false => comparison.canary,
        };
        let primary = match comparison.primary.is_empty() {
            true => recorded::of_primary(canary, &own),
            false => comparison.primary,
        };
        let span = Span::before(clock::now(), comparison.window.get(), comparison.step.get());
        Ok(Samples {
            canary: self.range(canary, &own, span).await?,
            primary: self.range(canary, &primary, span).await?,
        })
    }

    async fn own_query(&self, canary: &Canary, objects: &[Value], metric: &Metric) -> Result<String, String> {
        if matches!(analysis::kind(metric), Kind::Template | Kind::Unusable) {
            return Err(format!("{}: name the query to compare under compare.canary", metric.name));
        }
        let named = Observer::of_canary(canary, &self.options.mesh_provider);
        let observer = self.observer(canary, named).await;
        let scene = Scene { observer, revision: metrics::revision(canary, objects) };
        metrics::query(canary, metric, scene, None).map_err(|error| error.to_string())
    }

    async fn range(&self, canary: &Canary, query: &str, span: Span) -> Result<Vec<f64>, String> {
        let server = metrics::server(canary, &self.options.metrics_server);
        let samples = self.range_of(&server.address, query, span).await?;
        Ok(samples.into_iter().map(|(_, value)| value).collect())
    }

    /// The samples that the Prometheus at that address has.
    pub(super) async fn range_of(&self, address: &str, query: &str, span: Span) -> Result<Vec<Sample>, String> {
        let request = recorded::request(address, query, span)?;
        let endpoint = Endpoint { timeout: TIMEOUT, ..Endpoint::default() };
        let response = self.context.http.send(request, &endpoint).await.map_err(|error| error.to_string())?;
        recorded::samples(&response)
    }
}

/// The metric with another query.
fn inline(metric: &Metric, query: String) -> Metric {
    Metric { query: Some(query), template_ref: None, threshold_range: None, threshold: None, ..metric.clone() }
}
