//! What a proof says: claims, each with what was seen, and a verdict that follows from them.

use std::time::Instant;

use serde::Serialize;
use zizon_contracts::fsck::StoreFinding;
use zizon_load::VerifyError;

use crate::ProveError;
use crate::timeline::Timeline;

/// One claim and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub claim: String,
    /// Whether it does.
    pub holds: bool,
    /// What was seen, with its numbers.
    pub seen: String,
}

impl Check {
    /// A claim, whether it holds, and what was seen.
    pub(crate) fn new(claim: impl Into<String>, holds: bool, seen: impl Into<String>) -> Self {
        Self { claim: claim.into(), holds, seen: seen.into() }
    }
}

/// Whether a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was checked holds.
    Proven,
    /// Something does not.
    Refuted,
}

impl Verdict {
    /// What follows from checks. No check is no proof.
    #[must_use]
    pub fn of<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Self {
        let mut any = false;
        for check in checks {
            any = true;
            if !check.holds {
                return Self::Refuted;
            }
        }
        if any { Self::Proven } else { Self::Refuted }
    }
}

/// A part of a proof: one way in which it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What was done.
    pub title: String,
    /// What had to hold.
    pub checks: Vec<Check>,
    /// What was measured meanwhile; may be empty.
    pub note: String,
}

/// A measured fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Its name.
    pub name: String,
    /// Its value with its unit.
    pub value: String,
}

/// A proof that was carried through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// `oversell`, `replay` or `durability`.
    pub name: &'static str,
    /// What was claimed.
    pub claim: String,
    /// How it was tested.
    pub method: String,
    /// Whether it stands.
    pub verdict: Verdict,
    /// What was tried, part by part.
    pub parts: Vec<Part>,
    /// What was measured on the way.
    pub facts: Vec<Fact>,
    /// What this does not show.
    pub not_shown: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What happened over time, where that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

impl Proof {
    /// The proof before anything was seen: refuted until it is shown.
    pub(crate) fn unseen(name: &'static str, claim: &str, method: String, began: Instant) -> Self {
        Self {
            name,
            claim: claim.to_owned(),
            method,
            verdict: Verdict::Refuted,
            parts: Vec::new(),
            facts: Vec::new(),
            not_shown: Vec::new(),
            seconds: began.elapsed().as_secs_f64(),
            timeline: None,
        }
    }

    /// Every check of every part.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.parts.iter().flat_map(|part| &part.checks)
    }

    /// A platform that does not come back, or cannot say what became of an order, is what a proof is to find: it refutes.
    /// Other errors stay.
    pub(crate) fn or_refuted(self, error: ProveError) -> Result<Self, ProveError> {
        let check = match error {
            ProveError::Down { what, said } => {
                Check::new("the platform comes back, whatever is killed", false, format!("{what}; {said}"))
            }
            ProveError::Verify(error @ VerifyError::Unavailable { .. }) => {
                Check::new("every acknowledged order is asked for", false, error.to_string())
            }
            error => return Err(error),
        };
        let title = "the platform under proof".to_owned();
        Ok(Self {
            verdict: Verdict::Refuted,
            parts: vec![Part { title, checks: vec![check], note: String::new() }],
            ..self
        })
    }

    /// Whether it stands.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.verdict == Verdict::Proven
    }
}

/// What a check of the storage said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FsckSeen {
    /// Whether journal, index and stock agree.
    pub ok: bool,
    /// What was compared, or the first thing that is wrong.
    pub said: String,
    /// Orders there are, by the journal; `None` where they could not be counted.
    pub orders: Option<u64>,
}

impl FsckSeen {
    /// The findings of all stores in a sentence.
    #[must_use]
    pub fn of(ok: bool, stores: &[StoreFinding]) -> Self {
        let wrong = stores.iter().find_map(|store| store.first_difference.clone());
        let stock = stores.iter().find_map(|store| store.stock.as_ref());
        let stock_wrong = stock.and_then(|stock| stock.differences.first().cloned());
        let orders = stock.map(|stock| stock.orders);
        let said = match (wrong.or(stock_wrong), orders) {
            (Some(wrong), _) => wrong,
            (None, Some(orders)) if ok => format!("journal, index and stock agree over {} orders", grouped(orders)),
            (None, _) => "the stock was not checked".to_owned(),
        };
        // Where the stock could not be added up, nothing is shown about it.
        Self { ok: ok && orders.is_some(), said, orders }
    }
}

/// `1204` as `1,204`: large numbers are read in groups.
#[must_use]
pub fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut out = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_read_in_groups() {
        for (number, shown) in [(7, "7"), (1204, "1,204"), (-1_000_000, "-1,000,000"), (100, "100")] {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn one_check_that_fails_refutes_and_none_proves_nothing() {
        let (good, bad) = (Check::new("c", true, ""), Check::new("c", false, ""));
        assert_eq!(Verdict::of([&good, &good]), Verdict::Proven);
        assert_eq!(Verdict::of([&good, &bad]), Verdict::Refuted);
        assert_eq!(Verdict::of([]), Verdict::Refuted);
    }

    #[test]
    fn a_platform_that_does_not_come_back_refutes_and_a_stopped_proof_decides_nothing() {
        let blank = || Proof {
            name: "durability",
            claim: String::new(),
            method: String::new(),
            verdict: Verdict::Proven,
            parts: Vec::new(),
            facts: Vec::new(),
            not_shown: Vec::new(),
            seconds: 0.0,
            timeline: None,
        };
        let down = ProveError::Down { what: "orders did not come back".into(), said: "corrupt journal".into() };
        let refuted = blank().or_refuted(down).unwrap();
        assert!(!refuted.is_proven());
        assert!(refuted.checks().any(|check| !check.holds && check.seen.contains("corrupt journal")));
        let silent = VerifyError::Unavailable { id: "ord_1".into(), patience_s: 60, reason: "503".into() };
        assert!(!blank().or_refuted(silent.into()).unwrap().is_proven());
        assert!(matches!(blank().or_refuted(ProveError::Stopped), Err(ProveError::Stopped)));
    }

    #[test]
    fn stock_that_was_not_added_up_shows_nothing() {
        assert!(!FsckSeen::of(true, &[]).ok);
    }
}
