//! Orders per second through the whole path: TLS, edge, mTLS, orders, fsync.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    load::{self, Load},
    number,
    options::{Options, RUNS, Spec, Usage, value},
    platform::Platform,
    proc::CpuMeter,
    publish, shown,
};

/// Options.
pub const OPTIONS: &[Spec] = &[
    RUNS,
    value("--seconds", "10", "of each run"),
    value("--connections", "64", "connections of the generator"),
    value("--keys", "fresh", "fresh, fixed, or both in alternating slices"),
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
    let processes = platform.processes()?;
    let load = |keys: &str, duration: &str| {
        let load = Load::closed(duration).with("--keys", keys);
        load.with("--rate", &rate).with("--connections", &connections)
    };
    // The first run fills caches and grows files; it is not counted.
    load("fresh", "3s").run(&platform)?;
    let mut slices: Vec<Slice> = kinds.iter().map(|keys| Slice::new(keys, kinds.len() > 1)).collect();
    for run in 1..=runs {
        for slice in &mut slices {
            let meter = CpuMeter::start(&processes);
            let report = load(slice.keys, &format!("{seconds}s")).run(&platform)?;
            println!(
                "run {run}: {}/s, p99 {} ms ({} keys)",
                shown(number(&report, "achieved_rate")),
                shown(number(&report, "p99_ms")),
                slice.keys
            );
            load::warn(&report);
            slice.add(&report, &meter);
        }
    }
    let settings =
        json!({ "seconds": seconds, "connections": connections, "keys": options.text("--keys"), "rate": rate });
    let mut goals = Vec::new();
    let mut ratio = None;
    if let [fresh, fixed] = slices.as_slice() {
        let pairs = fresh.rate.runs.iter().zip(&fixed.rate.runs);
        let figure = Figure::more("replays over new orders", "x").with(pairs.map(|(fresh, fixed)| fixed / fresh));
        goals.push(Goal::new(format!("replays >= {REPLAYS} x new orders"), figure.median() >= REPLAYS));
        ratio = Some(figure);
    }
    if let Some(fresh) = slices.iter().find(|slice| slice.keys == "fresh" && rate == "max") {
        let clean = fresh.errors.runs.iter().all(|&count| count == 0.0);
        let reached = fresh.rate.median() >= 15_000.0 && fresh.p99.median() <= 40.0 && clean;
        goals.push(Goal::new("new orders >= 15,000/s, p99 <= 40 ms, no errors", reached));
        goals.push(Goal::new("new orders >= 20,000/s", fresh.rate.median() >= 20_000.0));
    }
    let figures: Vec<Figure> = slices.into_iter().flat_map(Slice::figures).chain(ratio).collect();
    publish("orders", &settings, &figures, &goals)
}

/// The figures of one kind of keys.
struct Slice {
    keys: &'static str,
    rate: Figure,
    p50: Figure,
    p99: Figure,
    errors: Figure,
    generator: Figure,
    roles: Vec<(&'static str, Figure)>,
}

impl Slice {
    fn new(keys: &'static str, named: bool) -> Self {
        let name = |what: &str| if named { format!("{what} ({keys} keys)") } else { what.to_owned() };
        let role = |role: &'static str| (role, Figure::less(name(&format!("{role} CPU per order")), "us"));
        Self {
            keys,
            rate: Figure::more(name("orders"), "1/s"),
            p50: Figure::less(name("p50"), "ms"),
            p99: Figure::less(name("p99"), "ms"),
            errors: Figure::less(name("errors"), "count"),
            generator: Figure::plain(name("generator CPU per order"), "us"),
            roles: vec![role("edge"), role("orders")],
        }
    }

    fn add(&mut self, report: &serde_json::Value, meter: &CpuMeter) {
        self.rate.runs.push(number(report, "achieved_rate"));
        self.p50.runs.push(number(report, "p50_ms"));
        self.p99.runs.push(number(report, "p99_ms"));
        self.errors.runs.push(number(report, "errors"));
        self.generator.runs.push(number(report, "cpu_us_per_request"));
        for (role, figure) in &mut self.roles {
            figure.runs.push(meter.us_per(role, load::orders(report)));
        }
    }

    fn figures(self) -> Vec<Figure> {
        let mut figures = vec![self.rate, self.p50, self.p99, self.errors, self.generator];
        figures.extend(self.roles.into_iter().map(|(_, figure)| figure));
        figures
    }
}
