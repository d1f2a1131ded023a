//! The same writes over RocksDB, SQLite and our table, in alternating order of one run on one disk.
//!
//! Our table allocates as the product does, with mimalloc. RocksDB and SQLite run twice: as they come, with the C library's
//! allocator, and with mimalloc for all they allocate. The table is compared with the faster of the two. RocksDB runs once more
//! doing all that the table does: keeping every plan for whoever reads the changes. All of them pause
//! in the same way after a large group, and none is measured before its warm-up is over.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::Running,
    disk::Scratch,
    interrupt, number,
    options::{Options, RUNS, Spec, value},
    publish, shown,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--seconds", "10", "of each engine in each run, after its warm-up"),
    value("--warmup-seconds", "10", "that are not counted: logs get their size and are reused"),
    value("--gather-us", "1000", "longest pause of every engine after a large group; 0: none"),
    value("--in-flight", "256", "clients, each waiting for its own answer"),
    value("--products", "10000", "products, of three counters each"),
];

/// What is measured: an engine, how it is called in the figures, and whether it allocates with mimalloc.
const ENGINES: [(&str, &str, bool); 6] = [
    ("table", "table", true),
    ("rocksdb", "rocksdb", false),
    ("rocksdb", "rocksdb with mimalloc", true),
    ("sqlite", "sqlite", false),
    ("sqlite", "sqlite with mimalloc", true),
    ("rocksdb-feed", "rocksdb with a feed", false),
];
/// Goals: plans per second and CPU per plan of the table, and its rate over the others'.
const RATE: f64 = 100_000.0;
const CPU_US: f64 = 15.0;
const OVER_ROCKSDB: f64 = 1.5;
const OVER_SQLITE: f64 = 2.0;

const NEEDS: &str = "bench/engines did not build; it compiles RocksDB and SQLite and needs a C++ compiler and libclang \
                     (Debian: apt-get install g++ libclang-dev)";

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?.to_string();
    let warmup = options.seconds("--warmup-seconds", 0..=3_600)?.to_string();
    let gather = options.number("--gather-us", 0..=100_000)?.to_string();
    let in_flight = options.number("--in-flight", 1..=65_536)?.to_string();
    let products = options.number("--products", 1..=1_000_000)?.to_string();
    let directory = build_engines()?;
    let scratch = Scratch::create("engines")?;

    let mut all: Vec<Engine> = ENGINES.into_iter().map(Engine::new).collect();
    for run in 1..=runs {
        // A different engine goes first each time.
        for at in 0..all.len() {
            let engine = &mut all[(run + at) % ENGINES.len()];
            interrupt::check()?;
            let mut command = Command::new(directory.join(engine.program()));
            command.args([engine.engine, "--seconds", &seconds, "--warmup-seconds", &warmup, "--gather-us", &gather]);
            command.args(["--in-flight", &in_flight, "--products", &products, "--dir"]).arg(scratch.path());
            let ended = Running::start(&mut command)?.wait()?;
            if !ended.status.success() {
                bail!("{}: {}; what it said is above", engine.name, ended.status);
            }
            let report: Value = serde_json::from_slice(&ended.output).context("the engine printed no JSON")?;
            println!(
                "run {run}: {:<21} {:>10}/s  {:>7} us  p99 {:>6} ms  {:>6} plans a group",
                engine.name,
                shown(number(&report, "plans_per_s")),
                shown(number(&report, "cpu_us_per_plan")),
                shown(number(&report, "p99_ms")),
                shown(number(&report, "group_mean"))
            );
            engine.add(&report);
        }
    }
    let ratios: Vec<Figure> = all[1..].iter().map(|engine| all[0].over(engine)).collect();
    // The faster of the two, so the smaller ratio, counts.
    let least = |pair: &[Figure]| pair[0].median().min(pair[1].median());
    let goals = [
        Goal::new("table >= 100,000 plans/s", all[0].rate.median() >= RATE),
        Goal::new("table <= 15 us CPU per plan", all[0].cpu.median() <= CPU_US),
        Goal::new(
            "table >= 1.5 x RocksDB in the same run, whatever that allocates with",
            least(&ratios[..2]) >= OVER_ROCKSDB,
        ),
        Goal::new(
            "table >= 2 x SQLite in the same run, whatever that allocates with",
            least(&ratios[2..4]) >= OVER_SQLITE,
        ),
    ];
    let mut figures = ratios;
    figures.extend(all.into_iter().flat_map(Engine::figures));
    let settings = json!({
        "runs": runs, "seconds": seconds, "warmup_seconds": warmup, "gather_us": gather, "in_flight": in_flight,
        "products": products,
    });
    publish("engines", &settings, &figures, &goals)
}

/// Builds the engines' workspace and names the directory of its programs.
fn build_engines() -> Result<PathBuf> {
    // A directory of its own: minutes of C++ must not hold the lock of the product's builds.
    // Absolute, since cargo runs elsewhere.
    let target = std::path::absolute(shell::target().join("engines"))?;
    println!("$ (cd bench/engines && cargo build --release --locked)");
    if !target.exists() {
        println!("the first build compiles RocksDB: about 10 minutes of processor time");
    }
    let mut command = Command::new("cargo");
    // There its own .cargo/config.toml counts, which says how the engines are compiled.
    command.current_dir(shell::root().join("bench/engines"));
    command.args(["build", "--release", "--locked", "--target-dir"]).arg(&target);
    let ended = Running::shown(&mut command)?.wait()?;
    if !ended.status.success() {
        bail!("{NEEDS}");
    }
    Ok(target.join("release"))
}

struct Engine {
    /// As the program calls it.
    engine: &'static str,
    /// As the figures call it.
    name: &'static str,
    mimalloc: bool,
    rate: Figure,
    cpu: Figure,
    rest: Vec<(&'static str, Figure)>,
}

impl Engine {
    fn new((engine, name, mimalloc): (&'static str, &'static str, bool)) -> Self {
        let own = engine == ENGINES[0].0;
        // What the others do is nothing that could become worse here.
        let figure = |what: &str, unit| {
            let what = format!("{name}: {what}");
            if own { Figure::less(what, unit) } else { Figure::plain(what, unit) }
        };
        let plans = format!("{name}: plans");
        Self {
            engine,
            name,
            mimalloc,
            rate: if own { Figure::more(plans, "1/s") } else { Figure::plain(plans, "1/s") },
            cpu: figure("CPU per plan", "us"),
            rest: vec![
                ("p50_ms", figure("p50", "ms")),
                ("p99_ms", figure("p99", "ms")),
                ("group_mean", Figure::plain(format!("{name}: plans a group"), "")),
                ("written_bytes_per_plan", figure("written per plan", "bytes")),
                (
                    "disk_bytes_per_plan",
                    Figure::plain(format!("{name}: on disk per plan, preallocated files included"), "bytes"),
                ),
                ("resident_mb", figure("memory", "MB")),
            ],
        }
    }

    /// The program it is in, by what it allocates with.
    const fn program(&self) -> &'static str {
        if self.mimalloc { "zizon-bench-engines-mimalloc" } else { "zizon-bench-engines" }
    }

    /// Its rate over another's, run by run.
    fn over(&self, other: &Self) -> Figure {
        let pairs = self.rate.runs.iter().zip(&other.rate.runs);
        Figure::more(format!("{} over {}", self.name, other.name), "x").with(pairs.map(|(ours, theirs)| ours / theirs))
    }

    fn add(&mut self, report: &Value) {
        self.rate.runs.push(number(report, "plans_per_s"));
        self.cpu.runs.push(number(report, "cpu_us_per_plan"));
        for (field, figure) in &mut self.rest {
            figure.runs.push(number(report, field));
        }
    }

    fn figures(self) -> Vec<Figure> {
        [self.rate, self.cpu].into_iter().chain(self.rest.into_iter().map(|(_, figure)| figure)).collect()
    }
}
