//! `zizon-sim crashpoints` and `zizon-sim damage`.

use std::ops::Range;
use std::time::Instant;

use zizon_sim::damage::{Noticed, Region};
use zizon_sim::{Step, Struck};

use super::End;
use super::show::{Line, count, say};

/// Strikes the runs of these seeds at every place.
pub fn crashpoints(seeds: Range<u64>) -> End {
    let (line, began) = (Line::default(), Instant::now());
    let report = zizon_sim::crashpoints(seeds, None, &mut |runs| line.show(|| format!("{} runs", count(runs))));
    line.clear();
    for struck in &report.struck {
        say!("  {:<46}{:>10}", struck.kind, count(struck.runs));
    }
    say!("\nruns in which a task stood before a step, or waited (...) for it to be on the disk");
    matrix(&report.struck);
    let seconds = began.elapsed().as_secs_f64();
    match &report.violated {
        None => {
            say!("\n{} runs struck in {seconds:.1} s, all invariants held after each", count(report.runs()));
            End::Held
        }
        Some((seed, mode, point, why)) => {
            say!("");
            for line in report.lines.iter().rev().take(LINES).rev() {
                say!("{line}");
            }
            say!("\nseed {seed}, {mode:?}, {point:?}\nviolated: {why}");
            End::Broken
        }
    }
}

/// Kinds of crashes against steps of orders.
fn matrix(struck: &[Struck]) {
    let head: String = struck.iter().map(|struck| format!("{:>11}", struck.short)).collect();
    say!("  {:<26}{head}", "");
    for (at, step) in Step::ALL.into_iter().enumerate() {
        for waits in [0, 1] {
            let row: Vec<u64> = struck.iter().map(|struck| struck.places[at][waits]).collect();
            // Steps whose write is ordered, or is a look, are never waited for.
            if waits == 0 || row.iter().any(|runs| *runs > 0) {
                let cells: String = row.iter().map(|runs| format!("{:>11}", count(*runs))).collect();
                say!(
                    "  {:<26}{cells}",
                    if waits == 0 { step.name().to_owned() } else { format!("{} ...", step.name()) }
                );
            }
        }
    }
}

/// Most lines of a run that is shown: the last ones.
const LINES: usize = 400;
/// Most places that are listed.
const PLACES: usize = 20;

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
    let kinds = [
        (Noticed::Refused, "not opened"),
        (Noticed::Reported, "reported"),
        (Noticed::Repaired, "put right"),
        (Noticed::Harmless, "harmless"),
    ];
    let head: String = kinds.iter().map(|(_, words)| format!("{words:>12}")).collect();
    say!("  {:<32}{head}", "");
    for region in Region::ALL {
        let figure = |kind| format!("{:>12}", count(report.count(|of| of == region, kind)));
        let row: String = kinds.iter().map(|(kind, _)| figure(*kind)).collect();
        say!("  {:<32}{row}", region.name());
    }
    if !report.harmless.is_empty() {
        say!("\nharmless in the index: every item, range and change was read and is as it was written");
        for place in report.harmless.iter().take(PLACES) {
            say!("  {place}");
        }
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
