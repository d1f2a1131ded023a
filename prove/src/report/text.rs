//! The report for a terminal.

use std::fmt::Write as _;

use super::Report;
use crate::control::Outcome;
use crate::proof::{Check, Part, Proof, Verdict};

/// What a part of the text means; the terminal decides how that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It holds.
    Good,
    /// It does not.
    Bad,
    /// It matters.
    Strong,
    /// It matters less.
    Quiet,
}

type Paint<'a> = &'a dyn Fn(&str, Tone) -> String;

/// Columns of a fact's name.
const NAME: usize = 12;
/// Columns of a part's title.
const PART: usize = 51;
/// A claim longer than this has what was seen on a line of its own.
const CLAIM: usize = 53;

pub(super) fn render(report: &Report, paint: Paint<'_>) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        let _infallible = writeln!(text, "{}", line.trim_end());
    };
    for proof in &report.proofs {
        line(&self::proof(proof, paint));
        line("");
    }
    for outcome in &report.controls {
        line(&control(outcome, paint));
    }
    if !report.controls.is_empty() {
        line("");
    }
    for (name, value) in [
        ("version", report.version.clone()),
        ("machine", report.machine.line()),
        ("seed", report.seed.to_string()),
        ("repeat", report.command.clone()),
    ] {
        line(&format!("{} {value}", paint(&format!("{name:<NAME$}"), Tone::Quiet)));
    }
    line("");
    let (word, tone) = word(report.verdict, report.proofs.is_empty());
    line(&format!("{}: {}", paint(word, tone), report.summary()));
    text
}

/// The word for a verdict.
pub(super) const fn word(verdict: Verdict, is_control: bool) -> (&'static str, Tone) {
    match (verdict, is_control) {
        (Verdict::Proven, false) => ("proven", Tone::Good),
        (Verdict::Refuted, false) => ("refuted", Tone::Bad),
        (Verdict::Proven, true) => ("every defect noticed", Tone::Good),
        (Verdict::Refuted, true) => ("a defect went unnoticed", Tone::Bad),
    }
}

fn proof(proof: &Proof, paint: Paint<'_>) -> String {
    let (word, tone) = word(proof.verdict, false);
    let mut text = format!(
        "{}  {} in {:.0} s: {}\n",
        paint(proof.name, Tone::Strong),
        paint(word, tone),
        proof.seconds,
        proof.claim
    );
    let mut line = |line: String| {
        let _infallible = writeln!(text, "{}", line.trim_end());
    };
    line(format!("  {}", paint(&proof.method, Tone::Quiet)));
    if let [only] = proof.parts.as_slice() {
        only.checks.iter().for_each(|check| line(self::check(check, paint)));
    } else {
        for part in &proof.parts {
            line(summary(part, paint));
            part.checks
                .iter()
                .filter(|check| !check.holds)
                .for_each(|check| line(format!("  {}", self::check(check, paint))));
        }
    }
    let gaps = proof.not_shown.iter().map(|gap| ("not shown", gap));
    let facts: Vec<(&str, &String)> =
        proof.facts.iter().map(|fact| (fact.name.as_str(), &fact.value)).chain(gaps).collect();
    for (name, value) in facts {
        line(format!("  {} {value}", paint(&format!("{name:<NAME$}"), Tone::Quiet)));
    }
    text
}

fn mark(holds: bool, paint: Paint<'_>) -> String {
    if holds { paint("ok", Tone::Good) } else { paint("NO", Tone::Bad) }
}

fn check(check: &Check, paint: Paint<'_>) -> String {
    let mark = mark(check.holds, paint);
    if check.claim.chars().count() > CLAIM {
        return format!("  {mark} {}\n     {}", check.claim, paint(&check.seen, Tone::Quiet));
    }
    format!("  {mark} {:<CLAIM$}  {}", check.claim, paint(&check.seen, Tone::Quiet))
}

fn summary(part: &Part, paint: Paint<'_>) -> String {
    let held = part.checks.iter().filter(|check| check.holds).count();
    let all = part.checks.len();
    let seen = paint(&format!("{}; {held} of {all} checks hold", part_seen(part)), Tone::Quiet);
    let line = format!("  {} {:<PART$}  {seen}", mark(held == all, paint), part.title);
    if part.note.is_empty() { line } else { format!("{line}\n{:<1$}{2}", "", PART + 7, paint(&part.note, Tone::Quiet)) }
}

/// What was seen of a part's first two claims, which say the most.
pub(super) fn part_seen(part: &Part) -> String {
    part.checks.iter().take(2).map(|check| check.seen.as_str()).collect::<Vec<_>>().join(", ")
}

fn control(outcome: &Outcome, paint: Paint<'_>) -> String {
    let mark = mark(outcome.caught, paint);
    format!("{mark} {}\n     {}", outcome.name, paint(&outcome.said, Tone::Quiet))
}
