//! One engine, one run: order plans of four items (an order that must not exist, three counters of stock that must
//! hold two units each) from many clients of one thread, each waiting for its own answer. The same clients, keys,
//! conditions and durability for every engine.
//!
//! ```text
//! zizon-bench-engines table|rocksdb|rocksdb-feed|sqlite --dir DIR [--warmup-seconds 10] [--seconds 10] [--in-flight 256]
//!     [--products 10000] [--gather-us 1000]
//! ```
//! There are two programs. `zizon-bench-engines` allocates with the C library, as RocksDB and SQLite come.
//! `zizon-bench-engines-mimalloc` allocates with mimalloc in all of the process, the C++ and C of RocksDB and SQLite
//! included: the allocator of the product.
//!
//! What is done in the warm-up is not counted: by then logs have their size and are reused, and the first memtables are
//! written out. `--gather-us` is the longest pause after a large group, the same rule for every engine (0: none).
//!
//! Prints one JSON document. CPU is that of the whole process: clients, writer, background work. After the run the
//! engine is closed and opened again, and what it acknowledged is looked for: every counter, and orders by sample.

mod gather;
mod ours;
mod plan;
mod rocks;
mod sqlite;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gather::Gather;
use plan::{Order, SHARDS, TAKEN, UNITS};
use serde_json::{Value, json};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Orders looked for after the run, at most.
const SAMPLE: usize = 20_000;

/// What the clients need of an engine.
pub(crate) trait Engine: Sized {
    fn open(directory: &Path, gather: Gather) -> Result<Self, Failure>;
    /// Writes the counters of all products.
    async fn seed(&self, products: u64) -> Result<(), Failure>;
    /// Answers once the plan is durable; `false` when a condition did not hold.
    async fn place(&self, order: Order) -> Result<bool, Failure>;
    /// Groups synced so far.
    fn groups(&self) -> u64;
    async fn has(&self, order: Order) -> Result<bool, Failure>;
    /// Sum over the product's counters.
    async fn available(&self, product: u64) -> Result<i64, Failure>;
    async fn close(self) -> Result<(), Failure>;
}

struct Args {
    engine: String,
    directory: PathBuf,
    warmup_seconds: u64,
    seconds: u64,
    in_flight: usize,
    products: u64,
    gather: Gather,
}

/// The program: measures what the command line asks for. `allocator` is the one that it was built with.
pub fn main(allocator: &str) -> ExitCode {
    let done = parse(std::env::args().skip(1)).map_err(Failure::from).and_then(|args| run(&args));
    match done {
        Ok(mut report) => {
            report["allocator"] = allocator.into();
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let engine = args.next().ok_or("name an engine: table, rocksdb, rocksdb-feed or sqlite")?;
    let mut parsed = Args {
        engine,
        directory: PathBuf::new(),
        warmup_seconds: 10,
        seconds: 10,
        in_flight: 256,
        products: 10_000,
        gather: Gather::at_most(Duration::from_millis(1)),
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let whole = || value.parse::<u32>().map_err(|_| format!("{name} needs a whole number, not {value}"));
        let number = || match whole()? {
            0 => Err(format!("{name} needs a number from 1 on, not {value}")),
            number => Ok(number),
        };
        match name.as_str() {
            "--dir" => parsed.directory = PathBuf::from(&value),
            "--warmup-seconds" => parsed.warmup_seconds = whole()?.into(),
            "--gather-us" => parsed.gather = Gather::at_most(Duration::from_micros(whole()?.into())),
            "--seconds" => parsed.seconds = number()?.into(),
            "--in-flight" => parsed.in_flight = number()? as usize,
            "--products" => parsed.products = number()?.into(),
            _ => {
                return Err(format!(
                    "unknown option {name}; there are --dir, --warmup-seconds, --seconds, --in-flight, --products, --gather-us"
                ));
            }
        }
    }
    if parsed.directory.as_os_str().is_empty() {
        return Err("name a directory with --dir: the disk it is on is part of what is measured".into());
    }
    if parsed.in_flight > 65_536 {
        return Err("--in-flight is at most 65,536".into());
    }
    Ok(parsed)
}

fn run(args: &Args) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scratch = tempfile::tempdir_in(&args.directory)?;
    let local = tokio::task::LocalSet::new();
    match args.engine.as_str() {
        "table" => runtime.block_on(local.run_until(measure::<ours::Ours>(args, scratch.path()))),
        "rocksdb" => runtime.block_on(local.run_until(measure::<rocks::Rocks<false>>(args, scratch.path()))),
        "rocksdb-feed" => runtime.block_on(local.run_until(measure::<rocks::Rocks<true>>(args, scratch.path()))),
        "sqlite" => runtime.block_on(local.run_until(measure::<sqlite::Sqlite>(args, scratch.path()))),
        other => Err(format!("unknown engine {other}; there are table, rocksdb, rocksdb-feed and sqlite").into()),
    }
}

async fn measure<E: Engine + 'static>(args: &Args, directory: &Path) -> Result<Value, Failure> {
    let directory = directory.join("data");
    let engine = Rc::new(E::open(&directory, args.gather)?);
    engine.seed(args.products).await?;
    let count_from = Instant::now() + Duration::from_secs(args.warmup_seconds);
    let span = Rc::new(Span { counts: Cell::new(false), end: count_from + Duration::from_secs(args.seconds) });
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..args.in_flight {
        clients.spawn_local(order(Rc::clone(&engine), client, args.products, Rc::clone(&span)));
    }
    tokio::time::sleep_until(count_from.into()).await;
    let groups = engine.groups();
    let (cpu, written, start) = (cpu_us(), written_bytes(), Instant::now());
    span.counts.set(true);
    let mut done = vec![Done::default(); args.in_flight];
    while let Some(client) = clients.join_next().await {
        let (client, what) = client??;
        done[client] = what;
    }
    let (elapsed, cpu, written) = (start.elapsed(), cpu_us() - cpu, written_bytes() - written);
    let groups = engine.groups() - groups;
    let resident_mb = resident_mb();
    let Some(engine) = Rc::into_inner(engine) else { return Err("a client is left".into()) };
    engine.close().await?;
    let disk = bytes_under(&directory)?;
    let checked = check::<E>(args, &directory, &done).await?;

    let taken: u64 = done.iter().map(|client| client.taken).sum();
    let mut latencies: Vec<u32> = done.iter().flat_map(|client| client.latencies.iter().copied()).collect();
    latencies.sort_unstable();
    let refused: u64 = done.iter().map(|client| client.refused).sum();
    let plans = latencies.len().max(1) as f64;
    Ok(json!({
        "engine": args.engine,
        "plans_per_s": latencies.len() as f64 / elapsed.as_secs_f64(),
        "plans": latencies.len(),
        "plans_with_warm_up": taken,
        "refused": refused,
        "cpu_us_per_plan": cpu as f64 / plans,
        "p50_ms": quantile(&latencies, 500),
        "p99_ms": quantile(&latencies, 990),
        "groups": groups,
        "group_mean": plans / groups.max(1) as f64,
        "written_bytes_per_plan": written as f64 / plans,
        "disk_bytes_per_plan": disk as f64 / taken.max(1) as f64,
        "resident_mb": resident_mb,
        "orders_checked": checked,
    }))
}

#[derive(Clone, Default)]
struct Done {
    /// Microseconds of each plan that was started and taken while it counted.
    latencies: Vec<u32>,
    /// Plans taken, those of the warm-up included.
    taken: u64,
    refused: u64,
}

/// When clients work.
struct Span {
    /// Whether the warm-up is over.
    counts: Cell<bool>,
    end: Instant,
}

/// One client: the next order when the last one is durable.
async fn order<E: Engine>(
    engine: Rc<E>,
    client: usize,
    products: u64,
    span: Rc<Span>,
) -> Result<(usize, Done), Failure> {
    let mut done = Done { latencies: Vec::with_capacity(1 << 12), ..Done::default() };
    for n in 0_u64.. {
        let (start, counts) = (Instant::now(), span.counts.get());
        if start >= span.end {
            break;
        }
        if engine.place(Order::new(client, n, products)).await? {
            done.taken += 1;
            if counts {
                done.latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        } else {
            done.refused += 1;
        }
    }
    Ok((client, done))
}

/// Opens what was closed and looks for what was acknowledged.
async fn check<E: Engine>(args: &Args, directory: &Path, done: &[Done]) -> Result<usize, Failure> {
    let engine = E::open(directory, args.gather)?;
    let plans: u64 = done.iter().map(|client| client.taken).sum();
    let mut available = 0;
    for product in 0..args.products {
        available += engine.available(product).await?;
    }
    let counters = i64::try_from(args.products * SHARDS)?;
    let missing = counters * UNITS - available;
    let expected = i64::try_from(plans)? * i64::try_from(SHARDS)? * TAKEN;
    if missing != expected {
        return Err(format!("{plans} acknowledged plans took {missing} units instead of {expected}").into());
    }
    let refused: u64 = done.iter().map(|client| client.refused).sum();
    if refused > 0 {
        return Err(format!("{refused} plans were refused, though every condition holds").into());
    }
    let step = (usize::try_from(plans)? / SAMPLE).max(1);
    let all = done.iter().enumerate().flat_map(|(client, done)| (0..done.taken).map(move |n| (client, n)));
    let mut checked = 0;
    for (client, n) in all.step_by(step) {
        let order = Order::new(client, n, args.products);
        if !engine.has(order).await? {
            return Err(format!("acknowledged order {n} of client {client} is not there").into());
        }
        checked += 1;
    }
    engine.close().await?;
    Ok(checked)
}

/// A quantile in ms, in thousandths: 500 is the median.
fn quantile(sorted_us: &[u32], thousandths: usize) -> f64 {
    let at = sorted_us.len().saturating_sub(1) * thousandths / 1_000;
    f64::from(sorted_us.get(at).copied().unwrap_or(0)) / 1_000.0
}

/// User and system time of this process in microseconds (`/proc/self/stat`, ticks of 10 ms).
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok());
    ticks.sum::<u64>() * 10_000
}

/// Bytes this process handed to `write` and its like so far (`/proc/self/io`).
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Bytes allocated on the disk by all files below (holes and spare space as the file system counts them).
fn bytes_under(directory: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { bytes_under(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
