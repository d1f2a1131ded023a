//! `cargo xtask bench NAME`: medians of several runs, as a table and as JSON under target/bench.
//!
//! Absolute figures belong to the machine they were measured on; what is compared is measured in one run. A benchmark
//! that fails or is interrupted stops what it started and removes its files.

mod all;
mod child;
mod compare;
mod disk;
mod engines;
mod figure;
mod hop;
mod interrupt;
mod leftovers;
mod load;
mod open_loop;
mod options;
mod orders;
mod overload;
mod platform;
mod proc;
mod products;
mod reads;
mod soak;
mod start;
mod stored;
mod table;
mod wrk;

use anyhow::Result;

use figure::{Figure, Goal, number, publish, shown};
pub use options::Usage;
use options::{Options, Spec};
pub use platform::Platform;

/// A benchmark as it is asked for.
struct Bench {
    name: &'static str,
    about: &'static str,
    options: &'static [Spec],
    run: fn(&Options) -> Result<()>,
}

const BENCHES: &[Bench] = &[
    bench("orders", "orders per second through the whole path", orders::OPTIONS, orders::run),
    bench("wrk", "the same by wrk, against ours in the same run", wrk::OPTIONS, wrk::run),
    bench("open-loop", "orders at a fixed rate: latency against the disk's", open_loop::OPTIONS, open_loop::run),
    bench("products", "orders over one, ten and ten thousand products", products::OPTIONS, products::run),
    bench("reads", "product reads through the edge", reads::OPTIONS, reads::run),
    bench("table", "the table engine alone", table::OPTIONS, table::run),
    bench("engines", "the table engine against RocksDB and SQLite", engines::OPTIONS, engines::run),
    bench("hop", "one mTLS hop against plaintext", hop::OPTIONS, hop::run),
    bench("start", "start, idle memory and CPU", start::OPTIONS, start::run),
    bench("stored", "cost, restart, memory and disk with many orders", stored::OPTIONS, stored::run),
    bench("overload", "1.5 and 3 times capacity", overload::OPTIONS, overload::run),
    bench("soak", "half of capacity for long, with holds expiring", soak::OPTIONS, soak::run),
    bench("all", "all of them, or what fits", all::OPTIONS, all::run),
    bench("compare", "the last two runs of each", compare::OPTIONS, compare::run),
];

const fn bench(
    name: &'static str,
    about: &'static str,
    options: &'static [Spec],
    run: fn(&Options) -> Result<()>,
) -> Bench {
    Bench { name, about, options, run }
}

impl Bench {
    fn start(&self, words: &[&str]) -> Result<()> {
        let options = Options::read(self.name, words, self.options)?;
        interrupt::install();
        leftovers::remove();
        (self.run)(&options)
    }

    fn help(&self) -> String {
        let mut text = format!("cargo xtask bench {}: {}\n", self.name, self.about);
        for spec in self.options {
            let default = match spec.default {
                Some("") | None => String::new(),
                Some(default) => format!(" [{default}]"),
            };
            text.push_str(&format!("  {:<20} {}{default}\n", spec.name, spec.meaning));
        }
        text
    }
}

/// Runs one benchmark, or explains it, or lists all.
pub fn run(words: &[&str]) -> Result<()> {
    let list = || {
        let lines: Vec<_> = BENCHES.iter().map(|bench| format!("  {:<10} {}", bench.name, bench.about)).collect();
        format!("{}\n\ncargo xtask bench NAME --help shows its options", lines.join("\n"))
    };
    let Some((&name, words)) = words.split_first() else {
        return Err(Usage(format!("name a benchmark:\n{}", list())).into());
    };
    if matches!(name, "--help" | "-h") {
        println!("{}", list());
        return Ok(());
    }
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        return Err(Usage(format!("unknown benchmark `{name}`; there are\n{}", list())).into());
    };
    if words.iter().any(|word| matches!(*word, "--help" | "-h")) {
        print!("{}", bench.help());
        return Ok(());
    }
    bench.start(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_explain_their_options() {
        for (at, bench) in BENCHES.iter().enumerate() {
            assert!(BENCHES[..at].iter().all(|other| other.name != bench.name), "{}", bench.name);
            assert!(bench.options.iter().all(|spec| bench.help().contains(spec.meaning)));
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        let mistakes: [&[&str]; 6] = [
            &[],
            &["nothing"],
            &["table", "--second", "1"],
            &["table", "--in-flight", "0"],
            &["stored", "--orders", "1", "--runs", "1"],
            &["all", "--quick", "--long"],
        ];
        for words in mistakes {
            let error = run(words).map(drop).unwrap_err();
            assert!(error.is::<Usage>(), "{words:?}: {error:#}");
        }
    }
}
