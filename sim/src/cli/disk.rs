//! `zizon-sim crashpoints` and `zizon-sim damage`.

use std::collections::BTreeMap;
use std::time::Instant;

use zizon_sim::damage::Noticed;

use super::End;
use super::show::{Line, count, say};

/// Strikes the runs of the first `seeds` seeds at every place.
pub fn crashpoints(seeds: u64) -> End {
    let (line, began) = (Line::default(), Instant::now());
    let report = zizon_sim::crashpoints(0..seeds, &mut |runs| line.show(|| format!("{} runs", count(runs))));
    line.clear();
    for (kind, runs) in &report.runs {
        say!("  {kind:<34}{:>10}", count(*runs));
    }
    let runs: u64 = report.runs.iter().map(|(_, runs)| runs).sum();
    let seconds = began.elapsed().as_secs_f64();
    match report.violated {
        None => {
            say!("\n{} runs in {seconds:.1} s, all invariants held after each", count(runs));
            End::Held
        }
        Some((seed, mode, point, why)) => {
            say!("\nseed {seed}, {mode:?}, {point:?}\nviolated: {why}");
            End::Broken
        }
    }
}

/// Damages a table `flips` times.
///
/// # Errors
/// The table cannot be made, in words.
pub fn damage(flips: u64, seed: u64) -> Result<End, String> {
    let (line, began) = (Line::default(), Instant::now());
    let report = zizon_sim::damage::damage(seed, flips, &mut |done| {
        line.show(|| format!("{} of {}", count(done), count(flips)));
    })?;
    line.clear();
    say!("  {:<44}{:>10}{:>10}", "", "journal", "index");
    let kinds = [
        (Noticed::Refused, "the table does not open"),
        (Noticed::Reported, "a read or the check reports it"),
        (Noticed::Repaired, "put right at the start"),
        (Noticed::NoEffect, "no effect: bytes that hold nothing"),
    ];
    let figure = |figures: &BTreeMap<Noticed, u64>, kind| count(figures.get(&kind).copied().unwrap_or(0));
    for (kind, words) in kinds {
        say!("  {words:<44}{:>10}{:>10}", figure(&report.journal, kind), figure(&report.index, kind));
    }
    say!("\n{} pieces of damage in {:.1} s", count(flips), began.elapsed().as_secs_f64());
    match report.harmed {
        None => {
            say!("nothing damaged was served, nothing was lost without a word");
            Ok(End::Held)
        }
        Some(why) => {
            say!("harm was done: {why}");
            Ok(End::Broken)
        }
    }
}
