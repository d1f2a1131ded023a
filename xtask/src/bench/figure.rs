//! Figures, goals, and where they are kept.

use std::{
    fs,
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use serde_json::{Value, json};

use crate::shell;

/// Which way is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Rates, ratios to others.
    More,
    /// Latency, CPU, memory, bytes.
    Less,
    /// Neither: what describes the run or the machine.
    Neither,
}

impl Better {
    const fn name(self) -> &'static str {
        match self {
            Self::More => "more",
            Self::Less => "less",
            Self::Neither => "neither",
        }
    }
}

/// A figure: its name, its unit and every run.
#[derive(Debug)]
pub struct Figure {
    /// For people, and the key in the history.
    pub name: String,
    unit: &'static str,
    better: Better,
    /// One value for each run.
    pub runs: Vec<f64>,
}

impl Figure {
    /// A figure where more is better.
    pub fn more(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, better: Better::More, runs: Vec::new() }
    }

    /// A figure where less is better.
    pub fn less(name: impl Into<String>, unit: &'static str) -> Self {
        Self { better: Better::Less, ..Self::more(name, unit) }
    }

    /// A figure that only describes.
    pub fn plain(name: impl Into<String>, unit: &'static str) -> Self {
        Self { better: Better::Neither, ..Self::more(name, unit) }
    }

    /// The same with these runs.
    pub fn with(mut self, runs: impl IntoIterator<Item = f64>) -> Self {
        self.runs.extend(runs);
        self
    }

    /// The median of the runs.
    pub fn median(&self) -> f64 {
        median(&self.runs)
    }
}

/// The median; of an even number the mean of the middle two. Not a number without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, half) if len % 2 == 1 => sorted[half],
        (_, half) => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The smallest value that at least `quantile` of all are not above (nearest rank). Not a number without values.
pub fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank within the values"
    )]
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// A goal and whether it was reached.
#[derive(Debug)]
pub struct Goal {
    text: String,
    holds: bool,
}

impl Goal {
    /// `text` says the goal and what it was compared with.
    pub fn new(text: impl Into<String>, holds: bool) -> Self {
        Self { text: text.into(), holds }
    }

    /// What was to be reached.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it was.
    #[cfg(test)]
    pub const fn holds(&self) -> bool {
        self.holds
    }
}

/// Prints the figures, writes them to `target/bench/NAME.json` and appends them to the history beside it.
pub fn publish(name: &str, settings: &Value, figures: &[Figure], goals: &[Goal]) -> Result<()> {
    print!("{}", render(name, figures, goals));
    let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    // With a mark when what is measured is not what was committed.
    let commit = shell::output("git", &["describe", "--always", "--dirty", "--abbrev=7"]).unwrap_or_default();
    let rows: Vec<_> = figures.iter().map(row).collect();
    let reached: Vec<_> = goals.iter().map(|goal| json!({ "goal": goal.text, "holds": goal.holds })).collect();
    let document = json!({
        "bench": name, "at_unix_seconds": at, "commit": commit.trim(), "settings": settings, "figures": rows,
        "goals": reached,
    });
    let directory = shell::target().join("bench");
    fs::create_dir_all(&directory)?;
    let file = directory.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_string_pretty(&document)?)?;
    let mut history = fs::OpenOptions::new().create(true).append(true).open(directory.join("history.jsonl"))?;
    history.write_all(format!("{document}\n").as_bytes())?;
    println!("written to {}", file.display());
    Ok(())
}

fn row(figure: &Figure) -> Value {
    json!({
        "name": figure.name, "unit": figure.unit, "better": figure.better.name(), "median": figure.median(),
        "runs": figure.runs,
    })
}

fn render(name: &str, figures: &[Figure], goals: &[Goal]) -> String {
    let width = figures.iter().map(|figure| figure.name.chars().count()).chain([name.len()]).max().unwrap_or(0);
    let mut out = format!("\n{name:<width$}  {:>12}  {:>12}  {:>12}  unit\n", "median", "least", "most");
    for figure in figures {
        let least = figure.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figure.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let cells = [figure.median(), least, most].map(|value| format!("{:>12}", shown(value))).join("  ");
        out.push_str(&format!("{:<width$}  {cells}  {}\n", figure.name, figure.unit));
    }
    if !goals.is_empty() {
        out.push('\n');
    }
    for goal in goals {
        out.push_str(&format!("{}  {}\n", if goal.holds { "reached    " } else { "NOT reached" }, goal.text));
    }
    out
}

/// A number as short as it is telling: `18,028`, `3.31`, `0.004`; a dash where there is none.
pub fn shown(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if !(0.000_05..1.0).contains(&middle) => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

/// A number in a JSON answer; not a number where it is missing.
pub fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0, 0.0].map(|q| quantile(&values, q)), [50.0, 99.0, 100.0, 1.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn numbers_are_shown_short_and_grouped() {
        let cases = [(18_028.4, "18,028"), (3.314, "3.31"), (0.00412, "0.0041"), (0.0, "0.00"), (1e7, "10,000,000")];
        for (value, text) in cases {
            assert_eq!(shown(value), text);
        }
        assert_eq!((shown(-1_234.0), shown(-123.0), shown(f64::NAN)), ("-1,234".into(), "-123".into(), "-".into()));
    }

    #[test]
    fn a_table_aligns_and_names_what_was_not_reached() {
        let figures = [Figure::more("orders", "1/s").with([2.0, 1.0, 3.0]), Figure::less("a longer name", "ms")];
        let text = render("x", &figures, &[Goal::new("one", true), Goal::new("two", false)]);
        assert!(text.contains("orders                 2.00          1.00          3.00  1/s\n"), "{text}");
        assert!(text.contains("a longer name             -             -             -  ms\n"), "{text}");
        assert!(text.ends_with("reached      one\nNOT reached  two\n"), "{text}");
    }
}
