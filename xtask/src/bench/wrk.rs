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
    load::{self, CLOSED_CONNECTIONS, Load},
    number,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    proc::CpuMeter,
    publish, shown,
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

/// What wrk measured.
pub struct Measured {
    /// Answers.
    pub requests: f64,
    /// Answers per second.
    pub rate: f64,
    /// Median latency in ms.
    pub p50_ms: f64,
    /// 99th percentile in ms.
    pub p99_ms: f64,
    /// Answers of 400 and above, and what failed below HTTP.
    pub errors: f64,
}

/// Runs one thread of wrk with a script and its arguments.
pub fn measure(url: &str, file: &str, connections: u64, seconds: u64, arguments: &[String]) -> Result<Measured> {
    let mut command = Command::new("wrk");
    let (connections, duration) = (format!("-c{connections}"), format!("-d{seconds}s"));
    command.args(["-t1", &connections, &duration, "--latency", "-s"]).arg(script(file)).arg(url).arg("--");
    command.args(arguments).stderr(Stdio::inherit());
    let ended = Running::start(&mut command)?.wait()?;
    let text = String::from_utf8_lossy(&ended.output);
    let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let result = result.with_context(|| format!("wrk printed no result ({}): {}", ended.status, text.trim()))?;
    let result: Value = serde_json::from_str(result)?;
    let requests = number(&result, "requests");
    if requests == 0.0 {
        bail!("wrk got no answer: {result}");
    }
    Ok(Measured {
        requests,
        rate: requests / (number(&result, "duration_us") / 1e6),
        p50_ms: number(&result, "p50_us") / 1e3,
        p99_ms: number(&result, "p99_us") / 1e3,
        errors: number(&result, "status_errors") + number(&result, "socket_errors"),
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
    let (url, processes) = (platform.url()?, platform.processes()?);
    Load::closed("3s").run(&platform)?;

    let mut theirs = Figure::more("orders by wrk", "1/s");
    let mut ours = Figure::more("orders by zizon load", "1/s");
    let mut ratio = Figure::plain("wrk over ours", "x");
    let mut their_p99 = Figure::less("p99 by wrk", "ms");
    let mut our_p99 = Figure::less("p99 by zizon load", "ms");
    let mut errors = Figure::less("errors by wrk", "count");
    let mut edge = Figure::less("edge CPU per order of wrk", "us");
    let mut orders = Figure::less("orders CPU per order of wrk", "us");
    for run in 1..=runs {
        let slice = |by_wrk: bool| -> Result<Measured> {
            if by_wrk {
                let id = format!("r{}x{run}", std::process::id());
                return measure(&url, "wrk_orders.lua", 64, seconds, &[id, run.to_string()]);
            }
            let report = Load::closed(&format!("{seconds}s")).run(&platform)?;
            load::warn(&report);
            Ok(Measured {
                requests: load::orders(&report),
                rate: number(&report, "achieved_rate"),
                p50_ms: number(&report, "p50_ms"),
                p99_ms: number(&report, "p99_ms"),
                errors: number(&report, "errors"),
            })
        };
        // Each goes first in half of the runs.
        let own_first = (run % 2 == 0).then(|| slice(false)).transpose()?;
        let meter = CpuMeter::start(&processes);
        let wrk = slice(true)?;
        edge.runs.push(meter.us_per("edge", wrk.requests));
        orders.runs.push(meter.us_per("orders", wrk.requests));
        let own = own_first.map_or_else(|| slice(false), Ok)?;
        println!("run {run}: wrk {}/s, zizon load {}/s", shown(wrk.rate), shown(own.rate));
        theirs.runs.push(wrk.rate);
        ours.runs.push(own.rate);
        ratio.runs.push(wrk.rate / own.rate);
        their_p99.runs.push(wrk.p99_ms);
        our_p99.runs.push(own.p99_ms);
        errors.runs.push(wrk.errors);
    }
    let goals = [
        Goal::new("wrk within 10 % of ours", (ratio.median() - 1.0).abs() <= WITHIN),
        Goal::new("no errors by wrk", errors.runs.iter().all(|&count| count == 0.0)),
    ];
    let settings = json!({ "seconds": seconds, "connections": CLOSED_CONNECTIONS });
    publish("wrk", &settings, &[theirs, ours, ratio, their_p99, our_p99, errors, edge, orders], &goals)
}
