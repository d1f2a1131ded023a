//! The project's own tasks: `cargo xtask test | lint | bench | torture | docs`.

mod architecture;
mod bench;
mod docs;
mod fuzz;
mod lint;
mod peers;
mod shell;
mod test;
mod torture;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  test [--all]          every test; with --all also fuzzing and the real peers (k6, vegeta) as far as they install
  lint                  formatting, clippy, dependency policy, architecture, forbidden words
  bench NAME [OPTIONS]  a benchmark: medians, goals, a JSON file under target/bench (bench --help lists them)
  torture --hours H     simulation, crash points, damage, proofs, behaviour and model, over and over with new seeds
  docs [--check]        write (or compare) docs/configuration.md, docs/metrics.md, docs/cli.md and openapi.json
  fuzz [SECONDS]        each fuzz target for SECONDS (default 20)
  peers                 real k6 and vegeta against a demo platform";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(false),
        ["test", "--all"] => test::run(true),
        ["lint"] => lint::run(),
        ["bench", words @ ..] => bench::run(words),
        ["docs"] => docs::run(false),
        ["docs", "--check"] => docs::run(true),
        ["torture", words @ ..] => torture::run(words),
        ["fuzz"] => fuzz::run(20),
        ["fuzz", seconds] => seconds.parse().map_err(anyhow::Error::from).and_then(fuzz::run),
        ["peers"] => peers::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<bench::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
