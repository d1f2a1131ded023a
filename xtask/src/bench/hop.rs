//! One mTLS hop, kept alive: what it adds to a request over plaintext, both measured in one run.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::{build, program},
    number,
    options::{Options, RUNS, Spec, value},
    publish, shown,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] =
    &[RUNS, value("--seconds", "5", "of each transport in each run"), value("--in-flight", "16", "requests in flight")];

/// Goals: ms of p99 and CPU over plaintext.
const P99_MS: f64 = 0.15;
const CPU: f64 = 1.15;

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?.to_string();
    let in_flight = options.number("--in-flight", 1..=4_096)?.to_string();
    build(&["build", "--release", "--package", "zizon-service", "--example", "bench_hop", "--features", "testing"])?;
    let file = shell::target().join("release/examples/bench_hop");
    let mut figures = [
        Figure::more("mTLS requests", "1/s"),
        Figure::more("plaintext requests", "1/s"),
        Figure::less("mTLS CPU per request", "us"),
        Figure::less("CPU ratio to plaintext", "x"),
        Figure::less("p99 added by mTLS", "ms"),
        Figure::plain("TLS alone, CPU ratio to plaintext", "x"),
        Figure::less("role stack over TLS alone, CPU ratio", "x"),
    ];
    for run in 1..=runs {
        let answer = program(&file, &["--seconds", &seconds, "--in-flight", &in_flight])?;
        let answer: Value = serde_json::from_str(&answer).context("the hop benchmark printed no JSON")?;
        let (tls, alone, plain) = (&answer["mtls"], &answer["tls_alone"], &answer["plaintext"]);
        let cpu = |of: &Value| shown(number(of, "cpu_us"));
        println!(
            "run {run}: mTLS {}/s ({} us), hyper over the same TLS {}/s ({} us), over plaintext {}/s ({} us)",
            shown(number(tls, "rate")),
            cpu(tls),
            shown(number(alone, "rate")),
            cpu(alone),
            shown(number(plain, "rate")),
            cpu(plain)
        );
        figures[0].runs.push(number(tls, "rate"));
        figures[1].runs.push(number(plain, "rate"));
        figures[2].runs.push(number(tls, "cpu_us"));
        figures[3].runs.push(number(tls, "cpu_us") / number(plain, "cpu_us"));
        figures[4].runs.push(number(tls, "p99_ms") - number(plain, "p99_ms"));
        figures[5].runs.push(number(alone, "cpu_us") / number(plain, "cpu_us"));
        figures[6].runs.push(number(tls, "cpu_us") / number(alone, "cpu_us"));
    }
    let goals = [
        Goal::new("p99 added <= 0.15 ms", figures[4].median() <= P99_MS),
        Goal::new("CPU <= 1.15 x plaintext", figures[3].median() <= CPU),
    ];
    let settings = json!({ "runs": runs, "seconds": seconds, "in_flight": in_flight, "body_bytes": 1024 });
    publish("hop", &settings, &figures, &goals)
}
