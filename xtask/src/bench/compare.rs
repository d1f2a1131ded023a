//! The newest run of each benchmark against the one before it with the same settings, so that a regression shows.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    number,
    options::{Options, Spec, Usage, switch, value},
    shown,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[
    value("--bench", "", "only this one"),
    value("--worse", "10", "percent a figure may be worse before it counts as a regression"),
    switch("--fail", "exit code 1 when a figure has become worse by more"),
];

/// Prints the last two runs of every figure, and which have become worse.
pub fn run(options: &Options) -> Result<()> {
    let allowed = options.number("--worse", 0..=1_000)?;
    let path = shell::target().join("bench/history.jsonl");
    let missing = || format!("no history yet at {}; every cargo xtask bench NAME adds to it", path.display());
    let text = fs::read_to_string(&path).with_context(missing)?;
    let mut regressions = Vec::new();
    let mut seen = false;
    let only = options.text("--bench");
    for pair in pairs(&text).with_context(|| path.display().to_string())? {
        if !only.is_empty() && pair.bench != only {
            continue;
        }
        seen = true;
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let (table, worse) = pair.table(allowed as f64 / 100.0);
        print!("{table}");
        regressions.extend(worse.into_iter().map(|name| format!("{}: {name}", pair.bench)));
    }
    if !seen {
        return Err(Usage(format!("no run of `{only}` in {}", path.display())).into());
    }
    if regressions.is_empty() {
        return Ok(());
    }
    println!("\nworse by more than {allowed} %:\n  {}", regressions.join("\n  "));
    if options.has("--fail") {
        bail!("{} figures have become worse by more than {allowed} %", regressions.len());
    }
    Ok(())
}

/// The newest run of a benchmark and the one it is compared with.
#[derive(Debug)]
struct Pair {
    bench: String,
    before: Option<Value>,
    after: Value,
}

/// Of every benchmark in the history, the newest run and the last one before it that was asked for the same.
fn pairs(history: &str) -> Result<Vec<Pair>> {
    let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (at, line) in history.lines().enumerate() {
        let run: Value = serde_json::from_str(line).with_context(|| format!("line {}: no JSON; remove it", at + 1))?;
        runs.entry(run["bench"].as_str().unwrap_or_default().to_owned()).or_default().push(run);
    }
    let newest = |(bench, mut runs): (String, Vec<Value>)| {
        let after = runs.pop()?;
        let before = runs.into_iter().rfind(|run| run["settings"] == after["settings"]);
        Some(Pair { bench, before, after })
    };
    Ok(runs.into_iter().filter_map(newest).collect())
}

impl Pair {
    /// The table, and the names of the figures that are worse by more than `allowed`.
    fn table(&self, allowed: f64) -> (String, Vec<String>) {
        let commit = |run: &Value| run["commit"].as_str().filter(|text| !text.is_empty()).unwrap_or("?").to_owned();
        let Some(before) = &self.before else {
            return (format!("\n{}: one run with these settings only ({})\n", self.bench, commit(&self.after)), vec![]);
        };
        let mut out = format!("\n{}: {} -> {}\n", self.bench, commit(before), commit(&self.after));
        let rows = |run: &Value| run["figures"].as_array().cloned().unwrap_or_default();
        let (earlier, later) = (rows(before), rows(&self.after));
        let name = |figure: &Value| figure["name"].as_str().unwrap_or_default().to_owned();
        let width = later.iter().map(|figure| name(figure).chars().count()).max().unwrap_or(0);
        let mut regressions = Vec::new();
        for figure in &later {
            let was = earlier.iter().find(|other| other["name"] == figure["name"]);
            let (was, is) = (was.map_or(f64::NAN, |other| number(other, "median")), number(figure, "median"));
            let change = worsening(figure, was, is);
            let mark = match change {
                Some(change) if change > allowed => "  WORSE",
                Some(change) if change < -allowed => "  better",
                _ => "",
            };
            if change.is_some_and(|change| change > allowed) {
                regressions.push(name(figure));
            }
            let ratio = if (is / was).is_finite() { format!("x{}", shown(is / was)) } else { String::new() };
            let (before, after) = (shown(was), shown(is));
            let unit = figure["unit"].as_str().unwrap_or_default();
            out.push_str(&format!("  {:<width$}  {before:>12}  {after:>12}  {unit:<5}  {ratio}{mark}\n", name(figure)));
        }
        (out, regressions)
    }
}

/// By how much a figure has become worse, as a share; negative when it is better. `None` where that cannot be said.
fn worsening(figure: &Value, was: f64, is: f64) -> Option<f64> {
    let change = is / was - 1.0;
    match figure["better"].as_str() {
        Some("more") if change.is_finite() => Some(-change),
        Some("less") if change.is_finite() => Some(change),
        // From none to some, of errors: worse, whatever the ratio.
        Some("less") if was == 0.0 && is > 0.0 => Some(f64::INFINITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bench: &str, settings: u32, rate: f64, p99: f64) -> String {
        serde_json::json!({ "bench": bench, "commit": "c", "settings": { "s": settings }, "figures": [
            { "name": "rate", "unit": "1/s", "better": "more", "median": rate },
            { "name": "p99", "unit": "ms", "better": "less", "median": p99 },
            { "name": "disk", "unit": "ms", "better": "neither", "median": rate },
        ]})
        .to_string()
    }

    fn regressions(lines: &[String]) -> Vec<String> {
        let pairs = pairs(&lines.join("\n")).unwrap_or_default();
        assert_eq!(pairs.len(), 1);
        pairs[0].table(0.10).1
    }

    #[test]
    fn a_figure_regresses_in_its_own_direction() {
        assert_eq!(regressions(&[run("a", 1, 100.0, 1.0), run("a", 1, 95.0, 1.05)]), Vec::<String>::new());
        assert_eq!(regressions(&[run("a", 1, 100.0, 1.0), run("a", 1, 80.0, 0.5)]), ["rate"]);
        assert_eq!(regressions(&[run("a", 1, 100.0, 1.0), run("a", 1, 200.0, 1.2)]), ["p99"]);
        assert_eq!(regressions(&[run("a", 1, 100.0, 0.0), run("a", 1, 100.0, 3.0)]), ["p99"]);
    }

    #[test]
    fn runs_with_other_settings_are_not_compared() {
        let history = [run("a", 1, 100.0, 1.0), run("a", 2, 900.0, 1.0), run("a", 1, 50.0, 1.0)];
        assert_eq!(regressions(&history), ["rate"]);
        let pairs = pairs(&[run("a", 1, 1.0, 1.0), run("a", 2, 1.0, 1.0)].join("\n")).unwrap_or_default();
        assert!(pairs[0].table(0.1).0.contains("one run with these settings only"));
    }

    #[test]
    fn a_broken_history_names_its_line() {
        let error = pairs(&format!("{}\nnot json", run("a", 1, 1.0, 1.0))).map(drop).unwrap_err();
        assert!(format!("{error:#}").starts_with("line 2: "), "{error:#}");
    }
}
