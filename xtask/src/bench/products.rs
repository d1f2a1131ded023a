//! New orders over one, ten and ten thousand products, in alternating slices of one run.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    load::{self, Load},
    number,
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    proc::CpuMeter,
    publish, shown,
};

/// Options.
pub const OPTIONS: &[Spec] =
    &[RUNS, value("--seconds", "10", "of each slice"), value("--products", "10000", "products of the widest slice")];

/// Goal: each within this of the others.
const WITHIN: f64 = 0.15;

/// One width with its figures.
struct Width {
    products: usize,
    ids: String,
    rate: Figure,
    p99: Figure,
    edge: Figure,
    orders: Figure,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?;
    let most = options.number("--products", 11..=900_000)?;
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("products")?;
    let ids = platform.fill(most, true)?;
    let processes = platform.processes()?;
    let mut widths = Vec::new();
    for products in [1, 10, ids.len()] {
        let name =
            |what: &str| format!("{what}, {} product{}", shown_count(products), if products == 1 { "" } else { "s" });
        widths.push(Width {
            products,
            ids: platform.ids_file(&format!("ids-{products}"), &ids[..products])?,
            rate: Figure::more(name("orders"), "1/s"),
            p99: Figure::less(name("p99"), "ms"),
            edge: Figure::less(name("edge CPU per order"), "us"),
            orders: Figure::less(name("orders CPU per order"), "us"),
        });
    }
    let load = |width: &Width, duration: &str| Load::closed(duration).with("--products", &width.ids);
    // The first run of each fills caches and grows files; it is not counted.
    for width in &widths {
        load(width, "2s").run(&platform)?;
    }
    let mut spread = Figure::less("fastest over slowest", "x");
    for run in 1..=runs {
        // A different width goes first each time.
        widths.rotate_left(1);
        let mut rates = Vec::new();
        for width in &mut widths {
            let meter = CpuMeter::start(&processes);
            let report = load(width, &format!("{seconds}s")).run(&platform)?;
            let rate = number(&report, "achieved_rate");
            println!("run {run}: {:>7} products  {}/s", shown_count(width.products), shown(rate));
            load::warn(&report);
            width.rate.runs.push(rate);
            width.p99.runs.push(number(&report, "p99_ms"));
            width.edge.runs.push(meter.us_per("edge", load::orders(&report)));
            width.orders.runs.push(meter.us_per("orders", load::orders(&report)));
            rates.push(rate);
        }
        let (least, most) = extremes(&rates);
        spread.runs.push(most / least);
    }
    widths.sort_by_key(|width| width.products);
    let medians: Vec<f64> = widths.iter().map(|width| width.rate.median()).collect();
    let (least, most_rate) = extremes(&medians);
    let goals = [Goal::new("medians within 15 % of each other", most_rate / least <= 1.0 + WITHIN)];
    let mut figures = vec![Figure::less("fastest median over slowest", "x").with([most_rate / least]), spread];
    for width in widths {
        figures.extend([width.rate, width.p99, width.edge, width.orders]);
    }
    publish("products", &json!({ "seconds": seconds, "products": most }), &figures, &goals)
}

/// The smallest and the largest.
fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &value| (least.min(value), most.max(value)))
}

fn shown_count(count: usize) -> String {
    shown(u32::try_from(count).map_or(f64::NAN, f64::from)).trim_end_matches(".00").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_no_decimals() {
        assert_eq!([1, 10, 10_000].map(shown_count), ["1", "10", "10,000"]);
        assert_eq!(extremes(&[2.0, 1.0, 3.0]), (1.0, 3.0));
    }
}
