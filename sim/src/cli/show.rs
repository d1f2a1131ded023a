//! What people see.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zizon_sim::{Fault, Stats};

/// Prints a line. Where nobody reads any more, as behind `head`, the run goes on for its exit code.
pub fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

macro_rules! say {
    ($($text:tt)*) => { $crate::cli::show::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// How often the progress line changes.
const EVERY: Duration = Duration::from_millis(100);

/// A line that says how far something is, on a terminal only.
#[derive(Debug)]
pub struct Line {
    last: Mutex<Option<Instant>>,
    terminal: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self { last: Mutex::default(), terminal: std::io::stderr().is_terminal() }
    }
}

impl Line {
    /// Shows `text`, if it is time for it.
    pub fn show(&self, text: impl FnOnce() -> String) {
        if !self.terminal {
            return;
        }
        let mut last = self.last.lock();
        if last.is_none_or(|at| at.elapsed() >= EVERY) {
            *last = Some(Instant::now());
            let mut out = std::io::stderr().lock();
            // A terminal that is gone does not end the run.
            let _ = write!(out, "\r\x1b[2K{}", text()).and_then(|()| out.flush());
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.last.lock().take().is_some() {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What runs did, one figure a line.
pub fn stats(stats: &Stats) {
    let rows = [
        ("requests answered", stats.answers),
        ("orders placed", stats.placed),
        ("orders replayed", stats.replayed),
        ("refusals checked", stats.refused),
        ("outcomes unknown", stats.unknown),
        ("starts", stats.starts),
        ("crashes and stops", stats.crashes),
        ("of these power losses", stats.power_losses),
        ("histories checked", stats.histories),
        ("calls in them", stats.calls),
        ("undecided histories", stats.undecided),
    ];
    for (name, figure) in rows {
        say!("  {name:<32}{:>14}", count(figure));
    }
    say!("faults that came");
    for fault in Fault::ALL {
        say!("  {:<32}{:>14}", fault.name(), count(stats.faults[fault as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
