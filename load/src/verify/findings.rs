//! What a verification found.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Entries kept per list; the totals count all.
const LIST_MAX: usize = 100;

/// The result of a verification. The lists hold the first 100 findings of each sort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Orders asked for.
    pub checked: u64,
    /// Acknowledged orders the platform does not have.
    pub missing: Vec<String>,
    /// Orders that differ from what was acknowledged.
    pub different: Vec<String>,
    /// Keys with two orders, or orders with two keys.
    pub duplicates: Vec<String>,
    /// Orders the platform has no clear answer about.
    pub unreadable: Vec<String>,
    /// Lines of the file that are no acknowledgement, as `FILE:LINE: reason`.
    pub bad_lines: Vec<String>,
    /// Length of the whole `missing` list.
    pub missing_total: u64,
    /// Length of the whole `different` list.
    pub different_total: u64,
    /// Length of the whole `duplicates` list.
    pub duplicates_total: u64,
    /// Length of the whole `unreadable` list.
    pub unreadable_total: u64,
    /// Length of the whole `bad_lines` list.
    pub bad_lines_total: u64,
    /// Acknowledgements that repeat one already checked (replays).
    pub repeated: u64,
    /// The file ends in half a line, which was never counted as acknowledged.
    pub torn_last_line: bool,
    /// The verification was stopped before the end of the file.
    pub stopped_early: bool,
}

/// The state of a verification, each second.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyProgress {
    /// Since the start.
    pub elapsed: Duration,
    /// Orders asked for.
    pub checked: u64,
    /// Findings of all sorts.
    pub findings: u64,
    /// How much of the file has been read, 0 to 1.
    pub fraction: f64,
    /// Why an order is being asked for again, while one is.
    pub waiting: Option<String>,
}

impl fmt::Display for VerifyProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checked, findings, .. } = self;
        write!(
            f,
            "{:>4} s  {checked} orders checked ({:.0} % of the file)  {findings} findings",
            self.elapsed.as_secs(),
            self.fraction * 100.0
        )?;
        self.waiting.as_ref().map_or(Ok(()), |reason| write!(f, "  asking again: {reason}"))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Finding {
    Missing,
    Different,
    Duplicate,
    Unreadable,
    BadLine,
}

impl VerifyReport {
    /// Whether every acknowledged order is there, equal, once. Nothing checked is nothing shown.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.checked > 0 && self.findings() == 0 && !self.stopped_early
    }

    const fn findings(&self) -> u64 {
        self.missing_total + self.different_total + self.duplicates_total + self.unreadable_total + self.bad_lines_total
    }

    /// What was found, a sort at a time: name, how many, the first of them.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, u64, &[String]); 5] {
        [
            ("missing", self.missing_total, &self.missing),
            ("different", self.different_total, &self.different),
            ("duplicate", self.duplicates_total, &self.duplicates),
            ("unreadable", self.unreadable_total, &self.unreadable),
            ("bad lines", self.bad_lines_total, &self.bad_lines),
        ]
    }

    /// Why the verification has not succeeded, in a sentence; `None` when it has.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.is_clean() {
            return None;
        }
        if self.stopped_early {
            return Some("stopped before the end of the file".into());
        }
        if self.findings() == 0 {
            return Some("nothing to check: the file holds no acknowledged order".into());
        }
        let counts = self.lists().into_iter().filter(|(_, total, _)| *total > 0);
        let counts: Vec<String> = counts.map(|(name, total, _)| format!("{total} {name}")).collect();
        Some(format!("not every acknowledged order is as it was acknowledged: {}", counts.join(", ")))
    }

    pub(super) fn note(&mut self, finding: Finding, what: String) {
        let (list, total) = match finding {
            Finding::Missing => (&mut self.missing, &mut self.missing_total),
            Finding::Different => (&mut self.different, &mut self.different_total),
            Finding::Duplicate => (&mut self.duplicates, &mut self.duplicates_total),
            Finding::Unreadable => (&mut self.unreadable, &mut self.unreadable_total),
            Finding::BadLine => (&mut self.bad_lines, &mut self.bad_lines_total),
        };
        *total += 1;
        if list.len() < LIST_MAX {
            list.push(what);
        }
    }

    pub(super) const fn progress(&self, elapsed: Duration, fraction: f64, waiting: Option<String>) -> VerifyProgress {
        VerifyProgress { elapsed, checked: self.checked, findings: self.findings(), fraction, waiting }
    }

    /// The report as lines.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            let _infallible = writeln!(text, "{line}");
        };
        line(format!("{} acknowledged orders checked, {} repeated acknowledgements", self.checked, self.repeated));
        if self.torn_last_line {
            line("the last line of the file is torn: that order was never counted as acknowledged".into());
        }
        if self.stopped_early {
            line("stopped before the end of the file".into());
        }
        for (name, total, list) in self.lists().into_iter().filter(|(_, total, _)| *total > 0) {
            line(format!("{total} {name}:"));
            for what in list {
                line(format!("  {what}"));
            }
            if total > list.len() as u64 {
                line(format!("  ... and {} more", total - list.len() as u64));
            }
        }
        line(self.failure().unwrap_or_else(|| "every acknowledged order is there, equal, once".into()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_totals_are_not() {
        let mut report = VerifyReport { checked: 150, ..VerifyReport::default() };
        assert!(report.is_clean());
        for n in 0..150 {
            report.note(Finding::Missing, format!("ord_{n}"));
        }
        assert_eq!((report.missing.len(), report.missing_total), (100, 150));
        assert!(!report.is_clean());
        assert!(report.render().contains("... and 50 more"));
    }

    #[test]
    fn nothing_checked_is_no_success() {
        let report = VerifyReport { torn_last_line: true, ..VerifyReport::default() };
        assert!(!report.is_clean());
        assert!(report.failure().unwrap().starts_with("nothing to check"));
        let stopped = VerifyReport { stopped_early: true, checked: 3, ..VerifyReport::default() };
        assert!(stopped.failure().unwrap().starts_with("stopped"));
    }
}
