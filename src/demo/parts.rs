//! The real parts around slipway: a registry, a Prometheus, slipway itself, each a child process on loopback.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

/// Programs that the demo runs, and the Debian package each comes in.
const TOOLS: [(&str, &str); 3] = [("docker-registry", "docker-registry"), ("prometheus", "prometheus"), ("git", "git")];

/// Errs naming the programs that are missing and the line that installs them.
pub fn require_tools() -> anyhow::Result<()> {
    let missing: Vec<_> = TOOLS.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    bail!("{} not found; install with: apt-get install {}", programs.join(", "), packages.join(" "))
}

/// Where a program is on `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// A loopback address whose port nobody uses at the moment.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}

/// A child process that ends with this value, and with this process however that ends.
#[derive(Debug)]
pub struct Part {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Part {
    /// Starts `command` under slipway's own child guard, its output in `<folder>/<name>.log`.
    pub fn start(slipway: &Path, folder: &Path, name: &str, command: &[&str]) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut guarded = Command::new(slipway);
        guarded.args(["pod-process", "--"]).args(command);
        guarded.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = guarded.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// The file that holds its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Errs with the end of its log if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(12).collect();
            let end = lines.into_iter().rev().collect::<Vec<_>>().join("\n  ");
            bail!("{} ended ({status}); its last words:\n  {end}", self.name);
        }
        Ok(())
    }

    /// Ends it the hard way and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A registry on a free port that keeps its data in `folder`.
pub fn registry(slipway: &Path, folder: &Path) -> anyhow::Result<(Part, SocketAddr)> {
    let address = free_address()?;
    let part = registry_at(slipway, folder, address)?;
    Ok((part, address))
}

/// A registry at an address.
pub fn registry_at(slipway: &Path, folder: &Path, address: SocketAddr) -> anyhow::Result<Part> {
    let data = folder.join("registry");
    let config = folder.join("registry.yaml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: {:?}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"{address}\"}}\n",
        data.display().to_string()
    );
    fs::write(&config, text)?;
    Part::start(slipway, folder, "registry", &["docker-registry", "serve", &config.display().to_string()])
}

#[allow(dead_code, reason = "used by tests and benches, which include this file")]
/// A Prometheus on a free port that scrapes slipway's metrics twice a second.
pub fn prometheus(slipway: &Path, folder: &Path, scrape: SocketAddr) -> anyhow::Result<(Part, SocketAddr)> {
    prometheus_of(slipway, folder, &[(scrape, "/metrics")])
}

/// A Prometheus on a free port that scrapes these pages, by address and path, twice a second.
pub fn prometheus_of(
    slipway: &Path,
    folder: &Path,
    pages: &[(SocketAddr, &str)],
) -> anyhow::Result<(Part, SocketAddr)> {
    let address = free_address()?;
    let config = folder.join("prometheus.yaml");
    let mut text = "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\nscrape_configs:\n".to_owned();
    for (address, path) in pages {
        text += &format!(
            "- job_name: \"{address}\"\n  metrics_path: {path}\n  static_configs: [{{targets: [\"{address}\"]}}]\n"
        );
    }
    fs::write(&config, text)?;
    let command = [
        "prometheus".to_owned(),
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
        format!("--web.listen-address={address}"),
        "--log.level=warn".to_owned(),
    ];
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Ok((Part::start(slipway, folder, "prometheus", &command)?, address))
}

/// Waits until something listens at the address.
pub async fn listening(part: &mut Part, address: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        part.check()?;
        reconcile::clock::sleep(Duration::from_millis(50)).await;
    }
    bail!("{} does not listen at {address} after 30 s; see {}", part.name, part.log.display())
}

/// Resident memory of a process in bytes, as the system counts it.
pub fn resident_bytes(process: u32) -> Option<u64> {
    memory_bytes(process, "VmRSS:")
}

#[allow(dead_code, reason = "used by tests and benches, which include this file")]
/// Most resident memory that a process ever had, in bytes.
pub fn peak_bytes(process: u32) -> Option<u64> {
    memory_bytes(process, "VmHWM:")
}

fn memory_bytes(process: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[allow(dead_code, reason = "used by tests and benches, which include this file")]
/// Processor time that a process has used, in seconds.
pub fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold blanks; what follows it is numbers, times in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}
