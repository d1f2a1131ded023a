//! `cargo xtask bench NAME`: medians of five, as a table and as JSON under target/bench.
//!
//! Absolute figures belong to the machine they were measured on; what is compared is measured in one run.

mod compare;
mod hop;
mod orders;
mod platform;
mod start;
mod table;

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

pub use platform::Platform;

use crate::shell;

/// Runs counted for each figure.
const RUNS: usize = 5;

/// Runs one benchmark.
pub fn run(name: &str, options: &[&str]) -> Result<()> {
    match name {
        "orders" => orders::run(options),
        "table" => table::run(options),
        "hop" => hop::run(options),
        "start" => start::run(),
        "compare" => compare::run(),
        _ => bail!("unknown benchmark {name:?}; there are orders, table, hop, start and compare"),
    }
}

/// A figure: its name, its unit and every run.
struct Figure {
    name: &'static str,
    unit: &'static str,
    runs: Vec<f64>,
}

impl Figure {
    fn new(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, runs: Vec::new() }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Prints the figures, writes them to `target/bench/NAME.json` and appends them to the history beside it.
fn publish(name: &str, settings: &Value, figures: &[Figure]) -> Result<()> {
    println!("\n{:<28} {:>12} {:>12} {:>12}  unit", name, "median", "least", "most");
    for figure in figures {
        let least = figure.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figure.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        println!("{:<28} {:>12.2} {:>12.2} {:>12.2}  {}", figure.name, figure.median(), least, most, figure.unit);
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let commit = shell::output("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let rows: Vec<_> = figures
        .iter()
        .map(|figure| json!({ "name": figure.name, "unit": figure.unit, "median": figure.median(), "runs": figure.runs }))
        .collect();
    let document =
        json!({ "bench": name, "at_unix_seconds": at, "commit": commit.trim(), "settings": settings, "figures": rows });
    let directory = shell::target().join("bench");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(format!("{name}.json")), serde_json::to_string_pretty(&document)?)?;
    let mut history = fs::read_to_string(directory.join("history.jsonl")).unwrap_or_default();
    history.push_str(&document.to_string());
    history.push('\n');
    fs::write(directory.join("history.jsonl"), history)?;
    println!("written to {}", directory.join(format!("{name}.json")).display());
    Ok(())
}

/// A number in a JSON answer.
fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// The value after `--NAME` in the options.
fn option<'a>(options: &[&'a str], name: &str) -> Option<&'a str> {
    options.iter().position(|word| *word == name).and_then(|at| options.get(at + 1)).copied()
}
