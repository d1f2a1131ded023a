//! The table engine alone: order plans of four items, many in flight, one fsync per batch.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::{build, program},
    disk::Scratch,
    number,
    options::{Options, RUNS, Spec, value},
    publish, shown,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--seconds", "5", "of each run"),
    value("--in-flight", "256", "callers, each waiting for its own answer"),
    value("--skus", "10000", "products, of three counters each"),
];

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?.to_string();
    let in_flight = options.number("--in-flight", 1..=65_536)?.to_string();
    let skus = options.number("--skus", 1..=1_000_000)?.to_string();
    build(&["build", "--release", "--package", "zizon-table", "--example", "bench_table"])?;
    let file = shell::target().join("release/examples/bench_table");
    let mut rate = Figure::more("plans", "1/s");
    let mut cpu = Figure::less("CPU per plan", "us");
    let mut p99 = Figure::less("p99", "ms");
    let mut bytes = Figure::less("journal bytes per plan", "bytes");
    let scratch = Scratch::create("table")?;
    let directory = scratch.path().to_string_lossy();
    for run in 1..=runs {
        let arguments = ["--seconds", &seconds, "--in-flight", &in_flight, "--skus", &skus, "--dir", &directory];
        let answer = program(&file, &arguments)?;
        let answer: Value = serde_json::from_str(&answer).context("the table benchmark printed no JSON")?;
        println!("run {run}: {} plans/s", shown(number(&answer, "plans_per_s")));
        rate.runs.push(number(&answer, "plans_per_s"));
        cpu.runs.push(number(&answer, "cpu_us_per_plan"));
        p99.runs.push(number(&answer, "p99_ms"));
        bytes.runs.push(number(&answer, "bytes_per_plan"));
    }
    let goals = [
        Goal::new("plans >= 100,000/s", rate.median() >= 100_000.0),
        Goal::new("CPU per plan <= 15 us", cpu.median() <= 15.0),
    ];
    let settings = json!({ "runs": runs, "seconds": seconds, "in_flight": in_flight, "skus": skus });
    publish("table", &settings, &[rate, cpu, p99, bytes], &goals)
}
