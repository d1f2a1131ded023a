//! Half of capacity for long, with holds expiring: rate, latency, memory, descriptors and disk must stay flat.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::build,
    interrupt,
    load::{self, Load},
    number,
    options::{Options, Spec, Usage, value},
    platform::{Platform, metric},
    proc::{descriptors, resident_mb, threads},
    publish, shown,
};

mod trend;

use trend::{Sample, Thirds};

/// Options.
pub const OPTIONS: &[Spec] = &[
    value("--minutes", "30", "of load"),
    value("--ttl", "120", "seconds that stock is kept for an order; a short soak takes a quarter of its time"),
    value("--share", "50", "percent of the measured capacity"),
    value("--every", "5", "seconds between samples"),
    value("--capacity-seconds", "10", "of the closed loop that measures capacity"),
    value("--acks", "50", "orders per second whose acknowledgements are kept and verified at the end"),
];

/// Samples shown, about; all of them count.
const LINES_MAX: u64 = 60;

/// Roles that are watched.
const ROLES: [&str; 4] = ["edge", "orders", "catalog", "identity"];

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let minutes = options.number("--minutes", 1..=24 * 60)?;
    let ttl_asked = options.seconds("--ttl", 5..=86_400)?;
    let ttl = ttl_asked.min((minutes * 15).max(15));
    let share = options.number("--share", 1..=100)?;
    let every = options.seconds("--every", 1..=300)?;
    let capacity_seconds = options.seconds("--capacity-seconds", 1..=600)?;
    let acks = options.number("--acks", 1..=1_000)?;
    if minutes * 60 < 8 * every {
        return Err(
            Usage(format!("--every {every}: too long for {minutes} minutes; at least 8 samples are needed")).into()
        );
    }
    build(&["build", "--release", "--package", "zizon"])?;
    let mut platform = Platform::start_with("soak", &format!("[orders]\nreservation_ttl_seconds = {ttl}\n"))?;
    Load::closed("3s").run(&platform)?;
    let report = Load::closed(&format!("{capacity_seconds}s")).run(&platform)?;
    let capacity = number(&report, "achieved_rate");
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let rate = capacity * share as f64 / 100.0;
    println!("capacity {}/s; {minutes} minutes at {}/s, holds expire after {ttl} s", shown(capacity), shown(rate));

    let (samples, report) = soak(&platform, rate, acks, minutes, every)?;
    // Until the first holds expire and expiry has its rhythm, memory and disk still grow as they must.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a day")]
    let steady = ttl as f64 + 10.0;
    let thirds = Thirds::of(&samples, steady)?;
    let verified = verify(&platform)?;
    platform.stop();
    let sound = fsck(&platform)?;

    let mut goals = thirds.goals();
    goals.push(Goal::new("no errors", number(&report, "errors") == 0.0));
    goals.push(Goal::new("every acknowledged order of the sample is there, as acknowledged, once", verified));
    goals.push(Goal::new("fsck: journal, index and stock equation agree", sound));
    let mut figures = vec![
        Figure::more("capacity", "1/s").with([capacity]),
        Figure::more("orders", "1/s").with([number(&report, "achieved_rate")]),
        Figure::less("p50", "ms").with([number(&report, "p50_ms")]),
        Figure::less("p99", "ms").with([number(&report, "p99_ms")]),
        Figure::less("errors", "count").with([number(&report, "errors")]),
    ];
    figures.extend(thirds.figures());
    let settings = json!({ "minutes": minutes, "ttl": ttl, "ttl_asked": ttl_asked, "share_percent": share });
    publish("soak", &settings, &figures, &goals)
}

/// Loads and samples.
fn soak(platform: &Platform, rate: f64, acks: u64, minutes: u64, every: u64) -> Result<(Vec<Sample>, Value)> {
    let duration = format!("{minutes}m");
    let lines = platform.file("progress.jsonl").to_string_lossy().into_owned();
    let acks_file = platform.file("acks.jsonl").to_string_lossy().into_owned();
    #[expect(clippy::cast_precision_loss, reason = "at most 1,000")]
    let acks = acks as f64;
    let mut going = Load::open((rate - acks).max(1.0), 64, &duration).with("--progress", &lines).start(platform)?;
    // Acknowledgements are fsynced: all of them would be a load of its own on the same disk.
    let witness = Load::open(acks, 4, &duration).with("--acks", &acks_file).start(platform)?;
    let began = Instant::now();
    let mut samples = Vec::new();
    let shown_each = usize::try_from((minutes * 60 / every).div_ceil(LINES_MAX))?.max(1);
    let mut due = Duration::from_secs(every);
    while !going.has_ended()? {
        if began.elapsed() >= due {
            due += Duration::from_secs(every);
            let sample = sample(platform, began.elapsed(), &load::progress(&lines), every)?;
            if samples.len() % shown_each == 0 {
                println!("{}", sample.line());
            }
            samples.push(sample);
        }
        interrupt::sleep(Duration::from_millis(50))?;
    }
    let report = going.report()?;
    load::warn(&report);
    let witnessed = witness.report()?;
    if number(&witnessed, "errors") > 0.0 {
        println!("      errors beside: {}", witnessed["error_kinds"]);
    }
    Ok((samples, report))
}

/// What is to be seen now.
fn sample(platform: &Platform, at: Duration, progress: &[Value], every: u64) -> Result<Sample> {
    let text = platform.metrics("/metrics")?;
    let processes = platform.processes()?;
    let recent = &progress[progress.len().saturating_sub(usize::try_from(every)?)..];
    let middle = |name: &str| {
        let values: Vec<f64> = recent.iter().map(|line| number(line, name)).collect();
        super::figure::median(&values)
    };
    let each = |read: &dyn Fn(u32) -> f64| -> Vec<f64> {
        let pid = |role: &&str| processes.iter().find(|(name, _)| name == role).map_or(0, |(_, pid)| *pid);
        ROLES.iter().map(|role| read(pid(role))).collect()
    };
    Ok(Sample {
        at_s: at.as_secs_f64(),
        rate: middle("rate"),
        p50_ms: middle("recent_p50_ms"),
        p99_ms: middle("recent_p99_ms"),
        memory_mb: each(&resident_mb),
        descriptors: each(&descriptors),
        threads: each(&threads),
        disk_bytes: bytes(platform),
        created: metric(&text, "zizon_orders_total", "outcome=\"created\""),
        expired: metric(&text, "zizon_orders_expired_total", ""),
        lag_s: metric(&text, "zizon_expiry_lag_seconds", ""),
        held: number(&platform.json(&["stock", "show", "PROD001"])?, "held"),
    })
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a disk stay below 2^52")]
fn bytes(platform: &Platform) -> f64 {
    platform.disk_bytes() as f64
}

/// Whether every acknowledged order is there.
fn verify(platform: &Platform) -> Result<bool> {
    let file = platform.file("acks.jsonl");
    let ended = platform.command(&["verify", "--acks", &file.to_string_lossy()])?.wait()?;
    let named = || format!("zizon verify answered no JSON ({})", ended.in_words());
    let report: Value = serde_json::from_slice(&ended.output).with_context(named)?;
    println!("verify: {} of the acknowledged orders checked, {}", report["checked"], ended.status);
    Ok(ended.status.success())
}

/// Whether the stopped platform's files agree.
fn fsck(platform: &Platform) -> Result<bool> {
    let ended = platform.command(&["fsck"])?.wait()?;
    let named = || format!("zizon fsck answered no JSON ({})", ended.in_words());
    let report: Value = serde_json::from_slice(&ended.output).with_context(named)?;
    if report.get("ok").is_none() {
        bail!("zizon fsck: {report}");
    }
    println!("fsck: ok {}, {}", report["ok"], ended.status);
    Ok(ended.status.success())
}
