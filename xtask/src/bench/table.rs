//! The table engine alone: order plans of four items, many in flight, one fsync per batch.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Figure, RUNS, number, option, publish};
use crate::shell;

/// Options: `--seconds N` per run, `--in-flight N`, `--skus N`.
pub fn run(options: &[&str]) -> Result<()> {
    let seconds = option(options, "--seconds").unwrap_or("5");
    let in_flight = option(options, "--in-flight").unwrap_or("256");
    let skus = option(options, "--skus").unwrap_or("10000");
    shell::run("cargo", &["build", "--release", "--package", "zizon-table", "--example", "bench_table"])?;
    let program = shell::target().join("release/examples/bench_table");
    let mut rate = Figure::new("plans", "1/s");
    let mut cpu = Figure::new("CPU per plan", "us");
    let mut p99 = Figure::new("p99", "ms");
    let mut bytes = Figure::new("journal bytes per plan", "bytes");
    for run in 1..=RUNS {
        let arguments = ["--seconds", seconds, "--in-flight", in_flight, "--skus", skus];
        let answer = shell::output(&program.to_string_lossy(), &arguments).context("the table benchmark failed")?;
        let answer: Value = serde_json::from_str(&answer)?;
        println!("run {run}: {:.0} plans/s", number(&answer, "plans_per_s"));
        rate.runs.push(number(&answer, "plans_per_s"));
        cpu.runs.push(number(&answer, "cpu_us_per_plan"));
        p99.runs.push(number(&answer, "p99_ms"));
        bytes.runs.push(number(&answer, "bytes_per_plan"));
    }
    publish("table", &json!({ "seconds": seconds, "in_flight": in_flight, "skus": skus }), &[rate, cpu, p99, bytes])
}
