//! Measures the embedded table: plans of four items (one order of about 280 bytes that must not exist, three
//! counters of stock) from many tasks of one thread, each with one plan in flight.
//!
//! ```text
//! cargo run --release -p zizon-table --example bench_table -- --seconds 5 --in-flight 256 --skus 1 \
//!     [--inline-bytes 128] [--reads 100000] [--gather-us 0] [--dir DIR]
//! ```
//! `--in-flight 0` leaves tasks and threads out: batches of 128 plans, submitted and synced in one loop.
//!
//! Prints one JSON document. CPU is that of the whole process: callers, sync, index, compression.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zizon_journal::Env;
use zizon_table::{
    Cond, Durability, EmbeddedTable, Engine, EngineMetrics, EngineOptions, Item, Key, LsmStore, Op, Patch, Path, Table,
    WriteError,
};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Args {
    seconds: u64,
    in_flight: usize,
    skus: u64,
    inline_bytes: usize,
    reads: u64,
    gather_us: Option<u64>,
    dir: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = parse(std::env::args().skip(1))?;
    let scratch = tempfile::tempdir_in(args.dir.clone().unwrap_or_else(|| PathBuf::from(".")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.in_flight == 0 {
        println!("{}", without_tasks(&args, scratch.path())?);
        return Ok(());
    }
    let report = runtime.block_on(tokio::task::LocalSet::new().run_until(measure(&args, scratch.path())))?;
    println!("{report}");
    Ok(())
}

fn parse(args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut parsed =
        Args { seconds: 5, in_flight: 256, skus: 1, inline_bytes: 128, reads: 0, gather_us: None, dir: None };
    let mut args = args;
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value}"));
        match name.as_str() {
            "--seconds" => parsed.seconds = number()?,
            "--in-flight" => parsed.in_flight = usize::try_from(number()?).map_err(|e| e.to_string())?,
            "--skus" => parsed.skus = number()?.max(1),
            "--inline-bytes" => parsed.inline_bytes = usize::try_from(number()?).map_err(|e| e.to_string())?,
            "--gather-us" => parsed.gather_us = Some(number()?),
            "--reads" => parsed.reads = number()?,
            "--dir" => parsed.dir = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(parsed)
}

async fn measure(args: &Args, dir: &FilePath) -> Result<String, Box<dyn std::error::Error>> {
    let mut options = EngineOptions { inline_bytes: args.inline_bytes, ..EngineOptions::default() };
    options.gather_max = args.gather_us.map_or(options.gather_max, Duration::from_micros);
    let table = EmbeddedTable::open(dir, options, Env::real())?;
    for sku in 0..args.skus {
        for shard in 0..3 {
            let item = Item::new(stock_key(sku, shard)).with("q", 1_000_000_000_i64).with("r", 0).with("s", 0);
            table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable).await?;
        }
    }
    let before = table.metrics();
    let (cpu, written, start) = (cpu_us(), written_bytes(), Instant::now());
    let end = start + Duration::from_secs(args.seconds);
    let document = Bytes::from(vec![0x5a; 190]);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..args.in_flight {
        tasks.spawn_local(place_orders(table.clone(), task, args.skus, document.clone(), end));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let (elapsed, cpu, written) = (start.elapsed(), cpu_us() - cpu, written_bytes() - written);
    let mut fields = fields(&before, &table.metrics(), &mut latencies, elapsed, cpu);
    fields.insert("written_bytes_per_plan", written as f64 / latencies.len().max(1) as f64);
    if args.reads > 0 {
        fields.insert("get_us", read_orders(&table, args, latencies.len()).await?);
        let index = table.metrics().index;
        fields.insert("index_mib", (index.disk_bytes + index.memtable_bytes) as f64 / f64::from(1 << 20));
    }
    table.close().await;
    Ok(json(&fields))
}

/// The engine alone: no tasks, no wakers, no threads, and no background work.
fn without_tasks(args: &Args, dir: &FilePath) -> Result<String, Box<dyn std::error::Error>> {
    let options =
        EngineOptions { inline_bytes: args.inline_bytes, memtable_bytes: 1 << 40, ..EngineOptions::default() };
    let store = Arc::new(LsmStore::new(&dir.join("index"), options.index.clone()));
    let engine = Engine::open(Env::real(), &dir.join("journal"), store, options, &mut |_| {})?;
    for sku in 0..args.skus {
        for shard in 0..3 {
            let item = Item::new(stock_key(sku, shard)).with("q", 1_000_000_000_i64).with("r", 0).with("s", 0);
            engine.submit(vec![Op::Put { item, cond: Cond::Always }], Durability::Durable, None);
        }
    }
    engine.sync_once();
    let before = engine.metrics();
    let (cpu, written, start) = (cpu_us(), written_bytes(), Instant::now());
    let document = Bytes::from(vec![0x5a; 190]);
    let mut n = 0;
    while start.elapsed() < Duration::from_secs(args.seconds) {
        for task in 0..128 {
            engine.submit(plan(task, n, args.skus, &document), Durability::Durable, None);
        }
        n += 1;
        engine.sync_once();
    }
    let (elapsed, cpu, written) = (start.elapsed(), cpu_us() - cpu, written_bytes() - written);
    let mut fields = fields(&before, &engine.metrics(), &mut [], elapsed, cpu);
    fields.insert("written_bytes_per_plan", written as f64 / (n * 128) as f64);
    Ok(json(&fields))
}

fn json(fields: &BTreeMap<&'static str, f64>) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value:.3}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Mean time of reading an order that was written, microseconds.
async fn read_orders(table: &EmbeddedTable, args: &Args, written: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let per_task = (written / args.in_flight / 2).max(1) as u64;
    let start = Instant::now();
    for n in 0..args.reads {
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let task = usize::try_from(spread)? % args.in_flight;
        let found = table.get(&order_key(task, spread % per_task)).await?;
        std::hint::black_box(found);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / args.reads as f64)
}

async fn place_orders(
    table: Arc<EmbeddedTable>,
    task: usize,
    skus: u64,
    document: Bytes,
    end: Instant,
) -> Result<Vec<u32>, WriteError> {
    let mut latencies = Vec::with_capacity(1 << 16);
    for n in 0_u64.. {
        let start = Instant::now();
        if start >= end {
            break;
        }
        match table.transact(plan(task, n, skus, &document), None).await {
            Ok(_) => latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)),
            Err(WriteError::Throttled) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => return Err(error),
        }
    }
    Ok(latencies)
}

fn plan(task: usize, n: u64, skus: u64, document: &Bytes) -> Vec<Op> {
    let order = Item::new(order_key(task, n))
        .with("st", "PLACED")
        .with("g", 0)
        .with("n", 0x1234_5678_9abc_i64)
        .with("dg", Bytes::from_static(&[7; 32]))
        .with("b", document.clone())
        .with("ts", 1_790_000_000_000_i64)
        .with("ttl", "standard");
    let mut ops = vec![Op::Put { item: order, cond: Cond::NotExists }];
    for shard in 0..3 {
        let patches = vec![Patch::AddInt(Path::attr("q"), -2), Patch::AddInt(Path::attr("r"), 2)];
        ops.push(Op::Patch {
            key: stock_key(spread(task, n) % skus, shard),
            patches,
            cond: Cond::AttrGe(Path::attr("q"), 2),
        });
    }
    ops
}

/// Ids are hashes in production: spread over the key space.
fn order_key(task: usize, n: u64) -> Key {
    let spread = spread(task, n);
    Key::new(format!("U#{spread:016x}"), format!("O#{spread:016x}{n:010x}"))
}

fn spread(task: usize, n: u64) -> u64 {
    (n << 16 | task as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn stock_key(sku: u64, shard: u64) -> Key {
    Key::new(format!("S#PROD{sku:06}#local#{shard:03}"), "S")
}

fn fields(
    before: &EngineMetrics,
    after: &EngineMetrics,
    latencies: &mut [u32],
    elapsed: Duration,
    cpu_us: u64,
) -> BTreeMap<&'static str, f64> {
    latencies.sort_unstable();
    // In thousandths: 500 is the median.
    let percentile = |thousandths: usize| {
        let at = latencies.len().saturating_sub(1) * thousandths / 1_000;
        latencies.get(at).copied().unwrap_or(0) as f64 / 1_000.0
    };
    let plans = (after.plans - before.plans) as f64;
    let batches = after.batches - before.batches;
    BTreeMap::from([
        ("plans_per_s", plans / elapsed.as_secs_f64()),
        ("cpu_us_per_plan", cpu_us as f64 / plans),
        ("fsyncs", batches as f64),
        ("batch_mean", plans / batches.max(1) as f64),
        ("p50_ms", percentile(500)),
        ("p99_ms", percentile(990)),
        ("max_ms", percentile(1_000)),
        ("bytes_per_plan", (after.plan_bytes - before.plan_bytes) as f64 / plans),
        ("sync_mean_us", mean_us(after.sync.sum - before.sync.sum, batches)),
        ("apply_mean_us", mean_us(after.apply.sum - before.apply.sum, batches)),
        ("index_writes_per_plan", (after.index_writes - before.index_writes) as f64 / plans),
        ("throttled", (after.throttled - before.throttled) as f64),
    ])
}

fn mean_us(seconds: f64, count: u64) -> f64 {
    seconds * 1e6 / count.max(1) as f64
}

/// User and system time of this process in microseconds (`/proc/self/stat`, ticks of 10 ms).
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok());
    ticks.sum::<u64>() * 10_000
}

/// Bytes this process handed to `write` and its like so far (`/proc/self/io`): journal, index, compression.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|n| n.parse().ok()).unwrap_or(0)
}
