//! What an order costs when many are stored already, and what storing them costs: restart, memory, disk.
//!
//! The machine drifts while ten million orders are stored. So each slice with all of them is paired with one of a small
//! platform that is filled just before it, and the cost is compared within the pair.

use std::{io::IsTerminal, io::Write, time::Duration};

use anyhow::{Result, bail};
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    interrupt,
    load::{self, Load, LoadFigures, Slice, in_words},
    number,
    options::{Options, RUNS, Spec, Usage, value},
    platform::Platform,
    proc, publish, shown,
};
use crate::shell;

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--orders", "10000000", "orders stored in the end"),
    value("--first", "100000", "orders stored in the small platform it is compared with"),
    value("--seconds", "5", "of each measured slice; its orders are stored as well"),
    value("--settle-seconds", "20", "for compaction, before the disk is read"),
];

/// Bytes an order may take on the disk before the benchmark would fill it, with room for compaction.
const BYTES_MAX: u64 = 1_500;
/// Goals.
const COST: f64 = 1.3;
const READY_MS: f64 = 5_000.0;
const MEMORY_MB: f64 = 300.0;
const BYTES: f64 = 700.0;
/// Orders from which on preallocated files (64 MB each) no longer show in the bytes of an order.
const ENOUGH_TO_TELL: f64 = 1_000_000.0;
/// Stock is kept for longer than the benchmark takes: expiry is what `soak` measures.
const CONFIG: &str = "[orders]\nreservation_ttl_seconds = 604800\n";

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let orders = options.number("--orders", 1_000..=1_000_000_000)?;
    let first = options.number("--first", 100..=orders)?;
    let seconds = options.seconds("--seconds", 1..=3_600)?;
    let settle = options.seconds("--settle-seconds", 0..=3_600)?;
    if first.saturating_mul(2) > orders {
        return Err(Usage(format!("--first {first}: at most half of --orders {orders}")).into());
    }
    enough_room(orders)?;
    build(&["build", "--release", "--package", "zizon"])?;
    let mut platform = Platform::start_with("stored", CONFIG)?;
    let empty = platform.disk_bytes();
    let mut stored = fill(&platform, "all", orders)?;
    let mut pairs = Pairs::new();
    for run in 1..=runs {
        stored += pairs.measure(&platform, run, first, &format!("{seconds}s"))?;
    }
    let loaded = proc::resident_mb(platform.pid("orders")?);

    interrupt::sleep(Duration::from_secs(settle))?;
    let settled = platform.disk_bytes();
    let mut ready = Figure::less("restart until ready", "ms");
    let mut memory = Figure::less("orders memory after the restart", "MB");
    for run in 1..=runs {
        platform.stop();
        platform.begin()?;
        let resident = proc::resident_mb(platform.pid("orders")?);
        println!("restart {run}: ready in {} ms, orders {resident:.0} MB", shown(platform.ready_ms));
        ready.runs.push(platform.ready_ms);
        memory.runs.push(resident);
    }
    interrupt::sleep(Duration::from_secs(settle))?;
    let after = platform.disk_bytes();
    #[expect(clippy::cast_precision_loss, reason = "bytes of a disk stay below 2^52")]
    let per_order = |bytes: u64| {
        let told = stored >= ENOUGH_TO_TELL;
        if told { bytes.saturating_sub(empty) as f64 / stored } else { f64::NAN }
    };
    if stored < ENOUGH_TO_TELL {
        println!("disk per order: below {} orders it says more about preallocated files", shown(ENOUGH_TO_TELL));
    }

    let Pairs { few, many, cost, rate } = pairs;
    let bytes = Figure::less("on disk per order, settled", "bytes").with([per_order(settled)]);
    let bytes_after = Figure::less("on disk per order, after restarts", "bytes").with([per_order(after)]);
    let resident = Figure::less("orders memory after the load", "MB").with([loaded]);
    let mut goals = vec![
        Goal::new("orders' CPU per order <= 1.3 x that of the small platform in the same pair", cost.median() <= COST),
        Goal::new("restart ready <= 5 s", ready.median() <= READY_MS),
        Goal::new("memory of orders <= 300 MB", resident.median().max(memory.median()) <= MEMORY_MB),
    ];
    if stored >= ENOUGH_TO_TELL {
        goals.push(Goal::new("on disk <= 700 bytes per one-line order", bytes_after.median() <= BYTES));
    }
    let mut figures = vec![Figure::plain("orders stored", "count").with([stored]), cost, rate];
    figures.extend(few.figures());
    figures.extend(many.figures());
    figures.extend([ready, resident, memory, bytes, bytes_after]);
    let settings = json!({ "runs": runs, "orders": orders, "first": first, "seconds": seconds });
    publish("stored", &settings, &figures, &goals)
}

/// Fails before it starts what would fill the disk.
fn enough_room(orders: u64) -> Result<()> {
    let needed = orders.saturating_mul(BYTES_MAX);
    if let Some(free) = proc::free_bytes(&shell::target())
        && free < needed
    {
        let gb = |bytes: u64| bytes / 1_000_000_000;
        bail!("{orders} orders may need {} GB here and {} GB are free; ask for fewer (--orders)", gb(needed), gb(free));
    }
    Ok(())
}

/// Orders until `target` are stored in the platform called `at`, with a line of progress; returns how many there are.
fn fill(platform: &Platform, at: &str, target: u64) -> Result<f64> {
    let pid = platform.pid("orders")?;
    #[expect(clippy::cast_precision_loss, reason = "orders stay below 2^52")]
    let target = target as f64;
    let mut stored = 0.0;
    while stored < target {
        let duration = if target - stored > 400_000.0 { "10s" } else { "2s" };
        let report = Load::closed(duration).run(platform)?;
        let done = load::orders(&report);
        // A report that counts none is no progress either.
        if done.is_nan() || done <= 0.0 {
            bail!("no order was taken: {}", report["error_kinds"]);
        }
        stored += done;
        note(&format!(
            "{at}: {} of {} stored, {}/s, p99 {} ms, orders {:.0} MB",
            shown(stored),
            shown(target),
            shown(number(&report, "achieved_rate")),
            shown(number(&report, "p99_ms")),
            proc::resident_mb(pid)
        ));
        load::warn(&report);
    }
    end_note();
    platform.settle()?;
    Ok(stored)
}

/// On a terminal one line that changes; otherwise a line each.
fn note(text: &str) {
    let mut out = std::io::stdout().lock();
    // Progress that cannot be shown is no reason to stop measuring.
    let _ = if out.is_terminal() {
        write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush())
    } else {
        writeln!(out, "{text}")
    };
}

fn end_note() {
    if std::io::stdout().is_terminal() {
        println!();
    }
}

/// Slices with few stored orders and with all of them, in pairs.
struct Pairs {
    few: LoadFigures,
    many: LoadFigures,
    cost: Figure,
    rate: Figure,
}

impl Pairs {
    fn new() -> Self {
        let [few, many] = ["few", "all"].map(|at| LoadFigures::new(|what| format!("{what} at {at}")));
        let cost = Figure::less("orders CPU, all over few", "x");
        Self { few, many, cost, rate: Figure::more("rate, all over few", "x") }
    }

    /// One pair; returns how many orders `platform` has more than before.
    fn measure(&mut self, platform: &Platform, run: usize, first: u64, duration: &str) -> Result<f64> {
        // A new one for each pair: after a few slices it would not be small any more.
        let small = Platform::start_with("stored-few", CONFIG)?;
        fill(&small, "few", first)?;
        let slice = |of: &Platform| Load::closed(duration).slice(of);
        // Each goes first in half of the pairs.
        let (few, many) = if run % 2 == 1 {
            let few = slice(&small)?;
            (few, slice(platform)?)
        } else {
            let many = slice(platform)?;
            (slice(&small)?, many)
        };
        println!("pair {run}: few  {}", in_words(&few));
        println!("pair {run}: all  {}", in_words(&many));
        let us = |slice: &Slice| slice.used.us_per("orders", slice.orders);
        self.cost.runs.push(us(&many) / us(&few));
        self.rate.runs.push(many.rate / few.rate);
        self.few.add(&few);
        self.many.add(&many);
        Ok(many.orders)
    }
}
