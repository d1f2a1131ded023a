//! Every benchmark, one after the other.

use std::time::Instant;

use anyhow::{Result, bail};

use super::{
    BENCHES, Bench, interrupt,
    options::{Options, RUNS, Spec, Usage, switch},
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    switch("--long", "also those that take half an hour or more: stored with all its orders, soak, all of overload"),
    switch("--quick", "seconds instead of minutes: whether they run, not what they measure"),
];

/// What a benchmark is asked for: its name, then options for a quick run, a usual one and a long one. `None`: not then.
type Plan = (&'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);

const PLANS: &[Plan] = &[
    ("orders", Some("--keys both --seconds 1"), Some("--keys both"), Some("--keys both")),
    ("table", Some("--seconds 1"), Some(""), Some("")),
    ("hop", Some("--seconds 1"), Some(""), Some("")),
    ("start", Some(""), Some(""), Some("")),
    ("wrk", Some("--seconds 1"), Some(""), Some("")),
    ("products", Some("--seconds 1 --products 1000"), Some(""), Some("")),
    ("reads", Some("--seconds 1 --products 2000"), Some(""), Some("")),
    ("open-loop", Some("--duration 3s --rate 1000 --disk-seconds 1"), Some(""), Some("")),
    ("overload", Some("--seconds 2 --capacity-seconds 2"), Some("--seconds 20"), Some("")),
    ("stored", Some("--orders 20000 --first 2000 --seconds 1 --settle-seconds 1"), Some("--orders 1000000"), Some("")),
    ("engines", Some("--seconds 1 --warmup-seconds 1"), Some(""), Some("")),
    ("soak", None, None, Some("")),
];

/// Runs what fits; says what was not run and why.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?.to_string();
    let (quick, long) = (options.has("--quick"), options.has("--long"));
    if quick && long {
        return Err(Usage("--quick and --long: one of them".to_owned()).into());
    }
    let mut failed = Vec::new();
    for (name, short, usual, full) in PLANS {
        interrupt::check()?;
        let chosen = if quick {
            short
        } else if long {
            full
        } else {
            usual
        };
        let Some(words) = chosen else {
            shell::not_run(&format!("bench {name}"), "it takes more than half an hour; --long, or the command itself");
            continue;
        };
        let Some(bench) = BENCHES.iter().find(|bench| bench.name == *name) else { continue };
        let words = words_for(bench, words, &runs);
        shell::heading(&format!("{name} {}", words.join(" ")));
        let began = Instant::now();
        match bench.start(&words) {
            Ok(()) => println!("{name}: {} s", began.elapsed().as_secs()),
            Err(error) => {
                interrupt::check()?;
                println!("{name}: FAILED: {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

/// The plan's options, with the number of runs for those that take one.
fn words_for<'a>(bench: &Bench, plan: &'a str, runs: &'a str) -> Vec<&'a str> {
    let mut words: Vec<&str> = plan.split_whitespace().collect();
    if bench.options.iter().any(|spec| spec.name == RUNS.name) {
        words.extend([RUNS.name, runs]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_is_one_its_benchmark_takes_and_every_benchmark_has_one() -> Result<()> {
        for (name, short, usual, full) in PLANS {
            let bench = BENCHES.iter().find(|bench| bench.name == *name);
            let Some(bench) = bench else { bail!("no benchmark {name}") };
            for plan in [short, usual, full].into_iter().flatten() {
                Options::read(name, &words_for(bench, plan, "2"), bench.options)?;
            }
        }
        for bench in BENCHES.iter().filter(|bench| !["all", "compare"].contains(&bench.name)) {
            assert!(PLANS.iter().any(|(name, ..)| *name == bench.name), "{} is in no plan", bench.name);
        }
        Ok(())
    }
}
