//! New orders over one, ten and ten thousand products, in alternating slices of one run, each with the work it leaves to do.

use anyhow::Result;
use serde_json::json;

use super::{
    Figure, Goal,
    child::build,
    load::{Load, LoadFigures, in_words},
    options::{Options, RUNS, Spec, value},
    platform::Platform,
    publish, shown,
};

/// Options.
pub const OPTIONS: &[Spec] =
    &[RUNS, value("--seconds", "10", "of each slice"), value("--products", "10000", "products of the widest slice")];

/// Goal: each within this of the others.
const WITHIN: f64 = 0.15;

/// Seconds of each width before anything is counted: caches fill, files grow, and the index is written out once.
const WARM_UP: &str = "5s";

/// One width with its figures.
struct Width {
    products: usize,
    ids: String,
    figures: LoadFigures,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let runs = options.runs()?;
    let seconds = options.seconds("--seconds", 1..=3_600)?;
    let most = options.number("--products", 11..=900_000)?;
    build(&["build", "--release", "--package", "zizon"])?;
    let platform = Platform::start("products")?;
    let ids = platform.fill(most, true)?;
    let mut widths = Vec::new();
    for products in [1, 10, ids.len()] {
        let name =
            |what: &str| format!("{what}, {} product{}", shown_count(products), if products == 1 { "" } else { "s" });
        let ids = platform.ids_file(&format!("ids-{products}"), &ids[..products])?;
        widths.push(Width { products, ids, figures: LoadFigures::new(name) });
    }
    let load = |width: &Width, duration: &str| Load::closed(duration).with("--products", &width.ids);
    for width in &widths {
        load(width, WARM_UP).run(&platform)?;
    }
    platform.settle()?;
    let mut spread = Figure::less("fastest over slowest", "x");
    for run in 1..=runs {
        // A different width goes first each time.
        widths.rotate_left(1);
        let mut rates = Vec::new();
        for width in &mut widths {
            let slice = load(width, &format!("{seconds}s")).slice(&platform)?;
            println!("run {run}: {:>7} products  {}", shown_count(width.products), in_words(&slice));
            width.figures.add(&slice);
            rates.push(slice.rate);
        }
        spread.runs.push(ratio(&rates));
    }
    widths.sort_by_key(|width| width.products);
    let rates = ratio(&widths.iter().map(|width| width.figures.rate.median()).collect::<Vec<_>>());
    let costs = ratio(&widths.iter().map(|width| width.figures.platform_us()).collect::<Vec<_>>());
    let goals = [
        Goal::new("medians of the rate within 15 % of each other", rates <= 1.0 + WITHIN),
        Goal::new("medians of edge and orders CPU per order within 15 % of each other", costs <= 1.0 + WITHIN),
    ];
    let mut figures = vec![
        Figure::less("fastest median over slowest", "x").with([rates]),
        Figure::less("dearest median CPU over cheapest", "x").with([costs]),
        spread,
    ];
    figures.extend(widths.into_iter().flat_map(|width| width.figures.figures()));
    publish("products", &json!({ "runs": runs, "seconds": seconds, "products": most }), &figures, &goals)
}

/// The largest over the smallest.
fn ratio(values: &[f64]) -> f64 {
    let (least, most) = extremes(values);
    most / least
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
