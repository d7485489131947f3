//! Flags of the scanner, part of `slipway run`. Names and defaults are those of Flux's image-reflector-controller where it
//! has them.

/// How registries are asked.
#[derive(Debug, clap::Args)]
pub struct Scanner {
    /// Image repositories scanned at the same time.
    #[arg(long, default_value_t = 4, env = "SLIPWAY_CONCURRENT")]
    pub concurrent: u16,
    /// Wait of an image policy whose repository has no tags.
    #[arg(long, default_value = "30s")]
    pub requeue_dependency: api::Duration,
    /// How much later than its interval a repository may be scanned, in percent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub interval_jitter_percentage: u8,
    /// Requests per second to one registry host, by all objects together; 0 for no limit.
    #[arg(long, default_value_t = 100)]
    pub registry_qps: u32,
    /// Requests to one registry host that are under way at the same time.
    #[arg(long, default_value_t = 16)]
    pub registry_concurrency: u16,
    /// Cloud logins kept at most; 0 keeps none.
    #[arg(long, default_value_t = 100)]
    pub token_cache_max_size: usize,
    /// Longest life of a kept cloud login.
    #[arg(long, default_value = "1h")]
    pub token_cache_max_duration: api::Duration,
    /// Flux's feature gates. ObjectLevelWorkloadIdentity=true lets image repositories and notification providers log in to
    /// clouds as their own service accounts; with AdditiveCELDependencyCheck=true a readyExpr of a Kustomization must hold
    /// beside the usual check, not in its place; others are taken and have no effect.
    #[arg(long, value_name = "GATE=BOOL", value_delimiter = ',', value_parser = gate)]
    pub feature_gates: Vec<(String, bool)>,
    /// Flux's; of slipway's store it says nothing.
    #[arg(long, hide = true)]
    pub storage_value_log_file_size: Option<String>,
    /// Flux's; of slipway's store it says nothing.
    #[arg(long, hide = true)]
    pub storage_compression_threshold: Option<String>,
    /// Flux's; of slipway's store it says nothing.
    #[arg(long, hide = true)]
    pub gc_interval: Option<String>,
}

fn gate(text: &str) -> Result<(String, bool), String> {
    let (name, value) = text.split_once('=').ok_or("GATE=true or GATE=false is expected")?;
    let value = value.parse().map_err(|_| format!("{value:?} is neither true nor false"))?;
    Ok((name.to_owned(), value))
}

impl Scanner {
    /// Whether a gate is opened; all are closed unless told, as in Flux. The last word counts.
    pub fn opens(&self, gate: &str) -> bool {
        self.feature_gates.iter().rev().find(|(name, _)| name == gate).is_some_and(|(_, value)| *value)
    }

    /// Flags that were given and mean nothing here. Source: reference image-automation.md section 11.
    pub fn idle(&self) -> Vec<&'static str> {
        let all = [
            ("--storage-value-log-file-size", &self.storage_value_log_file_size),
            ("--storage-compression-threshold", &self.storage_compression_threshold),
            ("--gc-interval", &self.gc_interval),
        ];
        all.into_iter().filter(|(_, value)| value.is_some()).map(|(flag, _)| flag).collect()
    }
}
