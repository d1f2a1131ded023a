//! The command line.

mod disk;
#[cfg(feature = "model")]
mod model;
mod show;

use std::ops::Range;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};
use zizon_sim::{Caught, Flaw, Hunt, Mode, Options, STEPS, run as run_seed, sweep};

use self::show::{Line, count, say};

/// Runs the shop's real code in a simulated world: one seed decides everything that happens, and gives the same run again.
#[derive(Debug, Parser)]
#[command(name = "zizon-sim", version, args_conflicts_with_subcommands = true, max_term_width = 120)]
pub struct Args {
    #[command(subcommand)]
    rung: Option<Rung>,
    /// Runs this seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs these seeds, the last one not included, until one breaks something [default: 0..300]
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Steps of a run before everything comes to rest
    #[arg(long, value_name = "N", default_value_t = STEPS)]
    steps: u64,
    /// How orders are written [default: as the seed says]
    #[arg(long, value_enum)]
    mode: Option<Executor>,
    /// Breaks the shop on purpose: the run is expected to show it
    #[arg(long, value_name = "NAME")]
    flaw: Option<Flaw>,
    /// Threads for several seeds [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Prints what happens, step by step; only with --seed
    #[arg(long, requires = "seed")]
    trace: bool,
}

/// The other rungs.
#[derive(Debug, Subcommand)]
enum Rung {
    /// Breaks the shop in every known way and looks for a seed that shows it
    Flaws {
        /// Seeds to try for each
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        seeds: u64,
    },
    /// Strikes quiet runs at every step and every operation of the disk
    Crashpoints {
        /// Runs to strike, each with both executors, the last one not included [default: 0..3]
        #[arg(long, value_name = "FROM..TO", value_parser = range)]
        seeds: Option<Range<u64>>,
    },
    /// Flips bits and cuts off files of a journal and an index; each must be noticed
    Damage {
        /// Pieces of damage
        #[arg(long, value_name = "N", default_value_t = 200)]
        flips: u64,
        /// Decides where
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },
    /// Searches every state of the stepwise protocol within small bounds, and refutes every broken variant
    #[cfg(feature = "model")]
    Model {
        /// Larger bounds: some minutes and gigabytes
        #[arg(long)]
        large: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Executor {
    /// Order and stock in one plan
    Atomic,
    /// Hold, then put
    Stepwise,
}

impl Executor {
    const fn mode(self) -> Mode {
        match self {
            Self::Atomic => Mode::Atomic,
            Self::Stepwise => Mode::Stepwise,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Stepwise => "stepwise",
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What should hold held.
    Held,
    /// Something was violated, or not caught.
    Broken,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}` is no range of seeds; write it as 0..300");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from < to { Ok(from..to) } else { Err(format!("`{text}` has no seeds; the first must be below the last")) }
}

/// Does what was asked for.
///
/// # Errors
/// Arguments that make no sense, in words.
pub fn run(args: &Args) -> Result<End, String> {
    if args.jobs == Some(0) {
        return Err("--jobs must be at least 1".to_owned());
    }
    // Every run keeps a file there, and one that cannot would look like a broken invariant.
    let dir = std::env::temp_dir();
    tempfile::tempdir().map_err(|error| format!("{}: {error}; TMPDIR names another directory", dir.display()))?;
    match (&args.rung, args.seed) {
        (Some(Rung::Flaws { seeds }), _) => Ok(flaws(*seeds)),
        (Some(Rung::Crashpoints { seeds }), _) => Ok(disk::crashpoints(seeds.clone().unwrap_or(0..3))),
        (Some(Rung::Damage { flips, seed }), _) => disk::damage(*flips, *seed),
        #[cfg(feature = "model")]
        (Some(Rung::Model { large }), _) => Ok(model::run(*large)),
        (None, Some(seed)) => Ok(one(args, seed)),
        (None, None) => Ok(many(args)),
    }
}

fn one(args: &Args, seed: u64) -> End {
    let mode = args.mode.map(Executor::mode);
    let options = Options { seed, steps: args.steps, mode, flaw: args.flaw, trace: args.trace };
    let outcome = run_seed(&options);
    for line in &outcome.lines {
        say!("{line}");
    }
    if args.trace {
        say!("");
    }
    say!("seed {seed}, {} steps, trace {:016x}", count(outcome.steps), outcome.hash);
    show::stats(&outcome.stats);
    match outcome.violated {
        None => {
            say!("\nall invariants held");
            End::Held
        }
        Some(why) => {
            say!("\nviolated: {why}");
            End::Broken
        }
    }
}

fn many(args: &Args) -> End {
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let seeds = args.seeds.clone().unwrap_or(0..300);
    let mode = args.mode.map(Executor::mode);
    let hunt = Hunt { seeds: seeds.clone(), steps: args.steps, mode, flaw: args.flaw, jobs };
    let executors = args.mode.map_or("both executors", Executor::name);
    say!("seeds {}..{}, {executors}, {} steps each", count(seeds.start), count(seeds.end), count(args.steps));
    let (began, line) = (Instant::now(), Line::default());
    let (stats, caught) = sweep(&hunt, &|progress| {
        line.show(|| format!("{} of {} seeds", count(progress.done), count(progress.of)));
        true
    });
    line.clear();
    show::stats(&stats);
    let seconds = began.elapsed().as_secs_f64();
    match caught {
        None => {
            say!("\n{} seeds in {seconds:.1} s, all invariants held", count(seeds.end - seeds.start));
            End::Held
        }
        Some(caught) => {
            say!("\nseed {} violated, at step {}: {}", caught.seed, count(caught.steps), caught.violated);
            say!("replay it with\n  {}", replay(args, &caught));
            End::Broken
        }
    }
}

fn replay(args: &Args, caught: &Caught) -> String {
    let mut command = format!("cargo run --release -p zizon-sim -- --seed {} --trace", caught.seed);
    if args.steps != STEPS {
        command.push_str(&format!(" --steps {}", args.steps));
    }
    if let Some(mode) = args.mode {
        command.push_str(&format!(" --mode {}", mode.name()));
    }
    if let Some(flaw) = args.flaw {
        command.push_str(&format!(" --flaw {flaw}"));
    }
    command
}

fn flaws(seeds: u64) -> End {
    let mut end = End::Held;
    let line = Line::default();
    for flaw in Flaw::ALL {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let hunt = Hunt { flaw: Some(flaw), jobs, ..Hunt::sound(0..seeds) };
        let (_, caught) = sweep(&hunt, &|progress| {
            line.show(|| format!("{flaw}: {} seeds", count(progress.done)));
            true
        });
        line.clear();
        match caught {
            Some(caught) => {
                say!("{:<20} caught by seed {:>6}  {}", flaw.name(), caught.seed, caught.violated);
            }
            None => {
                say!("{:<20} NOT CAUGHT by {} seeds: {}", flaw.name(), count(seeds), flaw.about());
                end = End::Broken;
            }
        }
    }
    end
}
