//! Orders per second through the whole path: TLS, edge, mTLS, orders, fsync.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, RUNS, number, option,
    platform::{Platform, cpu_seconds},
    publish,
};
use crate::shell;

/// Options: `--seconds N` per run, `--connections N`, `--keys fresh|fixed`, `--rate N|max`.
pub fn run(options: &[&str]) -> Result<()> {
    let seconds = option(options, "--seconds").unwrap_or("10");
    let connections = option(options, "--connections").unwrap_or("64");
    let keys = option(options, "--keys").unwrap_or("fresh");
    let rate = option(options, "--rate").unwrap_or("max");
    shell::run("cargo", &["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("orders")?;

    let mut rates = Figure::new("orders", "1/s");
    let mut p50 = Figure::new("p50", "ms");
    let mut p99 = Figure::new("p99", "ms");
    let mut errors = Figure::new("errors", "count");
    let mut generator = Figure::new("generator CPU per order", "us");
    let mut per_role: Vec<(String, u32, Figure)> = platform
        .processes()?
        .into_iter()
        .filter_map(|(role, pid)| {
            let name = match role.as_str() {
                "edge" => "edge CPU per order",
                "orders" => "orders CPU per order",
                _ => return None,
            };
            Some((role, pid, Figure::new(name, "us")))
        })
        .collect();
    let duration = format!("{seconds}s");
    let load =
        ["load", "orders", "--rate", rate, "--connections", connections, "--keys", keys, "--duration", &duration];
    // The first run fills caches and grows files; it is not counted.
    platform.json(&["load", "orders", "--rate", rate, "--connections", connections, "--duration", "3s"])?;
    for run in 1..=RUNS {
        let before: Vec<f64> = per_role.iter().map(|(_, pid, _)| cpu_seconds(*pid)).collect();
        let report = platform.json(&load)?;
        let done = number(&report, "created") + number(&report, "replayed");
        println!("run {run}: {:.0}/s, p99 {:.2} ms", number(&report, "achieved_rate"), number(&report, "p99_ms"));
        rates.runs.push(number(&report, "achieved_rate"));
        p50.runs.push(number(&report, "p50_ms"));
        p99.runs.push(number(&report, "p99_ms"));
        errors.runs.push(number(&report, "errors"));
        generator.runs.push(number(&report, "cpu_us_per_request"));
        for ((_, pid, figure), before) in per_role.iter_mut().zip(before) {
            figure.runs.push((cpu_seconds(*pid) - before) * 1e6 / done.max(1.0));
        }
    }
    let mut figures = vec![rates, p50, p99, errors, generator];
    figures.extend(per_role.into_iter().map(|(_, _, figure)| figure));
    let settings = json!({ "seconds": seconds, "connections": connections, "keys": keys, "rate": rate });
    publish("orders", &settings, &figures)
}
