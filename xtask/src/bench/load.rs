//! Runs of `zizon load orders` against a benchmark's platform.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{child::Running, number, platform::Platform};

/// Connections of a closed loop; more only add queueing.
pub const CLOSED_CONNECTIONS: &str = "64";

/// What a run of the generator is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Load {
    options: BTreeMap<String, String>,
}

impl Load {
    /// A closed loop of fresh orders from 64 connections.
    pub fn closed(duration: &str) -> Self {
        Self::default().with("--rate", "max").with("--connections", CLOSED_CONNECTIONS).with("--duration", duration)
    }

    /// An open loop of fresh orders.
    pub fn open(rate: f64, connections: u64, duration: &str) -> Self {
        let load = Self::closed(duration).with("--rate", &format!("{rate:.1}"));
        load.with("--connections", &connections.to_string())
    }

    /// With a further option, or another value of one.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs it to its end.
    pub fn run(&self, platform: &Platform) -> Result<Value> {
        self.start(platform)?.report()
    }

    /// Starts it.
    pub fn start(&self, platform: &Platform) -> Result<Beside> {
        let mut words = vec!["load", "orders"];
        words.extend(self.options.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        Ok(Beside { running: platform.command(&words)? })
    }
}

/// A run that goes on beside other work.
pub struct Beside {
    running: Running,
}

impl Beside {
    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        self.running.has_ended()
    }

    /// Waits for its report. Requests that failed are in the report; a run that could not start fails here.
    pub fn report(self) -> Result<Value> {
        let ended = self.running.wait()?;
        let report: Value = serde_json::from_slice(&ended.output)
            .with_context(|| format!("the generator answered no JSON ({})", ended.status))?;
        if let Some(error) = report.get("error").and_then(Value::as_str) {
            bail!("the generator: {error} ({})", report["help"].as_str().unwrap_or_default());
        }
        Ok(report)
    }
}

/// Orders a report counts.
pub fn orders(report: &Value) -> f64 {
    number(report, "created") + number(report, "replayed")
}

/// Requests sent without a 201, as a warning in one line; nothing when there are none.
pub fn warn(report: &Value) {
    if number(report, "errors") > 0.0 {
        println!("      {} errors: {}", number(report, "errors"), report["error_kinds"]);
    }
}

/// Starts the generator could not make in time, as shares of what was due: sent late, never sent.
pub fn limits(report: &Value) -> (f64, f64) {
    let due = number(report, "sent") + number(report, "unsent");
    (number(report, "late_sends") / due.max(1.0), number(report, "unsent") / due.max(1.0))
}

/// The lines a run wrote with `--progress`; a last one that is being written is left out.
pub fn progress(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_shares_of_what_was_due() {
        let report = json!({ "sent": 900, "unsent": 100, "late_sends": 450 });
        assert_eq!(limits(&report), (0.45, 0.1));
    }

    #[test]
    fn a_load_is_what_the_command_line_takes() {
        let load = Load::open(1_500.25, 1_800, "60s").with("--products", "ids");
        let text = |name: &str| load.options[name].as_str();
        assert_eq!((text("--rate"), text("--connections"), text("--duration")), ("1500.2", "1800", "60s"));
        assert_eq!(text("--products"), "ids");
    }
}
