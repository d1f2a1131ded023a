//! More than the platform can take: what it still does, how it says no, and how soon it is itself again.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    child::build,
    interrupt,
    load::{self, Load},
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
    value("--connections", "1800", "connections of the open loop; the edge takes 2,048 of one address"),
];

/// Overloads with their goals: times capacity, goodput over capacity.
const LEVELS: [(f64, f64); 2] = [(1.5, 0.9), (3.0, 0.5)];
/// Goals: accepted p99 over that at capacity, seconds until the normal rate is served again, MB of edge and orders.
const P99: f64 = 2.0;
const RECOVERED_S: f64 = 1.0;
/// The normal rate, of capacity.
const NORMAL: f64 = 0.5;
/// A slice of the normal rate after an overload, and how long recovery is waited for.
const SLICE: &str = "500ms";
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// One level with its figures.
struct Level {
    factor: f64,
    goal: f64,
    offered: Figure,
    goodput: Figure,
    p99: Figure,
    p99_ratio: Figure,
    sent_p99: Figure,
    sent_ratio: Figure,
    refused: Figure,
    refused_p99: Figure,
    other: Figure,
    late: Figure,
    unsent: Figure,
    edge_mb: Figure,
    orders_mb: Figure,
    recovered: Figure,
    cores: [Figure; 3],
    of_possible: Figure,
}

impl Level {
    fn new((factor, goal): (f64, f64)) -> Self {
        let name = |what: &str| format!("{what} at {factor} x");
        Self {
            factor,
            goal,
            offered: Figure::plain(name("offered over capacity"), "x"),
            goodput: Figure::more(name("goodput over capacity"), "x"),
            p99: Figure::less(name("accepted p99"), "ms"),
            p99_ratio: Figure::less(name("accepted p99 over that at capacity"), "x"),
            sent_p99: Figure::less(name("accepted p99 from sending"), "ms"),
            sent_ratio: Figure::less(name("the same over that at capacity"), "x"),
            refused: Figure::plain(name("answered 503"), "%"),
            refused_p99: Figure::less(name("p99 of a 503, from sending"), "ms"),
            other: Figure::less(name("other errors"), "count"),
            late: Figure::plain(name("started more than 1 ms late"), "%"),
            unsent: Figure::plain(name("never started"), "%"),
            edge_mb: Figure::less(name("edge memory, most"), "MB"),
            orders_mb: Figure::less(name("orders memory, most"), "MB"),
            recovered: Figure::less(name("normal again after"), "s"),
            cores: ["generator", "edge", "orders"].map(|who| Figure::plain(name(&format!("cores of {who}")), "")),
            of_possible: Figure::more(name("goodput over what the generator left room for"), "x"),
        }
    }

    fn add(&mut self, report: &Value, capacity: &Capacity, watched: &Watched, recovered: f64) {
        let sent = number(report, "sent").max(1.0);
        let refused = number(&report["statuses"], "503");
        let refused = if refused.is_finite() { refused } else { 0.0 };
        let (late, unsent) = load::limits(report);
        self.offered.runs.push(sent / number(report, "duration_s") / capacity.rate);
        self.goodput.runs.push(number(report, "achieved_rate") / capacity.rate);
        self.p99.runs.push(number(report, "accepted_p99_ms"));
        self.p99_ratio.runs.push(number(report, "accepted_p99_ms") / capacity.p99_ms);
        self.sent_p99.runs.push(number(report, "accepted_sent_p99_ms"));
        self.sent_ratio.runs.push(number(report, "accepted_sent_p99_ms") / capacity.p99_ms);
        self.refused.runs.push(refused / sent * 100.0);
        self.refused_p99.runs.push(number(report, "refused_p99_ms"));
        self.other.runs.push(number(report, "errors") - refused);
        self.late.runs.push(late * 100.0);
        self.unsent.runs.push(unsent * 100.0);
        self.edge_mb.runs.push(watched.edge_mb);
        self.orders_mb.runs.push(watched.orders_mb);
        self.recovered.runs.push(recovered);
        let duration = number(report, "duration_s");
        let generator = number(report, "cpu_us_per_request") * sent / 1e6;
        for (figure, seconds) in self.cores.iter_mut().zip([generator, watched.edge_s, watched.orders_s]) {
            figure.runs.push(seconds / duration);
        }
        // The orders that the platform could have made of the processor time that the generator did not take, at the price
        // of an order at capacity.
        let room = (capacity.cores - generator / duration) * 1e6 / capacity.platform_us;
        self.of_possible.runs.push(number(report, "achieved_rate") / room);
    }

    fn goals(&self) -> Vec<Goal> {
        let (factor, least) = (self.factor, self.goal * 100.0);
        vec![
            Goal::new(format!("goodput at {factor} x >= {least:.0} % of capacity"), self.goodput.median() >= self.goal),
            Goal::new(
                format!("accepted p99 at {factor} x, from the intended start <= {P99} x that at capacity"),
                self.p99_ratio.median() <= P99,
            ),
            Goal::new(
                format!("accepted p99 at {factor} x, from sending <= {P99} x that at capacity"),
                self.sent_ratio.median() <= P99,
            ),
            Goal::new(format!("no error but 503 at {factor} x"), self.other.runs.iter().all(|&count| count == 0.0)),
            Goal::new(format!("normal again {RECOVERED_S} s after {factor} x"), self.recovered.median() <= RECOVERED_S),
        ]
    }

    fn figures(self) -> [Figure; 18] {
        let [generator, edge, orders] = self.cores;
        [
            self.offered,
            self.goodput,
            self.p99,
            self.p99_ratio,
            self.sent_p99,
            self.sent_ratio,
            self.refused,
            self.refused_p99,
            self.other,
            self.late,
            self.unsent,
            self.edge_mb,
            self.orders_mb,
            self.recovered,
            generator,
            edge,
            orders,
            self.of_possible,
        ]
    }
}

/// What the platform can do in a closed loop.
struct Capacity {
    rate: f64,
    p99_ms: f64,
    /// Processors that generator, edge and orders kept busy.
    cores: f64,
    /// Processor time of edge and orders for an order, in microseconds.
    platform_us: f64,
}

impl Capacity {
    fn measure(platform: &Platform, seconds: u64) -> Result<Self> {
        let meter = CpuMeter::start(&platform.processes()?);
        let report = Load::closed(&format!("{seconds}s")).run(platform)?;
        load::warn(&report);
        let rate = number(&report, "achieved_rate");
        let used = meter.read();
        let platform_us = ["edge", "orders"].map(|role| used.us_per(role, load::orders(&report))).iter().sum();
        let cores = rate * (platform_us + number(&report, "cpu_us_per_request")) / 1e6;
        Ok(Self { rate, p99_ms: number(&report, "p99_ms"), cores, platform_us })
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

    let mut rate = Figure::more("capacity", "1/s");
    let mut p99 = Figure::less("p99 at capacity", "ms");
    let mut levels = LEVELS.map(Level::new);
    for run in 1..=runs {
        let capacity = Capacity::measure(&platform, capacity_seconds)?;
        println!("run {run}: capacity {}/s, p99 {} ms", shown(capacity.rate), shown(capacity.p99_ms));
        rate.runs.push(capacity.rate);
        p99.runs.push(capacity.p99_ms);
        for level in &mut levels {
            let offer = Load::open(capacity.rate * level.factor, connections, &format!("{seconds}s"));
            let (report, watched) = watched(&platform, &offer)?;
            let recovered = recovery(&platform, &capacity, Instant::now())?;
            level.add(&report, &capacity, &watched, recovered);
            print_level(level, &report);
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
        "      {} x: offered {} x, goodput {} x, accepted p99 {} ms ({} from sending), 503 {} % (p99 {} ms), normal after {} s",
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

/// Runs a load and looks at edge and orders meanwhile.
fn watched(platform: &Platform, load: &Load) -> Result<(Value, Watched)> {
    let (edge, orders) = (platform.pid("edge")?, platform.pid("orders")?);
    let meter = CpuMeter::start(&platform.processes()?);
    let (mut edge_mb, mut orders_mb) = (0.0, 0.0);
    let mut going = load.start(platform)?;
    while !going.has_ended()? {
        (edge_mb, orders_mb) = (resident_mb(edge).max(edge_mb), resident_mb(orders).max(orders_mb));
        interrupt::sleep(LOOK)?;
    }
    let used = meter.read();
    let (edge_s, orders_s) = (used.seconds("edge"), used.seconds("orders"));
    Ok((going.report()?, Watched { edge_mb, orders_mb, edge_s, orders_s }))
}

/// Seconds from `ended` to the start of the first slice in which the normal rate was served without errors, and no slower
/// than at capacity. Not a number when there is none.
fn recovery(platform: &Platform, capacity: &Capacity, ended: Instant) -> Result<f64> {
    while ended.elapsed() < RECOVERY_MAX {
        let began = ended.elapsed().as_secs_f64();
        let report = Load::open(capacity.rate * NORMAL, 64, SLICE).run(platform)?;
        let served = number(&report, "achieved_rate") >= 0.95 * capacity.rate * NORMAL;
        if served && number(&report, "errors") == 0.0 && number(&report, "p99_ms") <= 2.0 * capacity.p99_ms {
            return Ok(began);
        }
    }
    Ok(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_compared_with_capacity() {
        let mut level = Level::new((3.0, 0.5));
        let capacity = Capacity { rate: 1_000.0, p99_ms: 10.0, cores: 2.0, platform_us: 1_000.0 };
        let watched = Watched { edge_mb: 30.0, orders_mb: 90.0, edge_s: 0.5, orders_s: 0.4 };
        let report = json!({
            "sent": 3_000, "unsent": 0, "late_sends": 0, "duration_s": 1.0, "achieved_rate": 600.0, "errors": 2_400,
            "statuses": { "201": 600, "503": 2_400 }, "accepted_p99_ms": 15.0, "accepted_sent_p99_ms": 5.0, "refused_p99_ms": 2.0,
            "cpu_us_per_request": 400.0,
        });
        level.add(&report, &capacity, &watched, 0.5);
        assert_eq!((level.offered.median(), level.goodput.median(), level.p99_ratio.median()), (3.0, 0.6, 1.5));
        assert_eq!((level.refused.median(), level.other.median()), (80.0, 0.0));
        // The generator kept 1.2 of 2 processors busy: 0.8 are room for 800 orders a second.
        assert_eq!((level.cores[0].median(), level.of_possible.median()), (1.2, 0.75));
        let report = json!({ "sent": 10, "duration_s": 1.0, "errors": 0, "statuses": { "201": 10 } });
        level.add(&report, &capacity, &watched, 0.5);
        assert_eq!(level.refused.runs[1], 0.0, "no 503 is none, not unknown");
    }
}
