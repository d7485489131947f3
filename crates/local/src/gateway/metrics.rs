//! Requests per backend by response code, and how long they took, in the names that Envoy uses, so that queries written
//! for Envoy read them.
//!
//! `envoy_cluster_upstream_rq{envoy_cluster_name,envoy_response_code,namespace}` counts;
//! `envoy_cluster_upstream_rq_time_bucket/_sum/_count{envoy_cluster_name,namespace,le}` is in milliseconds.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::table::ServicePort;

/// Upper borders of the histogram in milliseconds. Source: Envoy's default histogram buckets.
const BORDERS_MS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Response codes that are counted by themselves: 100 to 599. Others count as 0.
const CODES: usize = 500;

/// Counts of one backend. Adding to them takes no lock.
#[derive(Debug)]
pub struct Cluster {
    codes: Box<[AtomicU64]>,
    buckets: [AtomicU64; BORDERS_MS.len() + 1],
    sum_micros: AtomicU64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            codes: (0..CODES).map(|_| AtomicU64::new(0)).collect(),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_micros: AtomicU64::new(0),
        }
    }
}

impl Cluster {
    /// Counts a response.
    pub fn responded(&self, code: http::StatusCode) {
        if let Some(count) = self.codes.get(usize::from(code.as_u16()).wrapping_sub(100)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts how long an exchange took, from the request to the end of the response.
    pub fn took(&self, time: Duration) {
        let milliseconds = time.as_secs_f64() * 1_000.0;
        let bucket = BORDERS_MS.partition_point(|border| *border < milliseconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn write_codes(&self, labels: &str, text: &mut String) {
        for (index, count) in self.codes.iter().enumerate() {
            let count = count.load(Relaxed);
            // The codes that rates are made of are there from the start: a rate does not see how a series begins.
            if count > 0 || matches!(index + 100, 200 | 500) {
                let code = index + 100;
                let _ = writeln!(
                    text,
                    "envoy_cluster_upstream_rq{{{labels},envoy_response_code=\"{code}\",envoy_response_code_class=\"{}\"}} {count}",
                    code / 100
                );
            }
        }
    }

    fn write_times(&self, labels: &str, text: &mut String) {
        let mut total = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            total += count.load(Relaxed);
            let border = BORDERS_MS.get(index).map_or("+Inf".to_owned(), f64::to_string);
            let _ = writeln!(text, "envoy_cluster_upstream_rq_time_bucket{{{labels},le=\"{border}\"}} {total}");
        }
        let sum = Duration::from_micros(self.sum_micros.load(Relaxed)).as_secs_f64() * 1_000.0;
        let _ = writeln!(text, "envoy_cluster_upstream_rq_time_sum{{{labels}}} {sum}");
        let _ = writeln!(text, "envoy_cluster_upstream_rq_time_count{{{labels}}} {total}");
    }
}

/// The counts of all backends. They are kept while slipway runs, as counters must be.
#[derive(Clone, Debug, Default)]
pub struct Clusters(Arc<Mutex<BTreeMap<ServicePort, Arc<Cluster>>>>);

impl Clusters {
    /// The counts of a backend, which begin at 0.
    pub fn of(&self, service: &ServicePort) -> Arc<Cluster> {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters.get(service) {
            return cluster.clone();
        }
        clusters.entry(service.clone()).or_default().clone()
    }

    /// All counts in Prometheus' text format; empty without a backend.
    pub fn exposition(&self) -> String {
        let clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let labelled: Vec<_> = clusters
            .iter()
            .map(|(service, cluster)| {
                // Names of objects hold no character that would have to be escaped.
                let labels = format!(
                    "envoy_cluster_name=\"{}\",namespace=\"{}\"",
                    service.cluster_name().replace(['"', '\\', '\n'], ""),
                    service.namespace.replace(['"', '\\', '\n'], "")
                );
                (labels, cluster)
            })
            .collect();
        let mut text = String::new();
        if labelled.is_empty() {
            return text;
        }
        text.push_str("# HELP envoy_cluster_upstream_rq Requests to a backend by response code.\n");
        text.push_str("# TYPE envoy_cluster_upstream_rq counter\n");
        labelled.iter().for_each(|(labels, cluster)| cluster.write_codes(labels, &mut text));
        text.push_str("# HELP envoy_cluster_upstream_rq_time Duration of requests to a backend in milliseconds.\n");
        text.push_str("# TYPE envoy_cluster_upstream_rq_time histogram\n");
        labelled.iter().for_each(|(labels, cluster)| cluster.write_times(labels, &mut text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_in_envoys_names() {
        let clusters = Clusters::default();
        assert_eq!(clusters.exposition(), "");
        let cluster =
            clusters.of(&ServicePort { namespace: "test".into(), service: "podinfo-canary".into(), port: 80 });
        cluster.responded(http::StatusCode::OK);
        cluster.responded(http::StatusCode::OK);
        cluster.responded(http::StatusCode::INTERNAL_SERVER_ERROR);
        cluster.took(Duration::from_micros(700));
        cluster.took(Duration::from_millis(1));
        cluster.took(Duration::from_secs(2));
        let text = clusters.exposition();
        for line in [
            "envoy_cluster_upstream_rq{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\",envoy_response_code=\"200\",envoy_response_code_class=\"2\"} 2",
            "envoy_cluster_upstream_rq{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\",envoy_response_code=\"500\",envoy_response_code_class=\"5\"} 1",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\",le=\"0.5\"} 0",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\",le=\"1\"} 2",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\",le=\"+Inf\"} 3",
            "envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\"} 2001.7",
            "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"test_podinfo-canary_80\",namespace=\"test\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
