//! Small pictures as inline SVG; colours come from the page, so that they fit light, dark and paper.

use std::fmt::Write as _;

use crate::platform::ROLES;
use crate::proof::grouped;
use crate::timeline::{LatencyClass, Timeline};

/// Width of a picture, in units of its own.
const WIDTH: f64 = 470.0;
/// Left of the columns: room for the scale and the roles' names.
const LEFT: f64 = 58.0;
/// Height of the columns of the rate.
const RATE: f64 = 110.0;
/// Above the columns: room for half a line of the scale.
const TOP: f64 = 8.0;
/// Height of one role's lane of kill marks.
const LANE: f64 = 15.0;
/// Between the columns and the lanes.
const GAP: f64 = 9.0;
/// Height of the bars of the histogram.
const BARS: f64 = 90.0;

/// Orders per second over time, with a lane of kill marks per role.
#[expect(clippy::cast_precision_loss, reason = "a picture; counts stay far below 2^52")]
pub(super) fn rate(timeline: &Timeline) -> String {
    let rates = &timeline.orders_per_second;
    let top = nice(rates.iter().copied().fold(1.0, f64::max));
    let span_s = rates.len() as f64 * timeline.bucket_ms as f64 / 1000.0;
    let lanes: Vec<&str> =
        ROLES.into_iter().filter(|role| timeline.kills.iter().any(|kill| kill.role == *role)).collect();
    let floor = TOP + RATE;
    let height = floor + GAP + LANE * lanes.len() as f64 + 22.0;
    let x = |seconds: f64| LEFT + seconds / span_s * (WIDTH - LEFT - 6.0);
    let mut svg = open(height, "Orders acknowledged per second over time, with the moments at which roles were killed");
    for part in [0.0, 0.5, 1.0] {
        let y = floor - part * RATE;
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ =
            write!(svg, r#"<text class="end" x="{:.1}" y="{:.1}">{}</text>"#, LEFT - 6.0, y + 3.5, number(top * part));
    }
    let mut outline = format!("M{LEFT:.1} {floor:.1}");
    for (at, rate) in rates.iter().enumerate() {
        let width_s = timeline.bucket_ms as f64 / 1000.0;
        let (from, to) = (x(at as f64 * width_s), x((at + 1) as f64 * width_s));
        let y = floor - (rate / top).min(1.0) * RATE;
        let _ = write!(outline, "V{y:.1}H{from:.1}V{y:.1}H{to:.1}");
    }
    let _ = write!(svg, r#"<path class="area" d="{outline}V{floor:.1}Z"/>"#);
    for (lane, role) in lanes.iter().enumerate() {
        let y = floor + GAP + LANE * lane as f64;
        let _ = write!(svg, r#"<text class="end" x="{:.1}" y="{:.1}">{role}</text>"#, LEFT - 6.0, y + 9.5);
        for kill in timeline.kills.iter().filter(|kill| kill.role == *role) {
            let at = x(kill.at_s.min(span_s));
            let _ = write!(
                svg,
                r#"<line class="trace" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{floor:.1}"/><line class="kill" x1="{at:.1}" x2="{at:.1}" y1="{y:.1}" y2="{:.1}"/>"#,
                y + LANE - 4.0
            );
        }
    }
    let y = height - 6.0;
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let class = if part == 0.0 {
            "start"
        } else if part == 1.0 {
            "end"
        } else {
            "mid"
        };
        let _ = write!(
            svg,
            r#"<text class="{class}" x="{:.1}" y="{y:.1}">{:.0} s</text>"#,
            x(span_s * part),
            span_s * part
        );
    }
    svg + "</svg>"
}

/// Orders by latency, on a logarithmic scale of counts: the few slow ones are what is looked for.
#[expect(clippy::cast_precision_loss, reason = "a picture; counts stay far below 2^52")]
pub(super) fn latency(classes: &[LatencyClass]) -> String {
    let most = classes.iter().map(|class| class.orders).max().unwrap_or(0).max(1);
    let height = BARS + 42.0;
    let floor = BARS + 18.0;
    let slot = WIDTH / classes.len() as f64;
    let scale = ((most + 1) as f64).log10();
    let mut svg = open(height, "Acknowledged orders by time from send to answer, logarithmic");
    for (at, class) in classes.iter().enumerate() {
        let tall = if class.orders == 0 { 0.0 } else { (((class.orders + 1) as f64).log10() / scale * BARS).max(2.0) };
        let left = slot * at as f64;
        let middle = left + slot / 2.0;
        let name = class.below_ms.map_or_else(|| "more".to_owned(), below);
        let _ = write!(
            svg,
            r#"<rect class="bar" x="{:.1}" y="{:.1}" width="{:.1}" height="{tall:.1}"/>"#,
            left + 3.0,
            floor - tall,
            slot - 6.0
        );
        let _ = write!(svg, r#"<text class="mid" x="{middle:.1}" y="{:.1}">{name}</text>"#, floor + 14.0);
        if class.orders > 0 {
            let y = floor - tall - 4.0;
            let _ =
                write!(svg, r#"<text class="mid strong" x="{middle:.1}" y="{y:.1}">{}</text>"#, grouped(class.orders));
        }
    }
    let _ = write!(svg, r#"<line class="grid" x1="0" x2="{WIDTH}" y1="{floor:.1}" y2="{floor:.1}"/>"#);
    svg + "</svg>"
}

/// A value of the scale as it is written.
fn number(value: f64) -> String {
    format!("{value:.0}").parse::<i64>().map_or_else(|_| String::new(), grouped)
}

fn below(ms: u64) -> String {
    if ms < 1000 { format!("<{ms}") } else { format!("<{} s", ms / 1000) }
}

fn open(height: f64, title: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{title}">"#)
}

/// The next number above that reads well: 1, 2, 3, 4, 5, 6 or 8 times a power of ten.
fn nice(most: f64) -> f64 {
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|&top| top >= most)
        .unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_above_what_they_show() {
        for (most, top) in [(1.0, 1.0), (999.0, 1000.0), (1001.0, 1200.0), (17_300.0, 20_000.0)] {
            assert!((nice(most) - top).abs() < 1e-6, "{most}: {}", nice(most));
        }
        assert_eq!((below(1), below(2000)), ("<1".into(), "<2 s".into()));
    }
}
