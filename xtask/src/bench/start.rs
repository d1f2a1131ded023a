//! From `zizon up` to ready with a warm build, and what the platform costs while idle.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, RUNS,
    platform::{Platform, cpu_seconds, resident_mb},
    publish,
};
use crate::shell;

/// Seconds over which idle CPU is taken.
const IDLE_SECONDS: u64 = 5;

/// Starts the platform five times.
pub fn run() -> Result<()> {
    shell::run("cargo", &["build", "--release", "--package", "zizon"])?;
    let mut ready = Figure::new("ready", "ms");
    let mut memory = Figure::new("memory, all processes", "MB");
    let mut idle = Figure::new("CPU while idle", "% of a core");
    for run in 1..=RUNS {
        let platform = Platform::start("start")?;
        let processes = platform.processes()?;
        let used = || processes.iter().map(|(_, pid)| cpu_seconds(*pid)).sum::<f64>();
        let before = used();
        std::thread::sleep(std::time::Duration::from_secs(IDLE_SECONDS));
        let idle_percent = (used() - before) / IDLE_SECONDS as f64 * 100.0;
        let resident = processes.iter().map(|(_, pid)| resident_mb(*pid)).sum();
        println!("run {run}: ready in {:.0} ms, {resident:.0} MB", platform.ready_ms);
        ready.runs.push(platform.ready_ms);
        memory.runs.push(resident);
        idle.runs.push(idle_percent);
    }
    publish("start", &json!({}), &[ready, memory, idle])
}
