//! What the system knows of this process, under the names that Prometheus' own clients use.

use std::{fmt::Write as _, fs, sync::OnceLock};

/// Clock ticks per second and bytes per page: fixed on every Linux that we run on.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// The page in the Prometheus text format, without the end mark; empty where there is no `/proc`.
pub(super) fn text() -> String {
    let read = |path: &str| fs::read_to_string(path).ok();
    // The system gathers a lot to answer for its start; it starts once.
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    let boot = *BOOT.get_or_init(|| boot(&read("/proc/stat")?));
    let numbers = read("/proc/self/stat").zip(boot).and_then(|(own, boot)| numbers(&own, boot));
    let Some(numbers) = numbers else { return String::new() };
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let mut text = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, value: String| {
        // OpenMetrics names a counter without its suffix.
        let family = name.strip_suffix("_total").unwrap_or(name);
        let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}\n{name} {value}");
    };
    let counter = "counter";
    tell(
        "process_cpu_seconds_total",
        counter,
        "Total user and system CPU time spent in seconds.",
        numbers.cpu.to_string(),
    );
    let resident = numbers.resident_bytes.to_string();
    tell("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident);
    tell("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", numbers.virtual_bytes.to_string());
    let start = numbers.start.to_string();
    tell("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", start);
    tell("process_open_fds", "gauge", "Number of open file descriptors.", open.to_string());
    text
}

/// The numbers of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Numbers {
    cpu: f64,
    start: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

/// Reads from `/proc/stat` when the system was started, in seconds since the epoch.
fn boot(all: &str) -> Option<f64> {
    all.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Reads `/proc/self/stat`.
fn numbers(own: &str, boot: f64) -> Option<Numbers> {
    // The name of the program may hold blanks and parentheses; the state is what follows it.
    let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "ticks of a process stay far below 2^53")]
    let seconds = |ticks: u64| ticks as f64 / TICKS;
    Some(Numbers {
        cpu: seconds(field(14)? + field(15)?),
        start: boot + seconds(field(22)?),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * PAGE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_numbers_are_read() {
        let own = "7 (a (b) c) S 1 7 7 0 -1 4 0 0 0 0 150 50 0 0 20 0 4 0 1000 8192 3 0 0";
        let boot = boot("cpu 1\nbtime 1700000000\n").expect("the time of the start");
        let read = numbers(own, boot).expect("good numbers");
        assert_eq!(read, Numbers { cpu: 2.0, start: 1_700_000_010.0, virtual_bytes: 8192, resident_bytes: 12_288 });
        assert_eq!(numbers("7 (x", boot), None);
        assert!(text().contains("process_resident_memory_bytes "));
    }
}
