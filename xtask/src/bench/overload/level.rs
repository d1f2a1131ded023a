//! What one overload did, compared with capacity.

use serde_json::Value;

use super::{Capacity, Watched};
use crate::bench::{
    figure::{Figure, Goal},
    load, number,
};

/// Goals: accepted p99 over that at capacity, and seconds until the normal rate is served again.
const P99: f64 = 2.0;
const RECOVERED_S: f64 = 1.0;
/// Goal: a refusal takes no longer than what is accepted at capacity, both p99.
const EARLY: f64 = 1.0;
/// Goal: edge and orders each take at most so many times what they took at capacity, and so many MB more: bounded queues
/// may fill, and an order stored is remembered for a while.
const MEMORY: (f64, f64) = (1.5, 64.0);

/// One level with its figures.
pub(super) struct Level {
    /// Times capacity.
    pub(super) factor: f64,
    goal: f64,
    pub(super) offered: Figure,
    pub(super) goodput: Figure,
    pub(super) p99: Figure,
    p99_ratio: Figure,
    pub(super) sent_p99: Figure,
    sent_ratio: Figure,
    pub(super) refused: Figure,
    pub(super) refused_p99: Figure,
    refused_ratio: Figure,
    other: Figure,
    late: Figure,
    unsent: Figure,
    edge_mb: Figure,
    orders_mb: Figure,
    /// Whether memory was within its bound in every run.
    bounded: bool,
    pub(super) recovered: Figure,
    pub(super) cores: [Figure; 3],
    pub(super) of_possible: Figure,
}

impl Level {
    pub(super) fn new((factor, goal): (f64, f64)) -> Self {
        let name = |what: &str| format!("{what} at {factor} x");
        Self {
            factor,
            goal,
            offered: Figure::plain(name("offered over capacity"), "x"),
            goodput: Figure::more(name("goodput over capacity"), "x"),
            p99: Figure::less(name("accepted p99"), "ms"),
            p99_ratio: Figure::less(name("accepted p99 over that at capacity"), "x"),
            sent_p99: Figure::less(name("accepted p99 from sending"), "ms"),
            sent_ratio: Figure::less(name("accepted p99 from sending over that at capacity"), "x"),
            refused: Figure::plain(name("answered 503"), "%"),
            refused_p99: Figure::less(name("p99 of a 503, from sending"), "ms"),
            refused_ratio: Figure::less(name("p99 of a 503 over the accepted p99 at capacity"), "x"),
            other: Figure::less(name("other errors"), "count"),
            late: Figure::plain(name("started more than 1 ms late"), "%"),
            unsent: Figure::plain(name("never started"), "%"),
            edge_mb: Figure::less(name("edge memory, most"), "MB"),
            orders_mb: Figure::less(name("orders memory, most"), "MB"),
            bounded: true,
            recovered: Figure::less(name("normal again after"), "s"),
            cores: ["generator", "edge", "orders"].map(|who| Figure::plain(name(&format!("cores of {who}")), "")),
            of_possible: Figure::more(name("goodput over what the generator left room for"), "x"),
        }
    }

    pub(super) fn add(&mut self, report: &Value, capacity: &Capacity, watched: &Watched, recovered: f64) {
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
        if refused > 0.0 {
            self.refused_p99.runs.push(number(report, "refused_p99_ms"));
            self.refused_ratio.runs.push(number(report, "refused_p99_ms") / capacity.p99_ms);
        }
        self.other.runs.push(number(report, "errors") - refused);
        self.late.runs.push(late * 100.0);
        self.unsent.runs.push(unsent * 100.0);
        self.edge_mb.runs.push(watched.edge_mb);
        self.orders_mb.runs.push(watched.orders_mb);
        let bounded = |now: f64, then: f64| now <= MEMORY.0 * then + MEMORY.1;
        self.bounded &= bounded(watched.edge_mb, capacity.edge_mb) && bounded(watched.orders_mb, capacity.orders_mb);
        self.recovered.runs.push(recovered);
        let duration = number(report, "duration_s");
        let generator = number(report, "cpu_us_per_request") * sent / 1e6;
        for (figure, seconds) in self.cores.iter_mut().zip([generator, watched.edge_s, watched.orders_s]) {
            figure.runs.push(seconds / duration);
        }
        // The orders that could have been made of the processor time that the generator left, at their price at capacity.
        let room = (capacity.cores - generator / duration) * 1e6 / capacity.platform_us;
        self.of_possible.runs.push(number(report, "achieved_rate") / room);
    }

    pub(super) fn goals(&self) -> Vec<Goal> {
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
            Goal::new(
                format!("a 503 at {factor} x is early: its p99 <= the accepted p99 at capacity"),
                self.refused_ratio.runs.is_empty() || self.refused_ratio.median() <= EARLY,
            ),
            Goal::new(
                format!(
                    "memory at {factor} x bounded: edge and orders each <= {} x that at capacity + {} MB",
                    MEMORY.0, MEMORY.1
                ),
                self.bounded,
            ),
            Goal::new(format!("no error but 503 at {factor} x"), self.other.runs.iter().all(|&count| count == 0.0)),
            Goal::new(format!("normal again {RECOVERED_S} s after {factor} x"), self.recovered.median() <= RECOVERED_S),
        ]
    }

    pub(super) fn figures(self) -> [Figure; 19] {
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
            self.refused_ratio,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_level_is_compared_with_capacity() {
        let mut level = Level::new((3.0, 0.5));
        let capacity = capacity();
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
        assert!(level.goals().iter().all(Goal::holds), "{:?}", level.goals());
        let report = json!({ "sent": 10, "duration_s": 1.0, "errors": 0, "statuses": { "201": 10 } });
        level.add(&report, &capacity, &watched, 0.5);
        assert_eq!(level.refused.runs[1], 0.0, "no 503 is none, not unknown");
        assert_eq!(level.refused_ratio.runs, [0.2]);
    }

    #[test]
    fn nothing_accepted_late_refusals_and_memory_that_grows_are_no_success() {
        let mut level = Level::new((3.0, 0.5));
        let capacity = capacity();
        let watched = Watched { edge_mb: 95.0, orders_mb: 90.0, edge_s: 0.5, orders_s: 0.4 };
        let report = json!({
            "sent": 3_000, "duration_s": 1.0, "achieved_rate": 0.0, "errors": 3_000, "statuses": { "503": 3_000 },
            "accepted_p99_ms": null, "accepted_sent_p99_ms": null, "refused_p99_ms": 30.0, "cpu_us_per_request": 400.0,
        });
        level.add(&report, &capacity, &watched, 60.0);
        let reached: Vec<_> =
            level.goals().into_iter().filter(Goal::holds).map(|goal| goal.text().to_owned()).collect();
        assert_eq!(reached, ["no error but 503 at 3 x"]);
    }

    fn capacity() -> Capacity {
        Capacity { rate: 1_000.0, p99_ms: 10.0, cores: 2.0, platform_us: 1_000.0, edge_mb: 20.0, orders_mb: 80.0 }
    }
}
