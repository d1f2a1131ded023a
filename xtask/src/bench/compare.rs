//! The newest run of each benchmark against the one before it, so that a regression shows.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde_json::Value;

use super::number;
use crate::shell;

/// Prints the ratio of the last two runs for every figure.
pub fn run() -> Result<()> {
    let path = shell::target().join("bench/history.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("no history yet at {}", path.display()))?;
    let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let run: Value = serde_json::from_str(line)?;
        runs.entry(run["bench"].as_str().unwrap_or_default().to_owned()).or_default().push(run);
    }
    for (name, runs) in runs {
        let [.., before, after] = runs.as_slice() else {
            println!("{name}: one run only");
            continue;
        };
        println!(
            "\n{name}: {} -> {}",
            before["commit"].as_str().unwrap_or("?"),
            after["commit"].as_str().unwrap_or("?")
        );
        for figure in after["figures"].as_array().into_iter().flatten() {
            let earlier =
                before["figures"].as_array().into_iter().flatten().find(|other| other["name"] == figure["name"]);
            let (was, is) = (earlier.map_or(f64::NAN, |other| number(other, "median")), number(figure, "median"));
            println!("  {:<28} {was:>12.2} {is:>12.2}  x{:.2}", figure["name"].as_str().unwrap_or_default(), is / was);
        }
    }
    Ok(())
}
