//! Crash points: one quiet run is repeated with one crash at every place where there can be one: before every step of
//! the schedule, and at every operation of the disk.

use zizon_journal::MemFault;
use zizon_orders::execute::Mode;

use crate::{Options, Outcome, run_at};

/// Steps of a run: long enough for orders, replays, refusals and commands.
const STEPS: u64 = 350;

/// Where a run is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Nowhere: the run that shows where the places are.
    Nowhere,
    /// The process is killed before this step.
    Kill(u64),
    /// The machine loses power before this step.
    Power(u64),
    /// The disk fails in this way, after so many operations that can.
    Disk(MemFault, u64),
}

/// What became of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs, by what struck them.
    pub runs: Vec<(&'static str, u64)>,
    /// The first that violated something: seed, how orders are written, where, what.
    pub violated: Option<(u64, Mode, Point, String)>,
}

/// Strikes the runs of `seeds` at every place, with both executors. `progress` is told after every run.
pub fn crashpoints(seeds: std::ops::Range<u64>, progress: &mut dyn FnMut(u64)) -> Report {
    let mut report = Report::default();
    for seed in seeds {
        for mode in [Mode::Atomic, Mode::Stepwise] {
            let options = Options { mode: Some(mode), steps: STEPS, ..Options::seed(seed) };
            let mut strike = |kind: &'static str, point: Point| -> Outcome {
                let outcome = run_at(&options, point);
                match report.runs.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, runs)) => *runs += 1,
                    None => report.runs.push((kind, 1)),
                }
                if let (Some(why), None) = (&outcome.violated, &report.violated) {
                    report.violated = Some((seed, mode, point, why.clone()));
                }
                progress(report.runs.iter().map(|(_, runs)| runs).sum());
                outcome
            };
            let changes = strike("undisturbed", Point::Nowhere).stats.disk_operations;
            for step in 1..=STEPS {
                strike("process killed", Point::Kill(step));
                strike("power lost", Point::Power(step));
            }
            let disk = [
                ("power lost in a disk operation", MemFault::PowerOff),
                ("sync failed", MemFault::SyncError),
                ("write failed", MemFault::WriteError),
                ("write cut short", MemFault::ShortWrite),
            ];
            for (kind, fault) in disk {
                for after in 0..changes {
                    strike(kind, Point::Disk(fault, after));
                }
            }
        }
    }
    report
}
