//! Orders on schedule, whatever the answers do: latency from the intended start, against what the disk alone takes.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    disk::Probe,
    interrupt,
    load::{self, Load},
    number,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    publish, shown,
};

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--rate", "5000", "orders per second"),
    value("--duration", "60s", "of each run"),
    value("--connections", "64", "connections of the generator"),
    value("--disk-seconds", "3", "bare appends with fdatasync before and after each run"),
    value("--probe-ms", "200", "pause between single appends during the run; 0: none"),
];

/// Goal: p50 is at most this many ms more than twice the disk's median, p99 that many more than thrice its p99.
const SPARE_MS: (f64, f64) = (1.5, 5.0);

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let rate = options.number("--rate", 1..=1_000_000)?;
    let seconds = options.seconds("--duration", 1..=86_400)?;
    let connections = options.number("--connections", 1..=10_000)?;
    let disk_seconds = options.seconds("--disk-seconds", 1..=600)?;
    let probe_ms = options.number("--probe-ms", 0..=60_000)?;
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("open-loop")?;
    // Fills caches and grows files; it is not counted.
    #[expect(clippy::cast_precision_loss, reason = "rates are small")]
    let order = |seconds: u64| Load::open(rate as f64, connections, &format!("{seconds}s"));
    order(2).run(&platform)?;

    let mut achieved = Figure::more("orders", "1/s");
    let mut p50 = Figure::less("p50 from the intended start", "ms");
    let mut p99 = Figure::less("p99 from the intended start", "ms");
    let mut errors = Figure::less("errors", "count");
    let mut late = Figure::plain("started more than 1 ms late", "%");
    let mut unsent = Figure::plain("never started", "%");
    let mut disk_p50 = Figure::plain("disk alone, median", "ms");
    let mut disk_p99 = Figure::plain("disk alone, p99", "ms");
    let mut beside_p50 = Figure::plain("disk during the run, median", "ms");
    let mut beside_p99 = Figure::plain("disk during the run, p99", "ms");
    let mut room_p50 = Figure::less("p50 over its limit", "x");
    let mut room_p99 = Figure::less("p99 over its limit", "x");
    for run in 1..=runs {
        let mut alone = Probe::create(&platform.file("disk-alone"))?;
        let mut beside = Probe::create(&platform.file("disk-beside"))?;
        alone.for_about(Duration::from_secs(disk_seconds))?;
        let mut going = order(seconds).start(&platform)?;
        while !going.has_ended()? {
            if probe_ms > 0 {
                beside.once()?;
            }
            interrupt::sleep(Duration::from_millis(probe_ms.max(20)))?;
        }
        let report = going.report()?;
        alone.for_about(Duration::from_secs(disk_seconds))?;
        let (median, tail) = alone.figures();
        println!(
            "run {run}: p50 {} ms, p99 {} ms; disk alone {} ms, p99 {} ms",
            shown(number(&report, "p50_ms")),
            shown(number(&report, "p99_ms")),
            shown(median),
            shown(tail)
        );
        load::warn(&report);
        let (late_share, unsent_share) = load::limits(&report);
        achieved.runs.push(number(&report, "achieved_rate"));
        p50.runs.push(number(&report, "p50_ms"));
        p99.runs.push(number(&report, "p99_ms"));
        errors.runs.push(number(&report, "errors"));
        late.runs.push(late_share * 100.0);
        unsent.runs.push(unsent_share * 100.0);
        disk_p50.runs.push(median);
        disk_p99.runs.push(tail);
        if probe_ms > 0 {
            let (median, tail) = beside.figures();
            beside_p50.runs.push(median);
            beside_p99.runs.push(tail);
        }
        room_p50.runs.push(number(&report, "p50_ms") / (SPARE_MS.0 + 2.0 * median));
        room_p99.runs.push(number(&report, "p99_ms") / (SPARE_MS.1 + 3.0 * tail));
    }
    let goals = [
        Goal::new("p50 <= 1.5 ms + 2 x the disk's median, of the same run", room_p50.median() <= 1.0),
        Goal::new("p99 <= 5 ms + 3 x the disk's p99, of the same run", room_p99.median() <= 1.0),
        Goal::new("no errors", errors.runs.iter().all(|&count| count == 0.0)),
    ];
    let settings =
        json!({ "runs": runs, "rate": rate, "seconds": seconds, "connections": connections, "probe_ms": probe_ms });
    let figures =
        [achieved, p50, p99, errors, late, unsent, disk_p50, disk_p99, beside_p50, beside_p99, room_p50, room_p99];
    publish("open-loop", &settings, &figures, &goals)
}
