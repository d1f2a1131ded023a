//! `GET /api/v1/products/{id}` through the edge, of random products among many.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    proc::resident_mb,
    publish, shown, wrk,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--products", "200000", "products in the catalog, besides the demo's"),
    value("--seconds", "10", "of each run"),
    value("--connections", "64", "connections of wrk"),
];

/// Goal, per second.
const GOAL: f64 = 20_000.0;

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let products = options.number("--products", 1..=900_000)?;
    let seconds = options.seconds("--seconds", 1..=3_600)?;
    let connections = options.number("--connections", 1..=2_048)?;
    if let Some(why) = wrk::missing() {
        shell::not_run("bench reads", why);
        return Ok(());
    }
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("reads")?;
    platform.fill(products, false)?;
    let measure = |run: usize, seconds: u64| {
        let arguments = [products.to_string(), run.to_string()];
        wrk::measure(&platform, "wrk_products.lua", connections, seconds, &arguments)
    };
    measure(0, 2)?;

    let mut rate = Figure::more("product reads", "1/s");
    let mut p50 = Figure::less("p50", "ms");
    let mut p99 = Figure::less("p99", "ms");
    let mut errors = Figure::less("errors", "count");
    let mut edge = Figure::less("edge CPU per read", "us");
    let mut catalog = Figure::less("catalog CPU per read", "us");
    let mut memory = Figure::less("catalog memory", "MB");
    for run in 1..=runs {
        let measured = measure(run, seconds)?;
        println!("run {run}: {}/s, p99 {} ms", shown(measured.rate), shown(measured.p99_ms));
        rate.runs.push(measured.rate);
        p50.runs.push(measured.p50_ms);
        p99.runs.push(measured.p99_ms);
        errors.runs.push(measured.errors);
        edge.runs.push(measured.used.us_per("edge", measured.orders));
        catalog.runs.push(measured.used.us_per("catalog", measured.orders));
        memory.runs.push(resident_mb(platform.pid("catalog")?));
    }
    let goals = [
        Goal::new("reads >= 20,000/s", rate.median() >= GOAL),
        Goal::new("no errors", errors.runs.iter().all(|&count| count == 0.0)),
    ];
    let settings = json!({ "runs": runs, "products": products, "seconds": seconds, "connections": connections });
    publish("reads", &settings, &[rate, p50, p99, errors, edge, catalog, memory], &goals)
}
