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
    proc::{CpuMeter, ended_children_cpu_seconds},
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
    /// What the generator itself used for a request, in microseconds.
    pub cpu_us: f64,
}

/// Runs one thread of wrk with a script and its arguments.
pub fn measure(url: &str, file: &str, connections: u64, seconds: u64, arguments: &[String]) -> Result<Measured> {
    let mut command = Command::new("wrk");
    let (connections, duration) = (format!("-c{connections}"), format!("-d{seconds}s"));
    command.args(["-t1", &connections, &duration, "--latency", "-s"]).arg(script(file)).arg(url).arg("--");
    command.args(arguments).stderr(Stdio::inherit());
    let before = ended_children_cpu_seconds();
    let ended = Running::start(&mut command)?.wait()?;
    let used = ended_children_cpu_seconds() - before;
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
        cpu_us: used * 1e6 / requests,
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

    let mut wrk = Side::new("wrk");
    let mut own = Side::new("zizon load");
    let mut ratio = Figure::plain("wrk over ours", "x");
    let mut platform_cpu = Figure::plain("edge and orders CPU per order, wrk over ours", "x");
    for run in 1..=runs {
        // Each goes first in half of the runs.
        for by_wrk in [run % 2 == 1, run % 2 == 0] {
            let meter = CpuMeter::start(&processes);
            if by_wrk {
                let id = format!("r{}x{run}", std::process::id());
                wrk.add(&measure(&url, "wrk_orders.lua", 64, seconds, &[id, run.to_string()])?, &meter);
            } else {
                own.add(&by_load(&platform, seconds)?, &meter);
            }
        }
        let last = |figure: &Figure| figure.runs.last().copied().unwrap_or(f64::NAN);
        let [theirs, ours] = [&wrk, &own].map(|side| last(&side.rate));
        println!("run {run}: wrk {}/s, zizon load {}/s", shown(theirs), shown(ours));
        ratio.runs.push(theirs / ours);
        let [theirs, ours] = [&wrk, &own].map(|side| last(&side.edge) + last(&side.orders));
        platform_cpu.runs.push(theirs / ours);
    }
    let goals = [
        Goal::new("wrk within 10 % of ours", (ratio.median() - 1.0).abs() <= WITHIN),
        Goal::new("no errors by wrk", wrk.errors.runs.iter().all(|&count| count == 0.0)),
    ];
    let settings = json!({ "seconds": seconds, "connections": CLOSED_CONNECTIONS });
    let figures: Vec<Figure> = [ratio, platform_cpu].into_iter().chain(wrk.figures()).chain(own.figures()).collect();
    publish("wrk", &settings, &figures, &goals)
}

/// A slice of our own generator.
fn by_load(platform: &Platform, seconds: u64) -> Result<Measured> {
    let report = Load::closed(&format!("{seconds}s")).run(platform)?;
    load::warn(&report);
    Ok(Measured {
        requests: load::orders(&report),
        rate: number(&report, "achieved_rate"),
        p50_ms: number(&report, "p50_ms"),
        p99_ms: number(&report, "p99_ms"),
        errors: number(&report, "errors"),
        cpu_us: number(&report, "cpu_us_per_request"),
    })
}

/// The figures of one generator.
struct Side {
    rate: Figure,
    p99: Figure,
    errors: Figure,
    generator: Figure,
    edge: Figure,
    orders: Figure,
}

impl Side {
    fn new(by: &str) -> Self {
        let cpu = |who: &str| format!("{who} CPU per order by {by}");
        Self {
            rate: Figure::more(format!("orders by {by}"), "1/s"),
            p99: Figure::less(format!("p99 by {by}"), "ms"),
            errors: Figure::less(format!("errors by {by}"), "count"),
            generator: Figure::plain(cpu("generator"), "us"),
            edge: Figure::less(cpu("edge"), "us"),
            orders: Figure::less(cpu("orders"), "us"),
        }
    }

    fn add(&mut self, measured: &Measured, meter: &CpuMeter) {
        self.rate.runs.push(measured.rate);
        self.p99.runs.push(measured.p99_ms);
        self.errors.runs.push(measured.errors);
        self.generator.runs.push(measured.cpu_us);
        self.edge.runs.push(meter.us_per("edge", measured.requests));
        self.orders.runs.push(meter.us_per("orders", measured.requests));
    }

    fn figures(self) -> [Figure; 6] {
        [self.rate, self.p99, self.errors, self.generator, self.edge, self.orders]
    }
}
