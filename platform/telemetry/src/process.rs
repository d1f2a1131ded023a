//! What the kernel says about this process, read from `/proc` at each scrape.

use std::fs;

use crate::catalogue::Unit;
use crate::metrics::Metrics;

/// Ticks per second of the times in `/proc/self/stat`: `USER_HZ` is 100 in the ABI of every Linux
/// architecture Rust supports (proc_pid_stat(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Defines the `process_*` metrics, with the names every Prometheus client library uses.
pub fn register_process_metrics(metrics: &Metrics) {
    metrics.observe_counter(
        "process_cpu_seconds_total",
        "User and system processor time of all threads",
        Unit::Seconds,
        || Stat::read().map_or(0.0, |stat| stat.cpu_seconds),
    );
    metrics.observe_gauge("process_resident_memory_bytes", "Memory resident in RAM", Unit::Bytes, || {
        resident_bytes().unwrap_or(0.0)
    });
    metrics.observe_gauge("process_open_fds", "Open file descriptors", Unit::None, || {
        fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as f64
    });
    metrics.observe_gauge("process_threads", "Operating system threads", Unit::None, || {
        Stat::read().map_or(0.0, |stat| stat.threads)
    });
    metrics.observe_gauge(
        "process_start_time_seconds",
        "Start of the process since the Unix epoch",
        Unit::Seconds,
        || start_time_seconds().unwrap_or(0.0),
    );
}

struct Stat {
    cpu_seconds: f64,
    threads: f64,
    start_ticks_after_boot: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Fields are counted from after the command name, which may itself hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let after_name = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // proc_pid_stat(5): field 3 (state) is the first after the name; utime 14, stime 15,
        // num_threads 20, starttime 22.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            start_ticks_after_boot: field(22)?,
        })
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn start_time_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + Stat::read()?.start_ticks_after_boot / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) (b c) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 4200 1 1";
        let stat = Stat::parse(text).expect("well-formed line");
        assert!((stat.cpu_seconds - 2.0).abs() < 1e-9);
        assert!((stat.threads - 3.0).abs() < 1e-9);
        assert!((stat.start_ticks_after_boot - 4200.0).abs() < 1e-9);
    }
}
