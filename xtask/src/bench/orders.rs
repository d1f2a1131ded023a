//! Orders per second through the whole path: TLS, edge, mTLS, orders, fsync.
//!
//! Processor time of a slice is read when the platform has done all that the slice left it to do: fresh orders leave
//! flushes, compaction and compression behind, which are theirs and not of the replays that come next.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    load::{Load, LoadFigures, in_words},
    options::{Options, RUNS, Spec, Usage, value},
    platform::Platform,
    publish,
};

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--seconds", "10", "of each run"),
    value("--connections", "64", "connections of the generator"),
    value("--keys", "fresh", "fresh, fixed, or both in slices that take turns"),
    value("--rate", "max", "orders per second, or max: a closed loop"),
];

/// Goal for replays over new orders.
const REPLAYS: f64 = 1.2;

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=86_400)?;
    let connections = options.number("--connections", 1..=10_000)?.to_string();
    let rate = options.text("--rate").to_owned();
    if rate != "max" && !rate.parse::<f64>().is_ok_and(|rate| rate > 0.0 && rate <= 1e6) {
        return Err(Usage(format!("--rate: write max or orders per second up to 1,000,000, not `{rate}`")).into());
    }
    let kinds: &[&str] = match options.text("--keys") {
        "fresh" => &["fresh"],
        "fixed" => &["fixed"],
        "both" => &["fresh", "fixed"],
        other => return Err(Usage(format!("--keys: write fresh, fixed or both, not `{other}`")).into()),
    };
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("orders")?;
    let load = |keys: &str, duration: &str| {
        let load = Load::closed(duration).with("--keys", keys);
        load.with("--rate", &rate).with("--connections", &connections)
    };
    // The first run fills caches and grows files; it is not counted.
    load("fresh", "3s").run(&platform)?;
    platform.settle()?;
    let mut kinds: Vec<Kind> = kinds.iter().map(|keys| Kind::new(keys, kinds.len() > 1)).collect();
    for run in 1..=runs {
        for kind in &mut kinds {
            let slice = load(kind.keys, &format!("{seconds}s")).slice(&platform)?;
            println!("run {run}: {:<5}  {}", kind.keys, in_words(&slice));
            kind.figures.add(&slice);
        }
        // Another one goes first the next time.
        kinds.rotate_left(1);
    }
    kinds.sort_by_key(|kind| kind.keys != "fresh");
    let settings = json!({
        "runs": runs, "seconds": seconds, "connections": connections, "keys": options.text("--keys"), "rate": rate,
    });
    let mut goals = Vec::new();
    let mut ratio = None;
    if let [fresh, fixed] = kinds.as_slice() {
        let pairs = fresh.figures.rate.runs.iter().zip(&fixed.figures.rate.runs);
        let figure = Figure::more("replays over new orders", "x").with(pairs.map(|(fresh, fixed)| fixed / fresh));
        goals.push(Goal::new(format!("replays >= {REPLAYS} x new orders"), figure.median() >= REPLAYS));
        ratio = Some(figure);
    }
    if let Some(Kind { figures, .. }) = kinds.iter().find(|kind| kind.keys == "fresh" && rate == "max") {
        let reached = figures.rate.median() >= 15_000.0 && figures.p99.median() <= 40.0 && figures.clean();
        goals.push(Goal::new("new orders >= 15,000/s, p99 <= 40 ms, no errors", reached));
        goals.push(Goal::new("new orders >= 20,000/s", figures.rate.median() >= 20_000.0));
    }
    let figures: Vec<Figure> = kinds.into_iter().flat_map(|kind| kind.figures.figures()).chain(ratio).collect();
    publish("orders", &settings, &figures, &goals)
}

/// One kind of keys.
struct Kind {
    keys: &'static str,
    figures: LoadFigures,
}

impl Kind {
    fn new(keys: &'static str, named: bool) -> Self {
        let name = |what: &str| if named { format!("{what} ({keys} keys)") } else { what.to_owned() };
        Self { keys, figures: LoadFigures::new(name) }
    }
}
