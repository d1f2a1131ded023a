//! More than the platform can take: what it still does, how it says no, and how soon it is itself again.
//!
//! The open loop starts orders on schedule over a fixed number of connections. It needs only as many as are busy while
//! answers come faster than they are due: 256 answered within 7 ms carry 36,000 a second. More do not offer more; on
//! saturated processors all of them are always occupied, and what is measured is how long so many wait for each other:
//! 1,800 connections at 33,000 answers a second are 54 ms for whoever comes last, whatever the platform does. Whether the
//! rate was offered is a figure of its own.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::build,
    interrupt,
    load::{self, CLOSED_CONNECTIONS, Load},
    number,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    proc::{CpuMeter, resident_mb},
    publish, shown,
};

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--seconds", "60", "of each overload"),
    value("--capacity-seconds", "10", "of the closed loop that measures capacity"),
    value("--in-flight-max", "1024", "edge.in_flight_max of the platform; 1024 is what it has by itself"),
    value("--connections", "256", "connections of the open loop; many more only wait for each other"),
];

/// Overloads with their goals: times capacity, goodput over capacity.
const LEVELS: [(f64, f64); 2] = [(1.5, 0.9), (3.0, 0.5)];
/// The normal rate, of capacity.
const NORMAL: f64 = 0.5;
/// A slice of the normal rate after an overload, and how long recovery is waited for: one that does not come counts as long.
const SLICE: &str = "500ms";
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

mod level;

use level::Level;

/// What the platform can do in a closed loop.
struct Capacity {
    rate: f64,
    p99_ms: f64,
    /// Processors that generator, edge and orders kept busy.
    cores: f64,
    /// Processor time of edge and orders for an order, in microseconds.
    platform_us: f64,
    /// Memory at its most, in MB.
    edge_mb: f64,
    orders_mb: f64,
}

impl Capacity {
    fn measure(platform: &Platform, seconds: u64) -> Result<Self> {
        let (report, watched, _) = watched(platform, &Load::closed(&format!("{seconds}s")))?;
        load::warn(&report);
        let rate = number(&report, "achieved_rate");
        let platform_us = (watched.edge_s + watched.orders_s) * 1e6 / load::orders(&report).max(1.0);
        let cores = rate * (platform_us + number(&report, "cpu_us_per_request")) / 1e6;
        let Watched { edge_mb, orders_mb, .. } = watched;
        Ok(Self { rate, p99_ms: number(&report, "p99_ms"), cores, platform_us, edge_mb, orders_mb })
    }
}

/// What edge and orders took while a load ran.
struct Watched {
    /// Memory at its most, in MB.
    edge_mb: f64,
    orders_mb: f64,
    /// Processor time.
    edge_s: f64,
    orders_s: f64,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=86_400)?;
    let capacity_seconds = options.seconds("--capacity-seconds", 1..=3_600)?;
    let connections = options.number("--connections", 64..=2_048)?;
    let in_flight_max = options.number("--in-flight-max", 16..=65_536)?;
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start_with("overload", &format!("[edge]\nin_flight_max = {in_flight_max}\n"))?;
    Load::closed("3s").run(&platform)?;
    platform.settle()?;

    let mut rate = Figure::more("capacity", "1/s");
    let mut p99 = Figure::less("p99 at capacity", "ms");
    let mut levels = LEVELS.map(Level::new);
    for run in 1..=runs {
        let capacity = Capacity::measure(&platform, capacity_seconds)?;
        platform.settle()?;
        println!("run {run}: capacity {}/s, p99 {} ms", shown(capacity.rate), shown(capacity.p99_ms));
        rate.runs.push(capacity.rate);
        p99.runs.push(capacity.p99_ms);
        for level in &mut levels {
            let offer = Load::open(capacity.rate * level.factor, connections, &format!("{seconds}s"));
            let (report, watched, ended) = watched(&platform, &offer)?;
            let recovered = recovery(&platform, &capacity, ended)?;
            level.add(&report, &capacity, &watched, recovered);
            print_level(level, &report);
            platform.settle()?;
        }
    }
    let mut goals: Vec<Goal> = levels.iter().flat_map(Level::goals).collect();
    let [_, far] = &levels;
    let full = far.offered.median() >= far.factor * 0.95;
    goals.push(Goal::new("the generator offered what it was asked for (3 x)", full));
    let figures: Vec<Figure> = [rate, p99].into_iter().chain(levels.into_iter().flat_map(Level::figures)).collect();
    let settings =
        json!({ "runs": runs, "seconds": seconds, "connections": connections, "in_flight_max": in_flight_max });
    publish("overload", &settings, &figures, &goals)
}

fn print_level(level: &Level, report: &Value) {
    let last = |figure: &Figure| shown(figure.runs.last().copied().unwrap_or(f64::NAN));
    println!(
        "      {} x: offered {} x, goodput {} x, accepted p99 {} ms ({} from sending), \
         503 {} % (p99 {} ms), normal after {} s",
        level.factor,
        last(&level.offered),
        last(&level.goodput),
        last(&level.p99),
        last(&level.sent_p99),
        last(&level.refused),
        last(&level.refused_p99),
        last(&level.recovered)
    );
    let [generator, edge, orders] = &level.cores;
    println!(
        "      processors busy: generator {}, edge {}, orders {}; goodput {} x what the generator left room for",
        last(generator),
        last(edge),
        last(orders),
        last(&level.of_possible)
    );
    let others = number(report, "errors") - number(&report["statuses"], "503");
    if others > 0.0 {
        println!("      errors: {}", report["error_kinds"]);
    }
}

/// Runs a load and looks at edge and orders meanwhile; says when its last answer came.
fn watched(platform: &Platform, load: &Load) -> Result<(Value, Watched, Instant)> {
    let (edge, orders) = (platform.pid("edge")?, platform.pid("orders")?);
    let processes = platform.processes()?;
    let (mut edge_mb, mut orders_mb) = (0.0, 0.0);
    let mut going = load.begin(platform)?;
    let (meter, began) = (CpuMeter::start(&processes), going.began);
    while !going.has_ended()? {
        (edge_mb, orders_mb) = (resident_mb(edge).max(edge_mb), resident_mb(orders).max(orders_mb));
        interrupt::sleep(LOOK)?;
    }
    let used = meter.read();
    let (edge_s, orders_s) = (used.seconds("edge"), used.seconds("orders"));
    let report = going.report()?;
    let took = Duration::try_from_secs_f64(number(&report, "duration_s")).unwrap_or_default();
    Ok((report, Watched { edge_mb, orders_mb, edge_s, orders_s }, began + took))
}

/// Seconds from `ended`, the last answer of an overload, to the first order of the first slice in which the normal rate was
/// served without errors, and no slower than at capacity. The generator that ends and the next that connects take part of
/// the first second, so this is never 0. [`RECOVERY_MAX`] when there is no such slice.
fn recovery(platform: &Platform, capacity: &Capacity, ended: Instant) -> Result<f64> {
    while ended.elapsed() < RECOVERY_MAX {
        let going = Load::open(capacity.rate * NORMAL, CLOSED_CONNECTIONS, SLICE).begin(platform)?;
        let began = going.began.saturating_duration_since(ended).as_secs_f64();
        let report = going.report()?;
        let served = number(&report, "achieved_rate") >= 0.95 * capacity.rate * NORMAL;
        if served && number(&report, "errors") == 0.0 && number(&report, "p99_ms") <= 2.0 * capacity.p99_ms {
            return Ok(began);
        }
    }
    Ok(RECOVERY_MAX.as_secs_f64())
}
