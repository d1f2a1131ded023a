//! New orders by an independent generator, wrk, beside our own in alternating slices of one run.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::{Running, build},
    load::{CLOSED_CONNECTIONS, Load, LoadFigures, Slice, in_words},
    number,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    proc::{CpuMeter, ended_children_cpu_seconds},
    publish,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[RUNS, value("--seconds", "10", "of each slice")];

/// Goal: within this of ours.
const WITHIN: f64 = 0.10;

const INSTALL: &str = "wrk is not installed (Debian: apt-get install wrk)";

/// A script of ours for wrk.
pub fn script(name: &str) -> PathBuf {
    shell::root().join("xtask/src/bench").join(name)
}

/// Why wrk cannot be run, if it cannot.
pub fn missing() -> Option<&'static str> {
    let probe = Command::new("wrk").arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.is_err().then_some(INSTALL)
}

/// Runs one thread of wrk with a script and its arguments, and lets the platform finish the work it caused.
///
/// wrk does not say when its connections are open: their handshakes are in the processor time of the edge. Its own is what
/// children that ended meanwhile used, so nothing else may be awaited beside it.
pub fn measure(platform: &Platform, file: &str, connections: u64, seconds: u64, arguments: &[String]) -> Result<Slice> {
    let (url, processes) = (platform.url()?, platform.processes()?);
    let mut command = Command::new("wrk");
    let (connections, duration) = (format!("-c{connections}"), format!("-d{seconds}s"));
    command.args(["-t1", &connections, &duration, "--latency", "-s"]).arg(script(file)).arg(url).arg("--");
    command.args(arguments);
    let meter = CpuMeter::start(&processes);
    let before = ended_children_cpu_seconds();
    let ended = Running::start(&mut command)?.wait()?;
    let used = ended_children_cpu_seconds() - before;
    platform.settle()?;
    let text = String::from_utf8_lossy(&ended.output);
    let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let result = result.with_context(|| format!("wrk printed no result ({}): {}", ended.status, text.trim()))?;
    let result: Value = serde_json::from_str(result)?;
    let requests = number(&result, "requests");
    if requests == 0.0 {
        bail!("wrk got no answer: {result}");
    }
    Ok(Slice {
        orders: requests,
        rate: requests / (number(&result, "duration_us") / 1e6),
        p50_ms: number(&result, "p50_us") / 1e3,
        p99_ms: number(&result, "p99_us") / 1e3,
        errors: number(&result, "status_errors") + number(&result, "socket_errors"),
        generator_us: used * 1e6 / requests,
        used: meter.read(),
    })
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?;
    if let Some(why) = missing() {
        shell::not_run("bench wrk", why);
        return Ok(());
    }
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("wrk")?;
    Load::closed("3s").run(&platform)?;
    platform.settle()?;

    let [mut wrk, mut own] = ["wrk", "zizon load"].map(|by| LoadFigures::new(|what| format!("{what} by {by}")));
    let mut ratio = Figure::plain("wrk over ours", "x");
    let mut platform_cpu = Figure::plain("edge and orders CPU per order, wrk over ours", "x");
    for run in 1..=runs {
        let id = format!("r{}x{run}", std::process::id());
        let by_wrk = || measure(&platform, "wrk_orders.lua", CLOSED_CONNECTIONS, seconds, &[id, run.to_string()]);
        let by_load = || Load::closed(&format!("{seconds}s")).slice(&platform);
        // Each goes first in half of the runs.
        let (theirs, ours) = if run % 2 == 1 {
            let theirs = by_wrk()?;
            (theirs, by_load()?)
        } else {
            let ours = by_load()?;
            (by_wrk()?, ours)
        };
        println!("run {run}: wrk         {}", in_words(&theirs));
        println!("run {run}: zizon load  {}", in_words(&ours));
        ratio.runs.push(theirs.rate / ours.rate);
        platform_cpu.runs.push(theirs.platform_us() / ours.platform_us());
        wrk.add(&theirs);
        own.add(&ours);
    }
    let goals = [
        Goal::new("wrk within 10 % of ours", (ratio.median() - 1.0).abs() <= WITHIN),
        Goal::new("no errors by wrk", wrk.clean()),
    ];
    let settings = json!({ "runs": runs, "seconds": seconds, "connections": CLOSED_CONNECTIONS });
    let figures: Vec<Figure> = [ratio, platform_cpu].into_iter().chain(wrk.figures()).chain(own.figures()).collect();
    publish("wrk", &settings, &figures, &goals)
}
