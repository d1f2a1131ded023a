//! One mTLS hop, kept alive: what it adds to a request over plaintext, both measured in one run.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Figure, RUNS, number, option, publish};
use crate::shell;

/// Options: `--seconds N` per run and transport, `--in-flight N`.
pub fn run(options: &[&str]) -> Result<()> {
    let seconds = option(options, "--seconds").unwrap_or("5");
    let in_flight = option(options, "--in-flight").unwrap_or("16");
    let build = ["build", "--release", "--package", "zizon-service", "--example", "bench_hop", "--features", "testing"];
    shell::run("cargo", &build)?;
    let program = shell::target().join("release/examples/bench_hop");
    let mut figures = [
        Figure::new("mTLS requests", "1/s"),
        Figure::new("plaintext requests", "1/s"),
        Figure::new("mTLS CPU per request", "us"),
        Figure::new("CPU ratio to plaintext", "x"),
        Figure::new("p99 added by mTLS", "ms"),
    ];
    for run in 1..=RUNS {
        let arguments = ["--seconds", seconds, "--in-flight", in_flight];
        let answer = shell::output(&program.to_string_lossy(), &arguments).context("the hop benchmark failed")?;
        let answer: Value = serde_json::from_str(&answer)?;
        let (tls, plain) = (&answer["mtls"], &answer["plaintext"]);
        println!("run {run}: mTLS {:.0}/s, plaintext {:.0}/s", number(tls, "rate"), number(plain, "rate"));
        figures[0].runs.push(number(tls, "rate"));
        figures[1].runs.push(number(plain, "rate"));
        figures[2].runs.push(number(tls, "cpu_us"));
        figures[3].runs.push(number(tls, "cpu_us") / number(plain, "cpu_us"));
        figures[4].runs.push(number(tls, "p99_ms") - number(plain, "p99_ms"));
    }
    publish("hop", &json!({ "seconds": seconds, "in_flight": in_flight, "body_bytes": 1024 }), &figures)
}
