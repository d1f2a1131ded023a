//! `cargo xtask torture --hours H`: the whole ladder, over and over with new seeds, until the time is up or something breaks.
//!
//! The time is looked at between rungs, so the last one may end some minutes after it. Of what broke, the command that shows
//! it again is the last one printed.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{bench::Usage, shell};

/// The longest run: a year.
const HOURS_MAX: f64 = 24.0 * 366.0;
/// The highest first seed: each stands for many seeds of the simulation, and rounds count up from it.
const FROM_MAX: u64 = 1_000_000_000_000;

/// One rung of a round.
struct Rung {
    name: &'static str,
    /// What its count counts.
    unit: &'static str,
    count: u64,
    failed: bool,
}

/// The sizes of one round. A round takes some twenty minutes, so that each rung comes often in a long run.
const SEEDS: u64 = 20_000;
const CRASHPOINT_SEEDS: u64 = 3;
const FLIPS: u64 = 20_000;
const KILLS: u64 = 100;
const PROOFS: u64 = 3;

/// Options: `--hours H` (fractions allowed), `--from SEED`.
pub fn run(options: &[&str]) -> Result<()> {
    let (hours, from) = read(options)?;
    let end = Instant::now() + Duration::from_secs_f64(hours * 3600.0);
    shell::run("cargo", &["build", "--release", "--package", "zizon", "--package", "zizon-sim"])?;
    let mut rungs = [
        Rung::new("simulation", "seeds"),
        Rung::new("crash points", "seeds struck everywhere"),
        Rung::new("damage", "flips and cuts"),
        Rung::new("no oversell, same answers", "proofs"),
        Rung::new("kill -9 under load", "kills"),
        Rung::new("behaviour of the binary", "runs of the suite"),
        Rung::new("model of the protocol", "large searches"),
    ];
    let mut round = 0;
    let broke = loop {
        if let Err(error) = one_round(&mut rungs, round, from + round, end) {
            break Some(error);
        }
        round += 1;
        if Instant::now() >= end {
            break None;
        }
    };
    report(&rungs, hours);
    match broke {
        None => Ok(()),
        Some(error) => Err(error.context("torture found something")),
    }
}

fn read(options: &[&str]) -> Result<(f64, u64)> {
    let (mut hours, mut from) = (None, 0);
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let value = words.next().copied().unwrap_or_default();
        match *word {
            "--hours" => hours = value.parse::<f64>().ok().filter(|hours| *hours > 0.0 && *hours <= HOURS_MAX),
            "--from" => {
                let seed = value.parse().ok().filter(|seed| *seed <= FROM_MAX);
                from =
                    seed.ok_or_else(|| Usage(format!("--from {value}: a seed is a whole number, {FROM_MAX} at most")))?;
            }
            other => return Err(Usage(format!("{other} is no option; torture --hours H [--from SEED]")).into()),
        }
    }
    let hours = hours.ok_or_else(|| Usage("torture --hours H: above 0, up to 8784; 0.5 is half an hour".into()))?;
    Ok((hours, from))
}

/// Every rung once; those for which no time is left are not begun.
fn one_round(rungs: &mut [Rung], round: u64, seed: u64, end: Instant) -> Result<()> {
    let sim = shell::target().join("release/zizon-sim").display().to_string();
    let zizon = shell::zizon().display().to_string();
    let (first, last) = (seed * SEEDS, (seed + 1) * SEEDS);
    let struck = seed * CRASHPOINT_SEEDS;
    let seed_text = seed.to_string();
    let steps: [(usize, u64, &str, Vec<String>); 7] = [
        (0, SEEDS, &sim, words(&["--seeds", &format!("{first}..{last}")])),
        (
            1,
            CRASHPOINT_SEEDS,
            &sim,
            words(&["crashpoints", "--seeds", &format!("{struck}..{}", struck + CRASHPOINT_SEEDS)]),
        ),
        (2, FLIPS, &sim, words(&["damage", "--flips", &FLIPS.to_string(), "--seed", &seed_text])),
        (3, PROOFS, &zizon, words(&["prove", "all", "--kills", "3", "--seed", &seed_text])),
        (4, KILLS, &zizon, words(&["prove", "durability", "--kills", &KILLS.to_string(), "--seed", &seed_text])),
        (5, 1, "cargo", words(&["test", "--release", "--package", "zizon-tests"])),
        (6, 1, &sim, words(&["model", "--large"])),
    ];
    for (at, count, program, arguments) in steps {
        // The model has no seed: once is all there is to see.
        let once = at == 6;
        if (once && round > 0) || Instant::now() >= end {
            continue;
        }
        shell::heading(&format!("round {}, {}", round + 1, rungs[at].name));
        if let Err(error) = shell::run(program, &arguments) {
            rungs[at].failed = true;
            return Err(error);
        }
        rungs[at].count += count;
    }
    Ok(())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn report(rungs: &[Rung], hours: f64) {
    shell::heading(&format!("torture, {hours} h"));
    for Rung { name, unit, count, failed } in rungs {
        let verdict = match (failed, count) {
            (true, _) => "BROKEN",
            (false, 0) => "NOT RUN: no time was left",
            (false, _) => "held",
        };
        println!("  {name:<28}{count:>10} {unit:<26}{verdict}");
    }
}

impl Rung {
    const fn new(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, count: 0, failed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_needed_and_what_is_no_time_is_refused() {
        assert_eq!(read(&["--hours", "0.5"]).unwrap(), (0.5, 0));
        assert_eq!(read(&["--from", "7", "--hours", "24"]).unwrap(), (24.0, 7));
        for bad in
            [&[][..], &["--hours"], &["--hours", "0"], &["--hours", "long"], &["--hours", "9999"], &["--days", "1"]]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        for from in ["-1", "some", "18446744073709551615"] {
            assert!(read(&["--hours", "1", "--from", from]).is_err(), "{from}");
        }
    }
}
