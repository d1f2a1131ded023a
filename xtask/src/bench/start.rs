//! From `zizon up` to ready with a warm build, and what the platform costs while idle.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    interrupt,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    proc::{cpu_seconds, resident_mb},
    publish,
};

/// Options.
pub const OPTIONS: &[Spec] = &[RUNS, value("--seconds", "5", "over which idle CPU is taken")];

/// Starts the platform again and again.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=600)?;
    build(&["build", "--release", "--package", "zizon"])?;
    let mut ready = Figure::less("ready", "ms");
    let mut memory = Figure::less("memory, all processes", "MB");
    let mut idle = Figure::less("CPU while idle", "% of a core");
    for run in 1..=runs {
        let platform = Platform::start("start")?;
        let processes = platform.processes()?;
        let used = || processes.iter().map(|(_, pid)| cpu_seconds(*pid)).sum::<f64>();
        let before = used();
        interrupt::sleep(Duration::from_secs(seconds))?;
        #[expect(clippy::cast_precision_loss, reason = "minutes at most")]
        let idle_percent = (used() - before) / seconds as f64 * 100.0;
        let resident = processes.iter().map(|(_, pid)| resident_mb(*pid)).sum();
        println!("run {run}: ready in {:.0} ms, {resident:.0} MB", platform.ready_ms);
        ready.runs.push(platform.ready_ms);
        memory.runs.push(resident);
        idle.runs.push(idle_percent);
    }
    let goals = [
        Goal::new("ready <= 2 s", ready.median() <= 2_000.0),
        Goal::new("memory of all processes <= 200 MB", memory.median() <= 200.0),
    ];
    publish("start", &json!({ "runs": runs, "seconds": seconds }), &[ready, memory, idle], &goals)
}
